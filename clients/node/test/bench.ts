/** Measures the Node client beside bare gRPC: `node bench.js ADDRESS COUNT` prints its figures as JSON. */

import { createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { createServer } from "node:http2";
import { connect as dial } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Client, connect, isEvent } from "../src/index.js";
import { EffectClass, type Event, EventService, RunState, SystemService } from "../src/gen/v1.js";

const WARM = 50;

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

/** Returns the median time between two executions of one run's calls, in microseconds. */
async function hosted(client: Client, count: number): Promise<number> {
  const arrivals: number[] = [];
  const execute = (): number => {
    arrivals.push(performance.now());
    return 3;
  };
  const quick = { name: "quick", description: "For tests.", effect: EffectClass.NON_IDEMPOTENT, execute };
  const host = await client.host({ toolset: "box", tools: [quick] });
  const most = BigInt(count + WARM + 9);
  const budget = { maxTurns: most, maxToolCalls: most, maxTokens: 1n << 40n };
  const created = await client.runs.createRun({ run: { goal: "bench", tools: ["box/*"], budget } });
  const run = await client.wait(created.run?.name ?? "", 120_000);
  await host.close();
  if (run.state !== RunState.SUCCEEDED) throw new Error(`the run is ${RunState[run.state]}: ${run.failure?.message}`);
  return 1000 * median(arrivals.slice(1).map((at, index) => at - (arrivals[index] ?? 0)).slice(WARM));
}

async function watched(client: Client): Promise<{ perS: number; events: Event[] }> {
  const events: Event[] = [];
  const { revision } = await client.system.getInfo({});
  const started = performance.now();
  for await (const item of client.watch()) {
    if (!isEvent(item)) continue;
    events.push(item);
    if (item.revision >= revision || item.payload.case === "runEnded") break;
  }
  return { perS: (1000 * events.length) / (performance.now() - started), events };
}

async function bare(events: Event[], count: number): Promise<{ echoUs: number; perS: number }> {
  const batches = Array.from({ length: Math.ceil(events.length / 256) }, (_, index) => ({
    events: events.slice(256 * index, 256 * (index + 1)),
  }));
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  const server = createServer(
    connectNodeAdapter({
      routes: (router) => {
        router.service(SystemService, { getInfo: () => ({ version: "echo" }) });
        router.service(EventService, {
          watch: async function* () {
            yield* batches;
          },
        });
      },
    }),
  );
  await new Promise<void>((resolve) => server.listen(join(folder, "s"), resolve));
  const transport = createGrpcTransport({
    baseUrl: "http://localhost",
    nodeOptions: { createConnection: () => dial(join(folder, "s")) },
  });
  const system = createClient(SystemService, transport);
  const trips: number[] = [];
  for (let call = 0; call < count + WARM; call++) {
    const started = performance.now();
    await system.getInfo({});
    trips.push(performance.now() - started);
  }
  let seen = 0;
  const started = performance.now();
  for await (const batch of createClient(EventService, transport).watch({})) seen += batch.events.length;
  const perS = (1000 * seen) / (performance.now() - started);
  rmSync(folder, { recursive: true });
  return { echoUs: 1000 * median(trips.slice(WARM)), perS };
}

const [address = "", count = "1000"] = process.argv.slice(2);
const client = connect(address);
const hostedUs = await hosted(client, Number(count));
const watch = await watched(client);
const reference = await bare(watch.events, Number(count));
const figures = {
  echo_us: reference.echoUs,
  hosted_us: hostedUs,
  watch_per_s: watch.perS,
  bare_watch_per_s: reference.perS,
};
process.stdout.write(`${JSON.stringify(figures)}\n`, () => process.exit());
