import { Code } from "@connectrpc/connect";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { type Call, type Client, type Host, OutcomeUnknown, type Tool } from "../src/index.js";
import { EffectClass, InvocationKind, LeaseResult } from "../src/gen/v1.js";
import { Hosted, Inbox, invocation, refusal, serve } from "./fake.js";

const { READ_ONLY, NON_IDEMPOTENT } = EffectClass;

async function hosted(t: TestContext): Promise<{ daemon: Hosted; client: Client }> {
  const daemon = new Hosted();
  return { daemon, client: await serve(t, { toolHosts: daemon.service }) };
}

async function host(t: TestContext, client: Client, tools: Tool[], id?: string): Promise<Host> {
  const made = await client.host({ toolset: "box", tools, drainMs: 1, ...(id && { id }) });
  t.after(() => made.close());
  return made;
}

function tool(name: string, effect: EffectClass, execute: Tool["execute"]): Tool {
  return { name, description: "For tests.", effect, execute };
}

function raise(error: Error): never {
  throw error;
}

/** Gives up when it is asked to, as most functions do. */
function untilStopped(begun: Inbox<true>): Tool["execute"] {
  return async (_args: unknown, { signal }: Call) => {
    begun.push(true);
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
    signal.throwIfAborted();
  };
}

test("outcomes", async (t) => {
  const { daemon, client } = await hosted(t);
  const circle: Record<string, unknown> = {};
  circle["self"] = circle;
  await host(t, client, [
    tool("text", READ_ONLY, () => "<done>"),
    tool("nothing", READ_ONLY, () => undefined),
    tool("fails", READ_ONLY, () => raise(new Error("no such file"))),
    tool("unsure", READ_ONLY, () => raise(new OutcomeUnknown("who knows"))),
    tool("strange", READ_ONLY, () => circle),
  ]);
  const wanted: Record<string, [string, RegExp]> = {
    text: ["resultJson", /^"<done>"$/],
    nothing: ["resultJson", /^null$/],
    fails: ["errorMessage", /^no such file$/],
    unsure: ["unknown", /who knows/],
    strange: ["errorMessage", /not JSON/],
    gone: ["errorMessage", /does not offer/],
  };
  for (const [name, [kind, value]] of Object.entries(wanted)) {
    daemon.invoke(invocation(name, name));
    const { outcome, leaseToken } = await daemon.completions.next();
    assert.deepEqual([outcome.case, leaseToken], [kind, `token-${name}`]);
    assert.match(typeof outcome.value === "string" ? outcome.value : JSON.stringify(outcome.value), value);
  }
  daemon.invoke(invocation("text", "probe", { kind: InvocationKind.RECONCILE }));
  assert.equal((await daemon.completions.next()).outcome.case, "unknown");
});

test("a stopped call says what it knows", async (t) => {
  const { daemon, client } = await hosted(t);
  const begun = new Inbox<true>();
  await host(t, client, [tool("look", READ_ONLY, untilStopped(begun)), tool("send", NON_IDEMPOTENT, untilStopped(begun))]);
  for (const [name, kind] of [["look", "stopped"], ["send", "unknown"]] as const) {
    daemon.invoke(invocation(name, name));
    await begun.next();
    daemon.cancel(invocation(name, name));
    assert.equal((await daemon.completions.next()).outcome.case, kind);
  }
  daemon.invoke(invocation("look", "late", { deadline: timestampFromMs(Date.now() + 20) }));
  assert.equal((await daemon.completions.next()).outcome.case, "stopped");
});

test("a lease of an earlier process is unknown", async (t) => {
  const { daemon, client } = await hosted(t);
  daemon.leases = [invocation("text", "1")];
  await host(t, client, [tool("text", NON_IDEMPOTENT, () => "again")], "desk");
  const { outcome, leaseToken } = await daemon.completions.next();
  assert.deepEqual([outcome.case, leaseToken], ["unknown", "token-1"]);
});

test("a lease under our own id begins", async (t) => {
  const { daemon, client } = await hosted(t);
  daemon.leases = [invocation("text", "1")];
  await host(t, client, [tool("text", NON_IDEMPOTENT, () => "first")]);
  assert.equal((await daemon.completions.next()).outcome.value, '"first"');
});

test("a host connects again and keeps its calls", async (t) => {
  const { daemon, client } = await hosted(t);
  const begun = new Inbox<true>();
  const release = new Inbox<true>();
  const slow = tool("slow", NON_IDEMPOTENT, async () => {
    begun.push(true);
    await release.next();
    return "once";
  });
  const { id } = await host(t, client, [slow], "desk");
  daemon.invoke(invocation("slow", "1"));
  await begun.next();
  const renewed = invocation("slow", "1", { leaseToken: "renewed" });
  daemon.leases = [renewed];
  await daemon.registrations.next();
  daemon.cut();
  assert.equal((await daemon.registrations.next()).host, id);
  daemon.invoke(renewed); // The same attempt once more: it is executed already.
  daemon.invoke(invocation("slow", "probe", { kind: InvocationKind.RECONCILE }));
  await daemon.completions.next(); // The probe is answered when the one before was obeyed.
  release.push(true);
  const { outcome, leaseToken } = await daemon.completions.next();
  assert.deepEqual([outcome.value, leaseToken, begun.size], ['"once"', "renewed", 0]);
});

test("a replaced host ends", async (t) => {
  const { daemon, client } = await hosted(t);
  const made = await host(t, client, [tool("text", READ_ONLY, () => "")], "desk");
  daemon.cut(refusal(Code.Aborted, "HOST_REPLACED"));
  assert.equal((await made.ended)?.reason, "HOST_REPLACED");
});

test("outcomes are sent until they are taken", async (t) => {
  const { daemon, client } = await hosted(t);
  let refusals = 6;
  daemon.refuse = () => {
    if (--refusals >= 0) throw refusal(Code.ResourceExhausted, "DISK_FULL");
  };
  await host(t, client, [tool("text", READ_ONLY, () => "kept")]);
  daemon.invoke(invocation("text", "1"));
  assert.equal((await daemon.completions.next()).outcome.value, '"kept"');
});

test("a refused result becomes a failure", async (t) => {
  const { daemon, client } = await hosted(t);
  daemon.verdict = ({ outcome }) => (outcome.case === "resultJson" ? LeaseResult.INVALID : LeaseResult.OK);
  daemon.refuse = (completions) => {
    if (completions.some(({ outcome }) => outcome.value === '"huge"')) throw refusal(Code.ResourceExhausted, "TOO_LARGE");
  };
  await host(t, client, [tool("text", READ_ONLY, () => "wrong"), tool("large", READ_ONLY, () => "huge")]);
  daemon.invoke(invocation("text", "1"));
  await daemon.completions.next();
  assert.match(String((await daemon.completions.next()).outcome.value), /not valid/);
  daemon.invoke(invocation("large", "2"));
  assert.equal((await daemon.completions.next()).outcome.case, "errorMessage");
});

test("a late outcome is given to a probe", async (t) => {
  const { daemon, client } = await hosted(t);
  daemon.verdict = ({ leaseToken }) => (leaseToken === "token-1" ? LeaseResult.STALE_LEASE : LeaseResult.OK);
  await host(t, client, [tool("text", NON_IDEMPOTENT, () => "it happened")]);
  daemon.invoke(invocation("text", "1"));
  await daemon.completions.next();
  daemon.invoke(invocation("text", "2")); // Reported after the answer to the first.
  await daemon.completions.next();
  daemon.invoke(invocation("text", "1", { kind: InvocationKind.RECONCILE, leaseToken: "probe" }));
  const { outcome, leaseToken } = await daemon.completions.next();
  assert.deepEqual([outcome.value, leaseToken], ['"it happened"', "probe"]);
});

test("leases are extended at a third, and a lost one stops", async (t) => {
  const { daemon, client } = await hosted(t);
  daemon.leaseMs = 30;
  const begun = new Inbox<true>();
  await host(t, client, [tool("look", READ_ONLY, untilStopped(begun))]);
  daemon.invoke(invocation("look", "1"));
  assert.equal((await daemon.extensions.next()).leaseToken, "token-1");
  daemon.leaseVerdict = LeaseResult.STALE_LEASE;
  assert.equal((await daemon.completions.next()).outcome.case, "stopped");
});

test("the newest note is sent", async (t) => {
  const { daemon, client } = await hosted(t);
  const release = new Inbox<true>();
  const slow = tool("slow", READ_ONLY, async (_args: unknown, call: Call) => {
    call.progress("é".repeat(3000), 0.5);
    await release.next();
  });
  await host(t, client, [slow]);
  daemon.invoke(invocation("slow", "1"));
  const { message, fraction } = await daemon.notes.next();
  release.push(true);
  assert.deepEqual([Buffer.byteLength(message), fraction], [4096, 0.5]);
});

test("close stops what still runs", async (t) => {
  const { daemon, client } = await hosted(t);
  const begun = new Inbox<true>();
  const made = await host(t, client, [tool("look", READ_ONLY, untilStopped(begun))]);
  daemon.invoke(invocation("look", "1"));
  await begun.next();
  await made.close();
  assert.equal((await daemon.completions.next()).outcome.case, "stopped");
  assert.equal(await made.ended, undefined);
});

test("a registration that is aborted comes out", async (t) => {
  const { client } = await hosted(t);
  const signal = AbortSignal.abort();
  await assert.rejects(client.host({ toolset: "box", tools: [], signal }), { name: "AbortError" });
});

test("closing the client ends its hosts", async (t) => {
  const { client } = await hosted(t);
  const made = await host(t, client, []);
  client.close();
  assert.equal((await made.ended)?.kind, "Unavailable");
});
