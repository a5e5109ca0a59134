/** When a failed request is repeated, and after how long. */

import type { DescMethod } from "@bufbuild/protobuf";
import { setTimeout as sleep } from "node:timers/promises";

import type { AgentdError } from "./errors.js";

export { sleep };

/** How often and how soon. */
export interface RetryPolicy {
  /** The most attempts of one request, the first included. */
  readonly attempts: number;
  readonly firstDelayMs: number;
  /** The longest pause; a daemon that asks for a longer one is not asked again. */
  readonly maxDelayMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = { attempts: 4, firstDelayMs: 100, maxDelayMs: 2000 };

/** Random pauses, each up to a bound that doubles. */
export class Pauses {
  #boundMs: number;

  constructor(readonly policy: RetryPolicy) {
    this.#boundMs = policy.firstDelayMs;
  }

  next(): number {
    const pauseMs = Math.random() * this.#boundMs;
    this.#boundMs = Math.min(this.#boundMs * 2, this.policy.maxDelayMs);
    return pauseMs;
  }

  /** Starts over. */
  reset(): void {
    this.#boundMs = this.policy.firstDelayMs;
  }
}

/** Returns how long to wait before a repeat that may help, or undefined when none may. */
export function pauseAfter(error: AgentdError, pauseMs: number, policy: RetryPolicy): number | undefined {
  if (error.retryAfterMs !== undefined) {
    return error.retryAfterMs <= policy.maxDelayMs ? error.retryAfterMs + pauseMs : undefined;
  }
  return error.kind === "Unavailable" ? pauseMs : undefined;
}

const READS = /^(Get|List|Search|Wait)/;
const REPEATABLE = new Set(["PauseRun", "CancelRun", "CompleteCalls", "ReportProgress", "ExtendLeases", "Drain"]);

/** Whether the method's request has a field `request_id`. */
export function takesRequestId(method: DescMethod): boolean {
  return method.input.fields.some((field) => field.name === "request_id");
}

/** Whether asking twice has the effect of asking once. */
export function isRepeatable(method: DescMethod): boolean {
  return takesRequestId(method) || REPEATABLE.has(method.name) || READS.test(method.name);
}
