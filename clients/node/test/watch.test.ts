import { Code } from "@connectrpc/connect";
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { AgentdError, type Client, isEvent, type Watch } from "../src/index.js";
import { refusal, serve } from "./fake.js";

interface Batch {
  events: { run: string; revision: bigint; sequence: bigint }[];
  progressRevision?: bigint;
}

type Stream = Iterable<Batch | Error | Promise<never>>;

/** Returns events of runs/a whose revisions are ten times their sequences. */
function facts(...sequences: number[]): Batch {
  return {
    events: sequences.map((sequence) => ({
      run: "runs/a",
      revision: BigInt(10 * sequence),
      sequence: BigInt(sequence),
    })),
  };
}

/** Answers one stream after another; the last one answers every further one too. */
async function script(t: TestContext, ...streams: Stream[]): Promise<{ client: Client; asked: bigint[] }> {
  const asked: bigint[] = [];
  let revision = 50n;
  const client = await serve(t, {
    system: { getInfo: () => ({ revision: ++revision }) },
    events: {
      watch: async function* ({ afterRevision }) {
        asked.push(afterRevision);
        for (const batch of streams[Math.min(asked.length, streams.length) - 1] ?? []) {
          if (batch instanceof Error) throw batch;
          yield await batch;
        }
      },
    },
  });
  return { client, asked };
}

async function collect(watch: Watch): Promise<number[]> {
  const sequences: number[] = [];
  for await (const item of watch) if (isEvent(item)) sequences.push(Number(item.sequence));
  return sequences;
}

const CUT = refusal(Code.Unavailable, "DRAINING");

test("a cut watch resumes without gap or repeat", async (t) => {
  const { client, asked } = await script(
    t,
    [facts(1, 2), CUT],
    [facts(2, 3), refusal(Code.ResourceExhausted, "SLOW_READER")],
    [{ ...facts(4), progressRevision: 77n }],
  );
  const cuts: string[] = [];
  const onInterruption = ({ reason }: AgentdError): number => cuts.push(reason);
  const watch = client.watch({ untilEnded: true, sequences: { "runs/a": 0n }, onInterruption });
  assert.deepEqual(await collect(watch), [1, 2, 3, 4]);
  assert.deepEqual([asked, watch.revision, cuts], [[0n, 20n, 30n], 77n, ["DRAINING", "SLOW_READER"]]);
});

test("a gap is asked for once more", async (t) => {
  const { client } = await script(t, [facts(1, 3)], [facts(2, 3)]);
  assert.deepEqual(await collect(client.watch({ untilEnded: true })), [1, 2, 3]);
});

test("a gap that stays is an error", async (t) => {
  const { client, asked } = await script(t, [facts(1, 3)]);
  await assert.rejects(collect(client.watch({ untilEnded: true })), { kind: "Corrupt", metadata: { run: "runs/a" } });
  assert.deepEqual(asked, [0n, 10n]);
});

test("a filter by kind is not checked", async (t) => {
  const { client } = await script(t, [facts(1, 5)]);
  assert.deepEqual(await collect(client.watch({ untilEnded: true, filter: { kinds: ["run_ended"] } })), [1, 5]);
});

test("what is compacted comes out", async (t) => {
  const { client, asked } = await script(t, [refusal(Code.OutOfRange, "COMPACTED", { oldest_revision: "41" })]);
  await assert.rejects(collect(client.watch()), { kind: "OutOfRange", metadata: { oldest_revision: "41" } });
  assert.equal(asked.length, 1);
});

test("from now on is asked once", async (t) => {
  const { client, asked } = await script(t, [CUT], []);
  await collect(client.watch({ afterRevision: -1n, untilEnded: true }));
  assert.deepEqual(asked, [51n, 51n]);
});

test("leaving a loop keeps the place", async (t) => {
  const { client, asked } = await script(t, [facts(1, 2, 3), new Promise<never>(() => undefined)], [facts(3)]);
  const watch = client.watch({ untilEnded: true });
  for await (const item of watch) if (isEvent(item) && item.sequence === 2n) break;
  assert.deepEqual(await collect(watch), [3]);
  assert.deepEqual(asked, [0n, 20n]);
});

test("an outage ends a watch, and so does its signal", async (t) => {
  const { client } = await script(t, [CUT]);
  await assert.rejects(collect(client.watch({ outageMs: 1 })), { kind: "Unavailable" });
  const abort = new AbortController();
  const watch = client.watch({ signal: abort.signal, onInterruption: () => abort.abort() });
  await assert.rejects(collect(watch), { name: "AbortError" });
});
