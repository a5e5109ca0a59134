/** What a tool is, and what its functions know of the call that they execute. */

import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampDate } from "@bufbuild/protobuf/wkt";

import { EffectClass, type Invocation, InvocationKind, type Tool as Manifest, ToolSchema } from "./gen/v1.js";

/** Thrown by a function that was stopped before it had its effect. */
export class ToolStopped extends Error {}

/** Thrown by `reconcile`: the call had not happened, a new attempt is safe. */
export class NotExecuted extends Error {}

/** Thrown by a function that cannot say whether the effect happened. */
export class OutcomeUnknown extends Error {}

/** What a function knows of its call. */
export interface Call {
  /** `runs/{run}/calls/{call}` */
  readonly name: string;
  /** `runs/{run}` */
  readonly run: string;
  /** Counted from 1. */
  readonly attempt: number;
  /** The same for every attempt of this call: do not act twice for one key. */
  readonly idempotencyKey: string;
  /** When the attempt times out. */
  readonly deadline: Date | undefined;
  /** What the call may do. */
  readonly permissions: readonly string[];
  /** The W3C trace context of the run; may be empty. */
  readonly traceparent: string;
  /** Aborted when the call is to stop; its reason says why. */
  readonly signal: AbortSignal;
  /**
   * Shows how far the call is: a note of at most 4 KiB, and the part done from 0 to 1 (negative: not
   * said). Of notes that come faster than they are sent, the newest is sent.
   */
  progress(message: string, fraction?: number): void;
}

/**
 * Executes a call, or looks into one. What it returns is encoded as JSON. Any error but the three
 * classes of this module is a failure of the tool, and its message is for the model.
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each tool knows its own arguments
export type ToolFunction<Arguments = any> = (args: Arguments, call: Call) => unknown;

/** A function of this program that agents may call. */
export interface Tool {
  /** `[A-Za-z][A-Za-z0-9_-]{0,63}`: what the model sees. */
  readonly name: string;
  /** For the model. */
  readonly description: string;
  /** JSON Schema (2020-12) of the arguments; without it, an object without properties. */
  readonly inputSchema?: object;
  /** JSON Schema of the result; without it, any. */
  readonly outputSchema?: object;
  /** What a second execution would do. Unset behaves as IRREVERSIBLE. */
  readonly effect?: EffectClass;
  /** Of one attempt; the daemon's default unless given. */
  readonly timeoutMs?: number;
  readonly permissions?: readonly string[];
  readonly execute: ToolFunction;
  /** Finds out what became of a call. */
  readonly reconcile?: ToolFunction;
  /** Predicts what a call would do, and does nothing. */
  readonly simulate?: ToolFunction;
}

/** Returns a tool as the daemon is told of it. */
export function manifest(tool: Tool, toolset: string): Manifest {
  const made = create(ToolSchema, {
    name: `toolsets/${toolset}/tools/${tool.name}`,
    description: tool.description,
    inputSchemaJson: tool.inputSchema ? JSON.stringify(tool.inputSchema) : "",
    outputSchemaJson: tool.outputSchema ? JSON.stringify(tool.outputSchema) : "",
    effect: tool.effect ?? EffectClass.UNSPECIFIED,
    reconcile: tool.reconcile !== undefined,
    simulate: tool.simulate !== undefined,
    permissions: [...(tool.permissions ?? [])],
  });
  if (tool.timeoutMs !== undefined) made.timeout = durationFromMs(tool.timeoutMs);
  return made;
}

/** Returns the function that a kind of invocation asks for. */
export function functionOf(tool: Tool | undefined, kind: InvocationKind): ToolFunction | undefined {
  switch (kind) {
    case InvocationKind.EXECUTE:
      return tool?.execute;
    case InvocationKind.RECONCILE:
      return tool?.reconcile;
    case InvocationKind.SIMULATE:
      return tool?.simulate;
    default:
      return undefined;
  }
}

/** Returns what the function of an invocation is told. */
export function callOf(invocation: Invocation, signal: AbortSignal, progress: Call["progress"]): Call {
  return {
    name: invocation.call,
    run: invocation.call.split("/calls/", 1)[0] ?? "",
    attempt: invocation.attempt,
    idempotencyKey: invocation.idempotencyKey,
    deadline: invocation.deadline && timestampDate(invocation.deadline),
    permissions: invocation.permissions,
    traceparent: invocation.traceparent,
    signal,
    progress,
  };
}
