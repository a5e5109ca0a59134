/** The Node client's runner of tests/clients/scenario.json: `node scenario.js SCENARIO PLACE`. */

import { fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { AgentdError, type Call, type Client, connect, type Host, isEvent, type Item, pages, type Tool, ToolStopped } from "../src/index.js";
import {
  AgentSchema,
  ApprovalSchema,
  CancelReportSchema,
  DecideApprovalRequestSchema,
  EffectClass,
  ListApprovalsRequestSchema,
} from "../src/gen/v1.js";
import { callLine, entryLine, errorLine, errorWords, eventLine, kindOf, quoted, runLine, value } from "./lines.js";

const PATIENCE_MS = 20_000;

interface ErrorCase {
  id: string;
  method?: "get" | "delete" | "create";
}

interface HostedTool {
  name: string;
  effect: keyof typeof EffectClass;
  behaviour: "wait" | "fail" | "return";
}

// The words of all steps: each step has those that its kind needs.
interface Step {
  do: string;
  requires?: string;
  name: string;
  instructions: string;
  tools: never[];
  rules?: { decision: string; permission: string }[];
  host: string;
  toolset: string;
  agent: string;
  goal: string;
  request_id?: string;
  run: string;
  until: string;
  tool: string;
  count: number;
  word: string;
  page_size: number;
  reason: string;
  timeout_ms: number;
  after_revision: number;
  decision: string;
  cases: ErrorCase[];
}

interface Scenario {
  schema: object;
  steps: Step[];
}

interface Place {
  address: string;
  token_file: string;
  errors_address: string;
  nobody_address: string;
  features: string[];
}

interface OpenWatch {
  items: AsyncIterator<Item, void, undefined>;
  interrupted: boolean;
}

/** Writes a line of the transcript, or a cue; waits until it is written. */
async function say(line: string): Promise<void> {
  if (!process.stdout.write(`${line}\n`)) await once(process.stdout, "drain");
}

/** The scenario's tools, and what was executed of them. */
class Tools {
  readonly executions: { tool: string; call: string; attempt: number; item: string }[] = [];
  readonly #releases = new Map<string, PromiseWithResolvers>();
  #changed = resolvers();

  tool({ name, effect, behaviour }: HostedTool, inputSchema: object): Tool {
    const execute = async ({ item }: { item: string }, call: Call): Promise<string> => {
      this.executions.push({ tool: name, call: call.name, attempt: call.attempt, item });
      const release = this.#releases.get(name) ?? resolvers();
      this.#releases.set(name, release);
      this.#changed.resolve();
      this.#changed = resolvers();
      if (behaviour === "fail") throw new Error(`cannot do ${item}`);
      if (behaviour === "wait") await Promise.race([release.promise, stopped(call.signal)]);
      return `did ${item}`;
    };
    return { name, description: "For tests.", inputSchema, effect: EffectClass[effect], execute };
  }

  async began(name: string, count: number): Promise<void> {
    const timer = setTimeout(() => this.#changed.reject(new Error(`${name} has not begun`)), PATIENCE_MS);
    while (this.executions.filter(({ tool }) => tool === name).length < count) await this.#changed.promise;
    clearTimeout(timer);
  }

  release(name: string): void {
    this.#releases.get(name)?.resolve();
    this.#releases.delete(name);
  }
}

interface PromiseWithResolvers {
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: Error) => void;
}

function resolvers(): PromiseWithResolvers {
  let resolve = (): void => undefined;
  let reject = (_error: Error): void => undefined;
  const promise = new Promise<void>((onResolve, onReject) => ([resolve, reject] = [onResolve, onReject]));
  return { promise, resolve, reject };
}

/** Rejects when the signal is aborted. */
async function stopped(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, "abort");
  throw new ToolStopped();
}

class Runner {
  readonly #scenario: Scenario;
  readonly #place: Place;
  readonly #client: Client;
  readonly #tools = new Tools();
  readonly #revisions = new Map<string, bigint>();
  readonly #watches = new Map<string, OpenWatch>();
  readonly #stdin = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  #host: Host | undefined;

  constructor(scenario: Scenario, place: Place) {
    this.#scenario = scenario;
    this.#place = place;
    this.#client = this.#connect(place.address);
  }

  #connect(address: string): Client {
    return connect(address, this.#place.token_file ? { tokenFile: this.#place.token_file } : {});
  }

  async execute(): Promise<void> {
    for (const step of this.#scenario.steps) {
      if (step.requires && !this.#place.features.includes(step.requires)) continue;
      try {
        await this.#steps[step.do]?.(step);
      } catch (error) {
        if (!(error instanceof AgentdError)) throw error;
        await say(`refused ${step.do} ${errorWords(error)}`);
      }
    }
  }

  readonly #steps: Record<string, (step: Step) => Promise<void>> = {
    create_agent: async ({ name, instructions, tools, rules }) => {
      const permissions = rules?.map((rule) => ({ ...rule, decision: `DECISION_${rule.decision}` }));
      const agent = fromJson(AgentSchema, { name, instructions, tools, ...(permissions && { permissions }) });
      const created = await this.#client.agents.createAgent({ agent });
      await say(`agent ${created.agent?.name} revision=${created.agent?.revision}`);
    },

    host: async ({ host, toolset, tools }) => {
      const specs: HostedTool[] = tools;
      const offered = specs.map((spec) => this.#tools.tool(spec, this.#scenario.schema));
      this.#host = await this.#client.host({ id: host, toolset, tools: offered });
      await say(`hosting ${specs.map(({ name }) => `${toolset}/${name}`).join(",")}`);
    },

    create_run: async ({ name, agent, goal, request_id: requestId = "" }) => {
      const created = await this.#client.runs.createRun({ run: { name, agent, goal }, requestId });
      this.#revisions.set(created.run?.name ?? "", created.revision);
      await say(`created ${created.run?.name}`);
    },

    follow: async ({ run, until }) => {
      const watch = this.#watches.get(run) ?? this.#watch(run);
      this.#watches.set(run, watch);
      for (;;) {
        const { value: item, done } = await watch.items.next();
        if (done && until === "end") return;
        if (done || !isEvent(item)) throw new Error(`the watch ended before ${until}`);
        await say(eventLine(item));
        if (kindOf(item) === until) return;
      }
    },

    began: ({ tool, count }) => this.#tools.began(tool, count),

    cue: async ({ word }) => {
      await say(`@${word}`);
      if ((await this.#stdin.next()).done) throw new Error("nobody answers the cue");
      await say(`cue ${word}`);
    },

    release: async ({ tool }) => this.#tools.release(tool),

    interrupted: async ({ run }) => say(`interrupted ${run} ${this.#watches.get(run)?.interrupted ? "yes" : "no"}`),

    wait: async ({ run }) => say(runLine(await this.#client.wait(run, PATIENCE_MS))),

    calls: async ({ run }) => {
      for await (const page of pages(this.#client.runs.listCalls, { parent: run })) {
        for (const call of page.calls) await say(callLine(call));
      }
    },

    executed: async () => {
      for (const { tool, call, attempt, item } of this.#tools.executions) {
        await say(`executed ${tool} call=${call} attempt=${attempt} item=${quoted(item)}`);
      }
    },

    list_events: async ({ run, page_size: pageSize }) => {
      const sequences: bigint[] = [];
      let count = 0;
      for await (const page of pages(this.#client.events.listEvents, { filter: { runs: [run] }, pageSize })) {
        count++;
        sequences.push(...page.events.map(({ sequence }) => sequence));
      }
      await say(`listed ${run} sequences=${sequences.join(",")} pages=${count}`);
    },

    cancel: async ({ run, reason, timeout_ms: timeoutMs }) => {
      const { report } = await this.#client.runs.cancelRun({ name: run, reason, timeout: durationFromMs(timeoutMs) });
      const state = value(CancelReportSchema, report, "state");
      await say(`cancelled ${report?.run} state=${state} complete=${report?.complete ? "yes" : "no"}`);
      for (const entry of report?.entries ?? []) await say(entryLine(entry));
    },

    watch_from: async ({ after_revision: revision }) => {
      for await (const _ of this.#client.watch({ afterRevision: BigInt(revision) })) break;
      await say("watched");
    },

    errors: async ({ cases }) => {
      const client = this.#connect(this.#place.errors_address);
      for (const asked of cases) {
        try {
          await ask(client, asked);
        } catch (error) {
          if (!(error instanceof AgentdError)) throw error;
          await say(errorLine(asked.id, error));
        }
      }
      client.close();
    },

    nobody: async () => {
      const client = this.#connect(this.#place.nobody_address);
      await client.system.getInfo({});
      await say("answered");
    },

    // By JSON: a daemon without approvals has a contract without these fields.
    decide: async ({ run, decision, reason }) => {
      const { approvals } = await this.#client.approvals.listApprovals(fromJson(ListApprovalsRequestSchema, { run }));
      const [approval] = approvals;
      if (!approval) throw new Error(`${run} has no approval`);
      const { name = "", argumentsSha256 = "" } = toJson(ApprovalSchema, approval) as JsonObject;
      const decided = await this.#client.approvals.decideApproval(
        fromJson(DecideApprovalRequestSchema, { name, argumentsSha256, decision: `APPROVAL_STATE_${decision}`, reason }),
      );
      const state = value(ApprovalSchema, decided.approval, "state");
      await say(`decided ${decided.approval?.tool} state=${state} reason=${quoted(decided.approval?.reason ?? "")}`);
    },

    unhost: async () => {
      await this.#host?.close();
      await say("unhosted");
    },

    close: async () => {
      for (const { items } of this.#watches.values()) await items.return?.();
      this.#client.close();
      await say("closed");
      process.stdin.destroy();
    },
  };

  #watch(run: string): OpenWatch {
    const watch = this.#client.watch({
      filter: { runs: [run] },
      afterRevision: this.#revisions.get(run) ?? 0n,
      untilEnded: true,
      sequences: { [run]: 0n },
      onInterruption: () => {
        open.interrupted = true;
      },
    });
    const open: OpenWatch = { items: watch[Symbol.asyncIterator](), interrupted: false };
    return open;
  }
}

async function ask(client: Client, { id, method }: ErrorCase): Promise<void> {
  const name = `agents/${id}`;
  if (method === "delete") await client.agents.deleteAgent({ name });
  else if (method === "create") await client.agents.createAgent({ agent: { name } });
  else await client.agents.getAgent({ name });
}

const [scenario, place] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, "utf8")) as unknown);
await new Runner(scenario as Scenario, place as Place).execute();
