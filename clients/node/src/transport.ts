/** Carries every method of the contract: credentials, request ids, deadlines, repeats, typed errors. */

import {
  clone,
  create,
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import type { StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { randomBytes } from "node:crypto";

import type { Address } from "./address.js";
import { AgentdError, convert } from "./errors.js";
import { isRepeatable, pauseAfter, Pauses, type RetryPolicy, sleep, takesRequestId } from "./retry.js";

const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;
const TIMEOUT_MS = 30_000;
const LONGEST_WAIT_MS = 60_000;
const ANSWER_MS = 15_000;

type HeadersInit = ConstructorParameters<typeof Headers>[0];
type Init<I extends DescMessage> = MessageInitShape<I>;

/** One connection. */
export class Link implements Transport {
  readonly #manager: Http2SessionManager;
  readonly #inner: Transport;
  readonly #closed = new AbortController();

  constructor(
    readonly address: Address,
    readonly retry: RetryPolicy,
    readonly credentials: Readonly<Record<string, string>>,
  ) {
    // A peer that vanished from a network says nothing; a Unix socket's kernel does.
    const pings = address.isUnix ? {} : { pingIntervalMs: 30_000, pingTimeoutMs: 10_000 };
    this.#manager = new Http2SessionManager(address.baseUrl, pings, address.sessionOptions);
    this.#inner = createGrpcTransport({
      baseUrl: address.baseUrl,
      sessionManager: this.#manager,
      acceptCompression: [],
      readMaxBytes: MAX_MESSAGE_BYTES,
      writeMaxBytes: MAX_MESSAGE_BYTES,
    });
  }

  /** Whether the connection was closed from this side: nothing is worth repeating any more. */
  get isClosed(): boolean {
    return this.#closed.signal.aborted;
  }

  /** Closes the connection: requests and streams in progress end. */
  close(): void {
    this.#closed.abort(new AgentdError("Unavailable", "UNREACHABLE", "CANCELLED", "the client was closed"));
    this.#manager.abort();
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    caller: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: Init<I>,
  ): Promise<UnaryResponse<I, O>> {
    const signal = this.#signal(caller);
    const request = withRequestId(method, create(method.input, input));
    const end = performance.now() + (timeoutMs ?? timeoutOf(method.input, request));
    const pauses = new Pauses(this.retry);
    for (let attempts = isRepeatable(method) ? this.retry.attempts : 1; ; attempts--) {
      try {
        const remainingMs = Math.max(1, Math.ceil(end - performance.now()));
        return await this.#inner.unary(method, signal, remainingMs, this.#header(header), request as Init<I>);
      } catch (error) {
        const failure = convert(error, this.address.text, signal);
        if (!(failure instanceof AgentdError)) throw failure;
        const pauseMs = pauseAfter(failure, pauses.next(), this.retry);
        if (attempts <= 1 || this.isClosed || pauseMs === undefined || performance.now() + pauseMs >= end) throw failure;
        await this.pause(pauseMs, signal);
      }
    }
  }

  async stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    caller: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: AsyncIterable<Init<I>>,
  ): Promise<StreamResponse<I, O>> {
    const signal = this.#signal(caller);
    try {
      const response = await this.#inner.stream(method, signal, timeoutMs, this.#header(header), input);
      return { ...response, message: this.#converted(response.message, signal) };
    } catch (error) {
      throw convert(error, this.address.text, signal);
    }
  }

  /** Waits; rejects with the signal's reason when it is aborted. */
  async pause(pauseMs: number, signal?: AbortSignal): Promise<void> {
    try {
      await sleep(pauseMs, undefined, signal && { signal });
    } catch (error) {
      throw signal?.reason ?? error;
    }
  }

  async *#converted<M>(messages: AsyncIterable<M>, signal: AbortSignal): AsyncIterable<M> {
    try {
      yield* messages;
    } catch (error) {
      throw convert(error, this.address.text, signal);
    }
  }

  #signal(caller: AbortSignal | undefined): AbortSignal {
    return caller ? AbortSignal.any([caller, this.#closed.signal]) : this.#closed.signal;
  }

  #header(header: HeadersInit | undefined): Headers {
    const headers = new Headers(header);
    for (const [name, value] of Object.entries(this.credentials)) headers.set(name, value);
    return headers;
  }
}

/** How long a request may take: the daemon takes its time where the request says so. */
function timeoutOf(schema: DescMessage, request: object): number {
  if (!schema.fields.some((field) => field.name === "timeout")) return TIMEOUT_MS;
  const { timeout } = request as { timeout?: Duration };
  return ANSWER_MS + (timeout ? Number(timeout.seconds) * 1000 + timeout.nanos / 1e6 : LONGEST_WAIT_MS);
}

/** Returns the request with a request id where it takes one. The caller's message is not changed. */
function withRequestId<I extends DescMessage>(method: DescMethodUnary<I>, request: MessageShape<I>): MessageShape<I> {
  if (!takesRequestId(method) || (request as { requestId?: string }).requestId) return request;
  const copy = clone(method.input, request);
  (copy as { requestId?: string }).requestId = randomBytes(16).toString("hex");
  return copy;
}
