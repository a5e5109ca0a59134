/** Follows the journal over cut streams: each event once, in order, none missing, or an error. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import type { Client } from "./client.js";
import { AgentdError, unreachable } from "./errors.js";
import type { Delta, Event, EventFilterSchema, WatchResponse } from "./gen/v1.js";
import { Pauses } from "./retry.js";
import type { Link } from "./transport.js";

const PROGRESS_INTERVAL_MS = 15_000;
const SILENCE_MS = 4 * PROGRESS_INTERVAL_MS;
const OUTAGE_MS = 60_000;

/** What a watch follows. */
export interface WatchOptions {
  readonly filter?: MessageInitShape<typeof EventFilterSchema>;
  /** 0: from the oldest event (the default); -1: from now on. */
  readonly afterRevision?: bigint;
  readonly includeDeltas?: boolean;
  /** Ends the watch when every run that the filter names has ended. */
  readonly untilEnded?: boolean;
  /** The newest sequences already seen of runs (0: none), so that their next event is checked too. */
  readonly sequences?: Readonly<Record<string, bigint>>;
  /** Told of each cut. */
  readonly onInterruption?: (error: AgentdError) => void;
  /** How long the daemon may be out of reach before the watch fails: a minute unless given. */
  readonly outageMs?: number;
  readonly signal?: AbortSignal;
}

/** An event, or a delta when these were asked for. */
export type Item = Event | Delta;

/** Whether an item is an event. */
export function isEvent(item: Item): item is Event {
  return item.$typeName === "agentd.v1.Event";
}

/**
 * An async iterable over events, and over deltas when asked for. A cut stream is resumed after the
 * last event, so each comes exactly once. Iterating rejects with an AgentdError of kind `OutOfRange`
 * (reason COMPACTED, metadata `oldest_revision`) when events are lost, `Corrupt` when the daemon
 * leaves out an event twice, `Unavailable` when it stays out of reach.
 *
 * Leaving the loop closes the stream; another loop goes on after the last event.
 */
export class Watch implements AsyncIterable<Item> {
  /** The revision up to which everything was seen: where another watch would resume. */
  revision: bigint;

  readonly #client: Client;
  readonly #link: Link;
  readonly #options: WatchOptions;
  readonly #checked: boolean;
  readonly #sequences: Map<string, bigint>;
  readonly #pauses: Pauses;
  #gapAfter: bigint | undefined;
  #lostAt: number | undefined;

  /** Use `client.watch`. */
  constructor(client: Client, link: Link, options: WatchOptions) {
    this.#client = client;
    this.#link = link;
    this.#options = options;
    this.#checked = !options.filter?.kinds?.length;
    this.#sequences = new Map(Object.entries(options.sequences ?? {}));
    this.#pauses = new Pauses(link.retry);
    this.revision = options.afterRevision ?? 0n;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    for (;;) {
      let cut = unreachable("the stream was ended");
      try {
        yield* this.#items();
        if (this.#options.untilEnded) return;
      } catch (error) {
        if (!(error instanceof AgentdError) || !this.#isResumable(error)) throw error;
        cut = error;
      }
      await this.#interrupted(cut);
    }
  }

  /** Yields what is new on one stream. */
  async *#items(): AsyncGenerator<Item, void, undefined> {
    if (this.revision < 0n) {
      // "From now on" is asked once: a stream cut before its first message would skip events.
      this.revision = (await this.#client.system.getInfo({}, this.#callOptions())).revision;
    }
    for await (const batch of this.#batches()) {
      this.#pauses.reset();
      this.#lostAt = undefined;
      for (const event of batch.events) {
        if (this.#isNext(event)) yield event;
      }
      yield* batch.deltas;
      if (batch.progressRevision > this.revision) this.revision = batch.progressRevision;
    }
  }

  /** Yields the messages of one stream; one that is silent for too long counts as cut. */
  async *#batches(): AsyncGenerator<WatchResponse, void, undefined> {
    const { filter, includeDeltas = false, untilEnded = false, signal } = this.#options;
    const own = new AbortController();
    const watch = this.#client.events.watch(
      {
        ...(filter && { filter }),
        afterRevision: this.revision,
        includeDeltas,
        untilEnded,
        progressInterval: durationFromMs(PROGRESS_INTERVAL_MS),
      },
      { signal: signal ? AbortSignal.any([signal, own.signal]) : own.signal },
    );
    const silence = unreachable(`the daemon was silent for ${SILENCE_MS / 1000} s`);
    let quiet = setTimeout(() => own.abort(silence), SILENCE_MS);
    try {
      for await (const batch of watch) {
        clearTimeout(quiet);
        yield batch;
        quiet = setTimeout(() => own.abort(silence), SILENCE_MS);
      }
    } finally {
      clearTimeout(quiet);
      own.abort();
    }
  }

  /** Pauses before the next stream; throws the error when the outage has lasted too long. */
  async #interrupted(error: AgentdError): Promise<void> {
    this.#lostAt ??= performance.now();
    if (performance.now() - this.#lostAt >= (this.#options.outageMs ?? OUTAGE_MS)) throw error;
    this.#options.onInterruption?.(error);
    await this.#link.pause(this.#pauses.next() + (error.retryAfterMs ?? 0), this.#options.signal);
  }

  /** Moves on behind an event that is new; throws when one before it is missing. */
  #isNext(event: Event): boolean {
    if (event.revision <= this.revision) return false;
    const last = this.#sequences.get(event.run);
    if (this.#checked && last !== undefined && event.sequence !== last + 1n) {
      const gap = new Gap(`${event.run}: event ${event.sequence} followed event ${last}`);
      gap.metadata["run"] = event.run;
      throw gap;
    }
    if (event.payload.case === "runEnded") this.#sequences.delete(event.run);
    else this.#sequences.set(event.run, event.sequence);
    this.revision = event.revision;
    return true;
  }

  #isResumable(error: AgentdError): boolean {
    if (this.#link.isClosed) return false;
    if (error instanceof Gap) {
      // The stream may have lost what the journal has: ask once more from the same place.
      const repeated = this.#gapAfter === this.revision;
      this.#gapAfter = this.revision;
      return !repeated;
    }
    return error.kind === "Unavailable" || error.reason === "SLOW_READER";
  }

  #callOptions(): { signal?: AbortSignal } {
    return this.#options.signal ? { signal: this.#options.signal } : {};
  }
}

/** The daemon left out an event. */
class Gap extends AgentdError {
  constructor(message: string) {
    super("Corrupt", "JOURNAL_CORRUPT", "DATA_LOSS", message);
  }
}
