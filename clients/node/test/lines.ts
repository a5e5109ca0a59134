/** The lines of a transcript, as tests/clients/README.md defines them. */

import { type DescEnum, type DescMessage, type Message } from "@bufbuild/protobuf";

import { type AgentdError } from "../src/index.js";
import {
  type Call,
  CallEndedSchema,
  CallErrorSchema,
  CallLostSchema,
  CallSchema,
  CallUnknownSchema,
  type CancelEntry,
  CancelEntrySchema,
  type Event,
  ModelRepliedSchema,
  type ModelReplied,
  type Run,
  RunCancellingSchema,
  RunEndedSchema,
  RunFailureSchema,
  RunSchema,
  RunWaitingSchema,
} from "../src/gen/v1.js";

/** Returns a text as one word. */
export function quoted(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
}

/** Returns the name of an enum field's value without its prefix; empty when it is unset. */
export function value(schema: DescMessage, message: Message | undefined, name: string): string {
  const field = schema.fields.find((candidate) => candidate.name === name);
  const number = message && field ? ((message as unknown as Record<string, number>)[field.localName] ?? 0) : 0;
  return number ? nameOf(field?.enum, number) : "";
}

function nameOf(schema: DescEnum | undefined, number: number): string {
  const prefix = schema?.values[0]?.name.replace(/UNSPECIFIED$/, "") ?? "";
  return schema?.value[number]?.name.slice(prefix.length) ?? "";
}

export function errorWords(error: AgentdError): string {
  const fields = error.faults.map((fault) => fault.field).join(",");
  return `${error.kind} ${error.reason} ${error.code} fields=${fields}`;
}

export function errorLine(id: string, error: AgentdError): string {
  const metadata = Object.keys(error.metadata).sort().map((key) => `${key}:${error.metadata[key]}`);
  const retry = error.retryAfterMs === undefined ? "none" : Math.round(error.retryAfterMs);
  return `error ${id} ${errorWords(error)} metadata=${metadata.join(",")} retry_ms=${retry}`;
}

export function runLine(run: Run): string {
  const failure = value(RunFailureSchema, run.failure, "reason");
  const state = value(RunSchema, run, "state");
  const { turns = 0n, toolCalls = 0n } = run.usage ?? {};
  return `run ${run.name} state=${state} output=${quoted(run.output)} failure=${failure} turns=${turns} tool_calls=${toolCalls}`;
}

export function callLine(call: Call): string {
  const state = value(CallSchema, call, "state");
  const error = value(CallErrorSchema, call.error, "reason");
  return `call ${call.name} tool=${call.tool} state=${state} attempt=${call.attempt} host=${call.host} result=${quoted(call.resultJson)} error=${error}`;
}

export function entryLine(entry: CancelEntry): string {
  return `entry ${entry.name} ${value(CancelEntrySchema, entry, "outcome")}`;
}

/** Returns the name of the event's payload, as the contract spells it. */
export function kindOf(event: Event): string {
  return (event.payload.case ?? "").replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function eventLine(event: Event): string {
  const more = eventWords(event.payload);
  return `event ${event.run} ${event.sequence} ${kindOf(event)}${more && " "}${more}`;
}

function eventWords(payload: Event["payload"]): string {
  const fact = payload.value;
  switch (payload.case) {
    case "runCreated":
      return `agent=${payload.value.agent} agent_revision=${payload.value.agentRevision} goal=${quoted(payload.value.goal)}`;
    case "runStarted":
      return `model=${payload.value.model}`;
    case "runWaiting":
      return `reason=${value(RunWaitingSchema, fact, "reason")}`;
    case "runCancelling":
      return `reason=${quoted(payload.value.reason)} outcome=${value(RunCancellingSchema, fact, "outcome")}`;
    case "runEnded": {
      const failure = value(RunFailureSchema, payload.value.failure, "reason");
      return `state=${value(RunEndedSchema, fact, "state")} output=${quoted(payload.value.output)} failure=${failure}`;
    }
    case "messagePosted":
      return `text=${quoted(payload.value.text)}`;
    case "modelRequested":
      return `turn=${payload.value.turn} attempt=${payload.value.attempt}`;
    case "modelReplied":
      return repliedWords(payload.value);
    case "callLeased":
      return `call=${payload.value.call} attempt=${payload.value.attempt} host=${payload.value.host}`;
    case "callLost":
      return `call=${payload.value.call} attempt=${payload.value.attempt} reason=${value(CallLostSchema, fact, "reason")}`;
    case "callUnknown":
      return `call=${payload.value.call} attempt=${payload.value.attempt} reason=${value(CallUnknownSchema, fact, "reason")}`;
    case "callEnded": {
      const { call, attempt, resultJson, error } = payload.value;
      const words = `error=${value(CallErrorSchema, error, "reason")} message=${quoted(error?.message ?? "")}`;
      return `call=${call} attempt=${attempt} state=${value(CallEndedSchema, fact, "state")} result=${quoted(resultJson)} ${words}`;
    }
    default:
      return "";
  }
}

function repliedWords(fact: ModelReplied): string {
  const calls = fact.calls.map((call) => `${call.tool}(${call.call})`).join(",");
  const stop = value(ModelRepliedSchema, fact, "stop_reason");
  return `turn=${fact.turn} text=${quoted(fact.text)} calls=${calls} stop=${stop}`;
}
