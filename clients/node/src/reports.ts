/** What a host reports: outcomes until they count, notes while they are fresh, leases at a third. */

import { create, toBinary } from "@bufbuild/protobuf";

import type { Client } from "./client.js";
import { AgentdError } from "./errors.js";
import { type Execution, failedOutcome } from "./execution.js";
import {
  type Completion,
  CompletionSchema,
  LeaseExtensionSchema,
  LeaseResult,
  type LeaseStatus,
  ProgressReportSchema,
} from "./gen/v1.js";
import type { Logger } from "./host.js";
import { Pauses } from "./retry.js";
import type { Link } from "./transport.js";

const BATCH_COUNT = 1000;
const BATCH_BYTES = 1024 * 1024;
const NOTES_INTERVAL_MS = 100;
const NOTE_BYTES = 4096;
const ENDED_COUNT = 10_000;
const LATE_COUNT = 100;
const GONE: ReadonlySet<LeaseResult> = new Set([LeaseResult.STALE_LEASE, LeaseResult.NOT_FOUND]);

interface Note {
  readonly message: string;
  readonly fraction: number;
}

/** Something that a loop waits for: many rings before it looks are one. */
class Bell {
  #rung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Waits for a ring; rejects with the signal's reason when it is aborted. */
  async heard(signal: AbortSignal): Promise<void> {
    while (!this.#rung) {
      signal.throwIfAborted();
      const wake = new Promise<void>((resolve) => (this.#wake = resolve));
      const onAbort = (): void => this.#wake?.();
      signal.addEventListener("abort", onAbort, { once: true });
      await wake;
      signal.removeEventListener("abort", onAbort);
    }
    signal.throwIfAborted();
    this.#rung = false;
  }
}

/** The attempts that a host has, and three loops that report on them until aborted. */
export class Reports {
  /** Every attempt whose outcome does not count yet. */
  readonly active = new Map<string, Execution>();
  readonly #client: Client;
  readonly #link: Link;
  readonly #log: Logger;
  readonly #ended = new Map<string, true>();
  readonly #late = new Map<string, Execution>();
  readonly #outbox = new Set<Execution>();
  readonly #notes = new Map<string, Note>();
  readonly #outcomes = new Bell();
  readonly #noted = new Bell();
  readonly #onIdle = new Set<() => void>();
  #leaseMs = 30_000;
  #leaseTimer: NodeJS.Timeout | undefined;

  constructor(client: Client, link: Link, log: Logger) {
    this.#client = client;
    this.#link = link;
    this.#log = log;
  }

  /** Takes an attempt on. */
  add(execution: Execution): void {
    this.active.set(execution.key, execution);
  }

  /** Whether an attempt was executed here and its report was answered, as far as is known. */
  hasEnded(key: string): boolean {
    return this.#ended.has(key);
  }

  /** Returns an attempt whose outcome came too late to count, if that answers the invocation. */
  late(key: string): Execution | undefined {
    return this.#late.get(key);
  }

  forgetLate(key: string): void {
    this.#late.delete(key);
  }

  /** Reports the outcome of an attempt, again and again until it is answered. */
  send(execution: Execution): void {
    this.#outbox.add(execution);
    this.#outcomes.ring();
  }

  /** Sends a note on the progress of an attempt. */
  note(key: string, message: string, fraction: number): void {
    if (!this.active.has(key)) return;
    this.#notes.set(key, { message: cutText(message), fraction });
    this.#noted.ring();
  }

  /** Resolves once nothing is active, or after the patience. */
  async idle(patienceMs: number, signal: AbortSignal): Promise<void> {
    if (!this.active.size || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, patienceMs);
      this.#onIdle.add(resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
      this.#onIdle.add(() => clearTimeout(timer));
    });
  }

  /** Sends outcomes in batches: whatever is waiting, at once. Rejects when no repeat will help. */
  async sendOutcomes(signal: AbortSignal): Promise<void> {
    const pauses = new Pauses(this.#link.retry);
    for (;;) {
      await this.#outcomes.heard(signal);
      while (this.#outbox.size) {
        if (await this.#send(batch([...this.#outbox]), signal)) pauses.reset();
        else await this.#link.pause(pauses.next(), signal);
      }
    }
  }

  /** Sends a batch; returns false when it is to be sent again later. */
  async #send(executions: readonly Execution[], signal: AbortSignal): Promise<boolean> {
    const completions = executions.map(completionOf);
    try {
      const { statuses } = await this.#client.toolHosts.completeCalls({ completions }, { signal });
      statuses.forEach((status, index) => {
        const [execution, completion] = [executions[index], completions[index]];
        if (execution && completion) this.#answered(execution, completion, status);
      });
      return true;
    } catch (error) {
      const isFinal = error instanceof AgentdError && (error.kind === "Denied" || error.kind === "Unsupported");
      if (!(error instanceof AgentdError) || isFinal || this.#link.isClosed) throw error;
      if (!isTooMuch(error)) {
        this.#log(`outcomes are kept until the daemon takes them: ${error.message}`);
        return false;
      }
      return await this.#sendSmaller(executions, completions, error, signal);
    }
  }

  /** Finds the completion that the daemon refuses, and reports a failure in its place. */
  async #sendSmaller(
    executions: readonly Execution[],
    completions: readonly Completion[],
    error: AgentdError,
    signal: AbortSignal,
  ): Promise<boolean> {
    const [execution, completion] = [executions[0], completions[0]];
    if (executions.length === 1 && execution && completion) {
      this.#refused(execution, completion, error.message);
      return true;
    }
    for (const one of executions) {
      if (!(await this.#send([one], signal))) return false;
    }
    return true;
  }

  #answered(execution: Execution, sent: Completion, status: LeaseStatus): void {
    if (status.result === LeaseResult.INVALID) {
      this.#refused(execution, sent, "the daemon refused the result as not valid");
      return;
    }
    if (GONE.has(status.result)) {
      // If the lease was given anew while the report was under way, it is sent again.
      if (execution.completion !== sent) return;
      this.#log(`the outcome of ${status.call} came too late, and is kept as evidence`);
      remember(this.#late, execution.key, execution, LATE_COUNT);
    }
    this.#remove(execution);
  }

  #refused(execution: Execution, sent: Completion, why: string): void {
    if (sent.outcome.case === "errorMessage") {
      this.#log(`the daemon does not take the outcome of ${sent.call}: ${why}`);
      this.#remove(execution);
    } else {
      execution.completion = failedOutcome(sent, why);
    }
  }

  #remove(execution: Execution): void {
    const key = execution.key;
    this.#outbox.delete(execution);
    // Else a probe of the same attempt has its place.
    if (this.active.get(key) === execution) {
      this.active.delete(key);
      this.#notes.delete(key);
    }
    remember(this.#ended, key, true, ENDED_COUNT);
    if (this.active.size) return;
    for (const resolve of this.#onIdle) resolve();
    this.#onIdle.clear();
  }

  /** Sends the newest note of each attempt, at most ten times a second. */
  async sendNotes(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#noted.heard(signal);
      const reports = [...this.#notes].flatMap(([key, note]) => {
        const lease = this.active.get(key)?.invocation;
        return lease ? [create(ProgressReportSchema, { ...leaseOf(lease), ...note })] : [];
      });
      this.#notes.clear();
      for (const some of chunks(reports)) {
        // A note that is lost is not worth repeating.
        await this.#quietly(this.#client.toolHosts.reportProgress({ reports: some }, { signal }), signal);
      }
      await this.#link.pause(NOTES_INTERVAL_MS, signal);
    }
  }

  /** Extends the leases of every attempt at a third of their length, which the welcome says. */
  extendLeases(leaseMs: number, signal: AbortSignal): void {
    this.#leaseMs = leaseMs;
    clearTimeout(this.#leaseTimer);
    if (signal.aborted) return;
    this.#leaseTimer = setTimeout(() => {
      void this.#extendAll(signal).finally(() => this.extendLeases(this.#leaseMs, signal));
    }, leaseMs / 3);
  }

  /** Ends the timer of `extendLeases`. */
  close(): void {
    clearTimeout(this.#leaseTimer);
  }

  async #extendAll(signal: AbortSignal): Promise<void> {
    for (const held of chunks([...this.active.values()])) {
      const leases = held.map(({ invocation }) => create(LeaseExtensionSchema, leaseOf(invocation)));
      // The lease outlives the daemon: what runs, runs on.
      const answer = await this.#quietly(this.#client.toolHosts.extendLeases({ leases }, { signal }), signal);
      answer?.statuses.forEach((status, index) => {
        const [execution, lease] = [held[index], leases[index]];
        const current = execution && execution.invocation.leaseToken === lease?.leaseToken;
        if (GONE.has(status.result) && current) execution.stop("its lease has ended");
      });
    }
  }

  async #quietly<T>(request: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    try {
      return await request;
    } catch (error) {
      if (!signal.aborted) this.#log(`a report was not answered: ${String(error)}`);
      return undefined;
    }
  }
}

function leaseOf({ call, attempt, leaseToken }: { call: string; attempt: number; leaseToken: string }): {
  call: string;
  attempt: number;
  leaseToken: string;
} {
  return { call, attempt, leaseToken };
}

function completionOf(execution: Execution): Completion {
  if (!execution.completion) throw new Error("only ended attempts are in the outbox");
  return execution.completion;
}

function batch(waiting: readonly Execution[]): readonly Execution[] {
  const some = waiting.slice(0, BATCH_COUNT);
  let size = 0;
  for (const [count, execution] of some.entries()) {
    size += toBinary(CompletionSchema, completionOf(execution)).byteLength;
    if (size > BATCH_BYTES) return some.slice(0, Math.max(count, 1));
  }
  return some;
}

function isTooMuch(error: AgentdError): boolean {
  if (error.kind !== "Exhausted") return error.kind === "InvalidRequest";
  // gRPC itself refuses a message above its limit, without a reason of ours.
  return (error.reason === "TOO_LARGE" || error.reason === "LIMIT_REACHED") && error.retryAfterMs === undefined;
}

function* chunks<T>(all: readonly T[]): Generator<T[], void> {
  for (let start = 0; start < all.length; start += BATCH_COUNT) yield all.slice(start, start + BATCH_COUNT);
}

function remember<V>(memory: Map<string, V>, key: string, value: V, count: number): void {
  memory.set(key, value);
  const oldest = memory.keys().next();
  if (memory.size > count && !oldest.done) memory.delete(oldest.value);
}

/** Returns a text of at most NOTE_BYTES that is valid UTF-8. */
function cutText(text: string): string {
  const bytes = Buffer.from(text.toWellFormed());
  if (bytes.length <= NOTE_BYTES) return bytes.toString();
  let end = NOTE_BYTES;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}
