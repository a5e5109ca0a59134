/** A daemon as a program sees it. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Client as Stub, createClient } from "@connectrpc/connect";

import { parseAddress, readToken } from "./address.js";
import { Host, type HostOptions } from "./host.js";
import { DEFAULT_RETRY, type RetryPolicy } from "./retry.js";
import { Link } from "./transport.js";
import {
  AgentService,
  ApprovalService,
  type CreateRunResponse,
  EventService,
  MemoryService,
  type Run,
  RunService,
  RunState,
  SessionService,
  SystemService,
  ToolHostService,
  ToolService,
} from "./gen/v1.js";
import { Watch, type WatchOptions } from "./watch.js";

const LONGEST_WAIT_MS = 60_000;

/** How to connect. */
export interface ConnectOptions {
  /** Sent with every request. */
  readonly token?: string;
  /** The file of the token; it is read once. */
  readonly tokenFile?: string;
  /** `default` unless given. */
  readonly namespace?: string;
  readonly retry?: Partial<RetryPolicy>;
}

/** What `follow` needs of the answer of CreateRun. */
export type Created = Pick<CreateRunResponse, "run" | "revision">;

/**
 * Returns a client of the daemon at `unix:/path` or `host:port`.
 *
 * Nothing is dialled before the first request, which rejects with an AgentdError of kind
 * `Unavailable` when nobody answers. An address or token that cannot be used throws at once.
 */
export function connect(address: string, options: ConnectOptions = {}): Client {
  const token = options.tokenFile === undefined ? options.token : readToken(options.tokenFile);
  const namespace = options.namespace ?? "default";
  const credentials = {
    ...(namespace && { "agentd-namespace": namespace }),
    ...(token && { authorization: `Bearer ${token}` }),
  };
  return new Client(new Link(parseAddress(address), { ...DEFAULT_RETRY, ...options.retry }, credentials));
}

/** A connection to a daemon: the contract's services, and what takes more than one request. */
export class Client implements Disposable {
  readonly agents: Stub<typeof AgentService>;
  readonly approvals: Stub<typeof ApprovalService>;
  readonly events: Stub<typeof EventService>;
  readonly memories: Stub<typeof MemoryService>;
  readonly runs: Stub<typeof RunService>;
  readonly sessions: Stub<typeof SessionService>;
  readonly system: Stub<typeof SystemService>;
  readonly toolHosts: Stub<typeof ToolHostService>;
  readonly tools: Stub<typeof ToolService>;

  readonly #link: Link;

  /** Use `connect`. */
  constructor(link: Link) {
    this.#link = link;
    this.agents = createClient(AgentService, link);
    this.approvals = createClient(ApprovalService, link);
    this.events = createClient(EventService, link);
    this.memories = createClient(MemoryService, link);
    this.runs = createClient(RunService, link);
    this.sessions = createClient(SessionService, link);
    this.system = createClient(SystemService, link);
    this.toolHosts = createClient(ToolHostService, link);
    this.tools = createClient(ToolService, link);
  }

  /** Where the daemon is: `unix:/path` or `host:port`. */
  get address(): string {
    return this.#link.address.text;
  }

  /** Closes the connection: requests, watches and hosts end. Runs go on. */
  close(): void {
    this.#link.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Follows the journal: `for await (const item of client.watch(...))`. See Watch. */
  watch(options: WatchOptions = {}): Watch {
    return new Watch(this, this.#link, options);
  }

  /** Follows a run from its first event to its last, with deltas. */
  follow(created: Created, options: Pick<WatchOptions, "signal" | "onInterruption"> = {}): Watch {
    const run = created.run?.name ?? "";
    return this.watch({
      ...options,
      filter: { runs: [run] },
      afterRevision: created.revision,
      includeDeltas: true,
      untilEnded: true,
      sequences: { [run]: 0n },
    });
  }

  /** Waits until a run has ended or the timeout has passed; returns the run as it is then. */
  async wait(name: string, timeoutMs: number, signal?: AbortSignal): Promise<Run> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const patienceMs = Math.max(0, Math.min(Math.ceil(end - performance.now()), LONGEST_WAIT_MS));
      const request: MessageInitShape<typeof RunService.method.waitRun.input> = {
        name,
        timeout: durationFromMs(patienceMs),
      };
      const { run } = await this.runs.waitRun(request, signal && { signal });
      if (run && (ended(run.state) || performance.now() >= end)) return run;
    }
  }

  /**
   * Offers functions of this process as tools until the host is closed. Resolves when the daemon has
   * welcomed it; rejects with an AgentdError of kind `InvalidRequest` for tools that it refuses,
   * `Unavailable` when it cannot be reached for 30 s.
   */
  async host(options: HostOptions): Promise<Host> {
    const host = new Host(this, this.#link, options);
    await host.open();
    return host;
  }
}

/** Whether a state of a run is terminal. */
export function ended(state: RunState): boolean {
  switch (state) {
    case RunState.SUCCEEDED:
    case RunState.FAILED:
    case RunState.CANCELLED:
    case RunState.ABANDONED:
      return true;
    default:
      return false;
  }
}
