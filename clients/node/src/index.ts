/** The client of agentd: `connect` to a daemon, offer functions as tools, start runs, watch them. */

export { type Created, Client, connect, type ConnectOptions, ended } from "./client.js";
export { AgentdError, type Fault, type Kind, type Reason } from "./errors.js";
export { Host, type HostOptions } from "./host.js";
export { pages } from "./pages.js";
export { type RetryPolicy } from "./retry.js";
export { type Call, NotExecuted, OutcomeUnknown, type Tool, type ToolFunction, ToolStopped } from "./tool.js";
export { isEvent, type Item, Watch, type WatchOptions } from "./watch.js";
