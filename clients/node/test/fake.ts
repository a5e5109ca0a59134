/** A daemon whose answers a test scripts, and a client of it. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { createServer, type ServerHttp2Session } from "node:http2";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { type Client, connect } from "../src/index.js";
import { ErrorInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import {
  type Completion,
  EventService,
  type HostInstruction,
  type Invocation,
  InvocationKind,
  InvocationSchema,
  type LeaseExtension,
  LeaseResult,
  type ProgressReport,
  SystemService,
  ToolHostService,
  type WatchCallsRequest,
  type WatchCallsResponseSchema,
} from "../src/gen/v1.js";

type Impl<T extends Parameters<ConnectRouter["service"]>[0]> = Partial<ServiceImpl<T>>;

/** Values that come one by one, to be waited for. */
export class Inbox<T> {
  readonly #values: T[] = [];
  #wake: () => void = () => undefined;

  push(value: T): void {
    this.#values.push(value);
    this.#wake();
  }

  get size(): number {
    return this.#values.length;
  }

  async next(): Promise<T> {
    while (!this.#values.length) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#values.shift() as T;
  }
}

/** The server's side of ToolHostService. */
export class Hosted {
  readonly registrations = new Inbox<WatchCallsRequest>();
  readonly completions = new Inbox<Completion>();
  readonly extensions = new Inbox<LeaseExtension>();
  readonly notes = new Inbox<ProgressReport>();
  leaseMs = 30_000;
  leases: Invocation[] = [];
  verdict: (completion: Completion) => LeaseResult = () => LeaseResult.OK;
  leaseVerdict = LeaseResult.OK;
  refuse: (completions: readonly Completion[]) => void = () => undefined;
  readonly #instructions = new Inbox<HostInstruction["instruction"] | Error | undefined>();

  invoke(invocation: Invocation): void {
    this.#instructions.push({ case: "invoke", value: invocation });
  }

  cancel({ call, attempt }: Invocation): void {
    const value = { call, attempt, reason: "enough" };
    this.#instructions.push({ case: "cancel", value } as HostInstruction["instruction"]);
  }

  /** Ends the present stream, with an error if there is one. */
  cut(error?: Error): void {
    this.#instructions.push(error);
  }

  readonly service: Impl<typeof ToolHostService> = {
    watchCalls: (request) => this.#watch(request),
    completeCalls: ({ completions }) => {
      this.refuse(completions);
      const statuses = completions.map((completion) => ({ call: completion.call, result: this.verdict(completion) }));
      for (const completion of completions) this.completions.push(completion);
      return { statuses };
    },
    extendLeases: ({ leases }) => {
      for (const lease of leases) this.extensions.push(lease);
      return { statuses: leases.map(({ call }) => ({ call, result: this.leaseVerdict })) };
    },
    reportProgress: ({ reports }) => {
      for (const report of reports) this.notes.push(report);
      return { statuses: reports.map(({ call }) => ({ call, result: LeaseResult.OK })) };
    },
  };

  async *#watch(request: WatchCallsRequest): AsyncGenerator<MessageInitShape<typeof WatchCallsResponseSchema>> {
    const leaseDuration = { seconds: 0n, nanos: this.leaseMs * 1e6 };
    if (this.leaseMs >= 1000) Object.assign(leaseDuration, { seconds: BigInt(this.leaseMs / 1000), nanos: 0 });
    yield { instructions: [{ instruction: { case: "welcome", value: { leaseDuration, leases: this.leases } } }] };
    this.registrations.push(request);
    for (;;) {
      const instruction = await this.#instructions.next();
      if (instruction instanceof Error) throw instruction;
      if (!instruction) return;
      yield { instructions: [{ instruction }] };
    }
  }
}

/** Returns an error as agentd makes it. */
export function refusal(code: Code, reason: string, metadata: Record<string, string> = {}): ConnectError {
  return new ConnectError("no", code, undefined, [
    { desc: ErrorInfoSchema, value: { reason, domain: "agentd.dev", metadata } },
  ]);
}

/** Serves some services for as long as a test lasts; returns a client that repeats at once. */
export async function serve(
  test: TestContext,
  services: {
    events?: Impl<typeof EventService>;
    system?: Impl<typeof SystemService>;
    toolHosts?: Impl<typeof ToolHostService>;
  },
): Promise<Client> {
  const folder = mkdtempSync(join(tmpdir(), "agentd-"));
  const path = join(folder, "s");
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer(
    connectNodeAdapter({
      routes: (router) => {
        router.service(EventService, services.events ?? {});
        router.service(SystemService, services.system ?? {});
        router.service(ToolHostService, services.toolHosts ?? {});
      },
    }),
  );
  server.on("session", (session) => sessions.add(session));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const client = connect(`unix:${path}`, { retry: { firstDelayMs: 1, maxDelayMs: 50 } });
  test.after(() => {
    client.close();
    for (const session of sessions) session.destroy();
    server.close();
    rmSync(folder, { recursive: true });
  });
  return client;
}

/** Returns an invocation of `box/TOOL`. */
export function invocation(
  tool: string,
  number: string,
  more: Partial<Pick<Invocation, "kind" | "leaseToken" | "deadline">> = {},
): Invocation {
  const made = create(InvocationSchema, {
    call: `runs/a/calls/${number}`,
    kind: InvocationKind.EXECUTE,
    tool: `toolsets/box/tools/${tool}`,
    attempt: 1,
    leaseToken: `token-${number}`,
  });
  return Object.assign(made, more);
}
