import { Code } from "@connectrpc/connect";
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { test } from "node:test";

import { parseAddress } from "../src/address.js";
import { AgentdError, connect, pages } from "../src/index.js";
import { refusal, serve } from "./fake.js";

test("addresses", () => {
  const good = {
    "unix:/run/a.sock": "unix:/run/a.sock",
    "unix:///run/a.sock": "unix:/run/a.sock",
    " /run/a.sock": "unix:/run/a.sock",
    "localhost:7431": "localhost:7431",
    "[::1]:50051": "[::1]:50051",
  };
  for (const [given, want] of Object.entries(good)) assert.equal(parseAddress(given).text, want);
  const isInvalid = (error: unknown): boolean =>
    error instanceof AgentdError && error.reason === "INVALID_FIELD" && error.faults[0]?.field === "address";
  for (const given of ["", "unix:", "unix:relative", "localhost", "localhost:", "localhost:0", "localhost:65536", "a/b:1", ":1"]) {
    assert.throws(() => connect(given), isInvalid, given);
  }
});

test("a token file is stripped and sent", async (t) => {
  const seen: (string | null)[] = [];
  const client = await serve(t, {
    system: {
      getInfo: (_request, { requestHeader }) => {
        seen.push(requestHeader.get("authorization"), requestHeader.get("agentd-namespace"));
        return {};
      },
    },
  });
  const tokenFile = join(tmpdir(), `agentd-token-${process.pid}`);
  writeFileSync(tokenFile, " secret\n");
  const second = connect(client.address, { tokenFile, namespace: "blue" });
  await second.system.getInfo({});
  second.close();
  assert.deepEqual(seen, ["Bearer secret", "blue"]);
  for (const bad of [`${tokenFile}-none`, "/dev/null"]) {
    assert.throws(() => connect(client.address, { tokenFile: bad }), { reason: "INVALID_CONFIG" });
  }
});

test("what the caller aborts is not ours", async (t) => {
  const abort = new AbortController();
  const client = await serve(t, {
    system: {
      getInfo: async (_request, { signal }) => {
        abort.abort();
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        return {};
      },
    },
  });
  await assert.rejects(client.system.getInfo({}, { signal: abort.signal }), { name: "AbortError" });
  const error = await client.system.getInfo({}, { timeoutMs: 20 }).catch((failure: unknown) => failure);
  assert.ok(error instanceof AgentdError);
  assert.deepEqual([error.kind, error.code], ["Unavailable", "DEADLINE_EXCEEDED"]);
});

test("only what may be repeated is", async (t) => {
  let asked = 0;
  const fail = (): never => {
    asked++;
    throw refusal(Code.Unavailable, "DRAINING");
  };
  const client = await serve(t, { system: { getInfo: fail }, events: { watch: fail } });
  await assert.rejects(client.system.getInfo({}), { kind: "Unavailable", reason: "DRAINING" });
  assert.equal(asked, 4);
  await assert.rejects(async () => {
    for await (const _ of client.events.watch({})) break;
  }, AgentdError);
  assert.equal(asked, 5);
});

test("pages follow each other and leave the request alone", async () => {
  const asked: (string | undefined)[] = [];
  const request = { size: 2, pageToken: undefined as string | undefined };
  const list = async (page: { size: number; pageToken?: string | undefined }): Promise<{ nextPageToken: string }> => {
    asked.push(page.pageToken);
    return { nextPageToken: asked.length < 3 ? `after-${asked.length}` : "" };
  };
  let count = 0;
  for await (const _ of pages(list, request as { size: number; pageToken?: string })) count++;
  assert.deepEqual([count, asked, request.pageToken], [3, [undefined, "after-1", "after-2"], undefined]);
});
