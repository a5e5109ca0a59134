/** Executes one invocation of a tool and says truthfully what became of it. */

import { clone, create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";

import { type Completion, CompletionSchema, EffectClass, type Invocation, InvocationKind } from "./gen/v1.js";
import { type Call, callOf, functionOf, NotExecuted, OutcomeUnknown, type Tool, ToolStopped } from "./tool.js";

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** What is asked of a tool: a reason to stop. */
class StopRequest extends Error {
  override readonly name = "AbortError";
}

type Outcome = Completion["outcome"];

/** One attempt of a call in this process, from its invocation until its outcome counts. */
export class Execution {
  /** The outcome, once there is one. */
  completion: Completion | undefined;
  readonly #stop = new AbortController();

  constructor(public invocation: Invocation) {}

  get key(): string {
    return keyOf(this.invocation);
  }

  /**
   * Whether this attempt's outcome is what an invocation asks for. A probe asks what became of it,
   * and is not answered by an outcome that says that nobody knows.
   */
  answers(invocation: Invocation): boolean {
    return !(this.completion?.outcome.case === "unknown" && invocation.kind === InvocationKind.RECONCILE);
  }

  /** Takes over a lease that was given anew for the same attempt. */
  adopt(invocation: Invocation): void {
    this.invocation = invocation;
    if (this.completion) this.completion = addressed(this.completion, invocation);
  }

  /** Asks the tool to stop. */
  stop(reason: string): void {
    if (!this.completion) this.#stop.abort(new StopRequest(reason));
  }

  /** Runs the tool's function and sets the completion. */
  async run(tool: Tool | undefined, progress: Call["progress"]): Promise<void> {
    const outcome = await this.#outcome(tool, progress);
    this.completion = addressed(create(CompletionSchema, { outcome }), this.invocation);
  }

  async #outcome(tool: Tool | undefined, progress: Call["progress"]): Promise<Outcome> {
    const { kind, argumentsJson, deadline } = this.invocation;
    const execute = functionOf(tool, kind);
    if (!tool || !execute) {
      if (kind === InvocationKind.RECONCILE) return unknown("this host cannot find out what became of the call");
      return failed(`this host does not offer ${this.invocation.tool}`);
    }
    const signal = this.#stop.signal;
    if (signal.aborted) return beforeEffect(kind);
    const remainingMs = deadline ? timestampMs(deadline) - Date.now() : LONGEST_TIMER_MS;
    const timer = setTimeout(
      () => this.stop("its deadline passed"),
      Math.max(0, Math.min(remainingMs, LONGEST_TIMER_MS)),
    );
    try {
      return result(await execute(JSON.parse(argumentsJson || "{}"), callOf(this.invocation, signal, progress)));
    } catch (error) {
      return outcomeOf(error, tool, kind, signal);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Returns what names one attempt of a call. */
export function keyOf({ call, attempt }: { call: string; attempt: number }): string {
  return `${attempt} ${call}`;
}

/** Returns the report for a lease of which this host knows nothing. */
export function lostOutcome(invocation: Invocation, message: string): Completion {
  return addressed(create(CompletionSchema, { outcome: unknown(message) }), invocation);
}

/** Returns the report that replaces one that the daemon cannot take. */
export function failedOutcome(completion: Completion, message: string): Completion {
  const copy = clone(CompletionSchema, completion);
  copy.outcome = failed(message);
  return copy;
}

/** Returns an outcome as the report for a lease. */
function addressed(completion: Completion, invocation: Invocation): Completion {
  const copy = clone(CompletionSchema, completion);
  copy.call = invocation.call;
  copy.attempt = invocation.attempt;
  copy.leaseToken = invocation.leaseToken;
  if (invocation.kind === InvocationKind.RECONCILE && copy.outcome.case === "stopped") {
    copy.outcome = notExecuted();
  }
  return copy;
}

function outcomeOf(error: unknown, tool: Tool, kind: InvocationKind, signal: AbortSignal): Outcome {
  if (error instanceof ToolStopped) return beforeEffect(kind);
  if (error instanceof NotExecuted) return notExecuted();
  if (error instanceof OutcomeUnknown) return unknown(error.message);
  if (signal.aborted && (error === signal.reason || (error instanceof Error && error.name === "AbortError"))) {
    return interrupted(tool, kind, (signal.reason as Error).message);
  }
  return failed(error instanceof Error ? error.message || error.name : String(error));
}

function result(value: unknown): Outcome {
  try {
    return { case: "resultJson", value: JSON.stringify(value ?? null) ?? "null" };
  } catch (error) {
    return failed(`the tool ran, but its result is not JSON: ${String(error)}`);
  }
}

function failed(message: string): Outcome {
  return { case: "errorMessage", value: message.toWellFormed() || "the tool failed" };
}

function unknown(message: string): Outcome {
  const outcome = { case: "unknown", value: { message: message.toWellFormed() } } as const;
  return create(CompletionSchema, { outcome }).outcome;
}

function notExecuted(): Outcome {
  return create(CompletionSchema, { outcome: { case: "notExecuted", value: {} } }).outcome;
}

function beforeEffect(kind: InvocationKind): Outcome {
  // When it is the probe that was stopped, nothing was found out of the call.
  if (kind === InvocationKind.RECONCILE) return unknown("the probe was stopped");
  return create(CompletionSchema, { outcome: { case: "stopped", value: {} } }).outcome;
}

/**
 * Returns the outcome of a function that gave up somewhere in the middle. Whether the effect had
 * happened by then, only the tool knows; one that does says it with ToolStopped.
 */
function interrupted(tool: Tool, kind: InvocationKind, reason: string): Outcome {
  const repeatable = tool.effect === EffectClass.READ_ONLY || tool.effect === EffectClass.IDEMPOTENT;
  if (kind !== InvocationKind.EXECUTE || repeatable) return beforeEffect(kind);
  return unknown(`it was stopped in the middle: ${reason}`);
}
