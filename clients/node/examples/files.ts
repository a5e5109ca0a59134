/**
 * Lets an agent look at the folder that it is started in:
 *
 *     node dist/examples/files.js unix:/run/user/1000/agentd/agentd.sock "Which file is the largest?"
 */

import { readdir, stat } from "node:fs/promises";

import { connect, isEvent, type Tool } from "../src/index.js";
import { EffectClass } from "../src/gen/v1.js";

/** A tool: it runs here, never in the daemon. */
const listFiles: Tool = {
  name: "list_files",
  description: "List the files of this folder with their sizes in bytes.",
  effect: EffectClass.READ_ONLY,
  async execute() {
    const entries = await readdir(".", { withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    return Object.fromEntries(await Promise.all(files.map(async (name) => [name, (await stat(name)).size])));
  },
};

const [address, goal] = process.argv.slice(2);
if (!address || !goal) throw new Error("usage: files.js ADDRESS QUESTION");

const client = connect(address);
const host = await client.host({ toolset: "folder", tools: [listFiles] });
try {
  const created = await client.runs.createRun({ run: { goal, tools: ["folder/*"] } });
  // Each event once, and the text as it comes.
  for await (const item of client.follow(created)) {
    if (isEvent(item) && item.payload.case === "runEnded") console.log(item.payload.value.output);
  }
} finally {
  await host.close();
  client.close();
}
