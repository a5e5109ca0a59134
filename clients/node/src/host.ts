/** Offers functions of this process as tools, and executes the calls that the daemon hands out. */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { randomBytes } from "node:crypto";

import type { Client } from "./client.js";
import { AgentdError, unreachable } from "./errors.js";
import { Execution, keyOf, lostOutcome } from "./execution.js";
import { type HostInstruction, type Invocation, InvocationKind, type Tool as Manifest } from "./gen/v1.js";
import { Reports } from "./reports.js";
import { Pauses } from "./retry.js";
import { manifest, type Tool } from "./tool.js";
import type { Link } from "./transport.js";

const REGISTER_MS = 30_000;
const DRAIN_MS = 10_000;
const STOP_MS = 2_000;
const CAPACITY = 16;

/** Takes a line of what a host does. */
export type Logger = (line: string) => void;

/** What a host offers. */
export interface HostOptions {
  /** The toolset's id, without `toolsets/`. */
  readonly toolset: string;
  readonly tools: readonly Tool[];
  /** The host's id, kept over restarts of this program; without one, an id is made. */
  readonly id?: string;
  /** The most calls at once: 16 unless given. */
  readonly capacity?: number;
  /** How long calls in progress may take to end at `close`: 10 s unless given. */
  readonly drainMs?: number;
  /** Ends the registration, and later the host as `close` does. */
  readonly signal?: AbortSignal;
  readonly log?: Logger;
}

/**
 * A host of tools. A cut stream is opened again for as long as it takes: leases outlive the stream
 * and the daemon, so what runs goes on, and outcomes are reported until the daemon answers.
 */
export class Host implements AsyncDisposable {
  readonly id: string;
  /**
   * Resolves when the host has ended: with undefined after `close`, with the error when it ended by
   * itself: `Conflict` (HOST_REPLACED) when another process has its id, `Denied`, or `Unavailable`
   * when the client was closed.
   */
  readonly ended: Promise<AgentdError | undefined>;

  readonly #client: Client;
  readonly #link: Link;
  readonly #options: HostOptions;
  readonly #toolset: string;
  readonly #log: Logger;
  readonly #manifests: readonly Manifest[];
  readonly #tools: ReadonlyMap<string, Tool>;
  readonly #reports: Reports;
  /** Aborted when the stream is to be closed. */
  readonly #leave = new AbortController();
  /** Aborted when everything is to end. */
  readonly #end = new AbortController();
  #settle: (error: AgentdError | undefined) => void = () => undefined;
  #registered: () => void = () => undefined;
  #closing: Promise<void> | undefined;

  /** Use `client.host`. */
  constructor(client: Client, link: Link, options: HostOptions) {
    this.#client = client;
    this.#link = link;
    this.#options = options;
    this.#toolset = options.toolset.replace(/^toolsets\//, "");
    this.#log = options.log ?? (() => undefined);
    this.#manifests = options.tools.map((tool) => manifest(tool, this.#toolset));
    this.#tools = new Map(options.tools.map((tool, index) => [this.#manifests[index]?.name ?? "", tool]));
    this.#reports = new Reports(client, link, this.#log);
    this.id = options.id || `host-${randomBytes(16).toString("hex")}`;
    this.ended = new Promise((resolve) => (this.#settle = resolve));
  }

  /** Registers the tools. */
  async open(): Promise<void> {
    const { signal } = this.#options;
    signal?.throwIfAborted();
    const welcomed = new Promise<undefined>((resolve) => (this.#registered = () => resolve(undefined)));
    this.#run(this.#follow());
    this.#run(this.#reports.sendOutcomes(this.#end.signal));
    this.#run(this.#reports.sendNotes(this.#end.signal));
    const abort = (): void => this.#finish(undefined);
    signal?.addEventListener("abort", abort, { once: true });
    const timer = setTimeout(() => this.#finish(unreachable("the daemon does not register tools")), REGISTER_MS);
    const error = await Promise.race([welcomed, this.ended]);
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    signal?.throwIfAborted();
    if (error) throw error;
    signal?.addEventListener("abort", () => void this.close(), { once: true });
  }

  /**
   * Takes no more calls, lets those in progress end, then asks them to stop. A function that does not
   * stop goes on; its lease ends by itself.
   */
  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#leave.abort();
    await this.#reports.idle(this.#options.drainMs ?? DRAIN_MS, this.#end.signal);
    for (const execution of this.#reports.active.values()) execution.stop("its host goes down");
    await this.#reports.idle(STOP_MS, this.#end.signal);
    this.#finish(undefined);
  }

  #finish(error: AgentdError | undefined): void {
    this.#settle(error);
    this.#leave.abort();
    this.#end.abort();
    this.#reports.close();
  }

  /** Has a loop end the host when it fails. */
  #run(loop: Promise<void>): void {
    loop.catch((error: unknown) => {
      if (this.#end.signal.aborted || (this.#leave.signal.aborted && !(error instanceof AgentdError))) return;
      this.#finish(error instanceof AgentdError ? error : unreachable(String(error)));
    });
  }

  /** Does what the daemon says, over one stream after another. */
  async #follow(): Promise<void> {
    const signal = this.#leave.signal;
    const pauses = new Pauses(this.#link.retry);
    while (!signal.aborted) {
      let cut = unreachable("the daemon ended the stream");
      try {
        for await (const { instructions } of this.#watch(signal)) {
          pauses.reset();
          for (const instruction of instructions) this.#obey(instruction);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof AgentdError) || endsHost(error) || this.#link.isClosed) throw error;
        cut = error;
      }
      this.#log(`connecting again as ${this.id}: ${cut.message}`);
      await this.#link.pause(pauses.next() + (cut.retryAfterMs ?? 0), signal);
    }
  }

  #watch(signal: AbortSignal): ReturnType<Client["toolHosts"]["watchCalls"]> {
    const request = {
      host: this.id,
      toolset: `toolsets/${this.#toolset}`,
      tools: [...this.#manifests],
      capacity: this.#options.capacity ?? CAPACITY,
    };
    return this.#client.toolHosts.watchCalls(request, { signal });
  }

  #obey({ instruction }: HostInstruction): void {
    switch (instruction.case) {
      case "welcome": {
        const { leaseDuration, leases } = instruction.value;
        if (leaseDuration) this.#reports.extendLeases(durationMs(leaseDuration), this.#end.signal);
        for (const lease of leases) this.#readopt(lease);
        this.#registered();
        break;
      }
      case "invoke":
        this.#begin(instruction.value);
        break;
      case "cancel":
        this.#reports.active.get(keyOf(instruction.value))?.stop(instruction.value.reason || "the call was cancelled");
        break;
      case "drain":
        this.#log("the daemon goes down; calls in progress go on");
        break;
      default: // A kind that a newer daemon knows is ignored, as the contract says.
        break;
    }
  }

  /**
   * Goes on with a lease from before this stream. Under an id that this object made, an EXECUTE that
   * never came here was never executed, so it begins now. Under an id given from outside, an earlier
   * process may have begun it.
   */
  #readopt(lease: Invocation): void {
    const key = keyOf(lease);
    const known = this.#reports.active.has(key) || this.#reports.hasEnded(key);
    if (known || !this.#options.id || lease.kind !== InvocationKind.EXECUTE) {
      this.#begin(lease);
      return;
    }
    const execution = new Execution(lease);
    execution.completion = lostOutcome(lease, `the host ${this.id} was restarted`);
    this.#reports.add(execution);
    this.#reports.send(execution);
  }

  #begin(invocation: Invocation): void {
    const key = keyOf(invocation);
    const known = this.#reports.active.get(key);
    if (known?.answers(invocation)) {
      known.adopt(invocation);
      return;
    }
    const late = this.#reports.late(key);
    if (late?.answers(invocation)) {
      this.#reports.forgetLate(key);
      late.adopt(invocation);
      this.#reports.add(late);
      this.#reports.send(late);
      return;
    }
    // Its outcome may have been reported while this message was under way.
    if (invocation.kind === InvocationKind.EXECUTE && this.#reports.hasEnded(key)) return;
    const execution = new Execution(invocation);
    this.#reports.add(execution);
    void this.#execute(execution, key);
  }

  async #execute(execution: Execution, key: string): Promise<void> {
    const tool = this.#tools.get(execution.invocation.tool);
    await execution.run(tool, (message, fraction = -1) => this.#reports.note(key, message, fraction));
    this.#reports.send(execution);
  }
}

function endsHost(error: AgentdError): boolean {
  return error.reason === "HOST_REPLACED" || ["InvalidRequest", "Denied", "Unsupported"].includes(error.kind);
}
