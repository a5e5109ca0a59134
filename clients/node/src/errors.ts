/** The one error type, and how it is read from a failed request. */

import { Code, ConnectError } from "@connectrpc/connect";

import { ErrorReason } from "./gen/agentd/v1/error_reason_pb.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** What a caller can do about an error. */
export type Kind =
  | "InvalidRequest" // change the request
  | "NotFound" // name something that exists
  | "AlreadyExists" // choose another name
  | "Conflict" // read the present state, then decide anew
  | "Denied" // bring a credential, or a wider permission
  | "Exhausted" // wait, or ask for less
  | "Unavailable" // repeat later
  | "OutOfRange" // start again from a readable position
  | "Corrupt" // ask the operator
  | "Unsupported"; // do not ask this daemon

/** Why a request failed: the values of `ErrorReason`. */
export type Reason = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

/** One field of a request that is missing or not valid. */
export interface Fault {
  /** Its path, such as `run.budget.max_turns`. */
  readonly field: string;
  readonly description: string;
}

/** Why a request failed. What the caller aborted is not one: it rejects with the signal's reason. */
export class AgentdError extends Error {
  override readonly name = "AgentdError";
  readonly metadata: Record<string, string> = {};
  faults: readonly Fault[] = [];
  /** How long the daemon asks to wait before a repeat; absent when it does not say. */
  retryAfterMs: number | undefined;

  constructor(
    readonly kind: Kind,
    public reason: Reason,
    /** The code of gRPC, such as `NOT_FOUND`. */
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const DOMAIN = "agentd.dev";

/** What each code means when the error carries no ErrorInfo that this client knows. */
const MEANINGS: Readonly<Record<Code, readonly [code: string, kind: Kind, reason: Reason]>> = {
  [Code.Canceled]: ["CANCELLED", "Unavailable", "UNREACHABLE"],
  [Code.Unknown]: ["UNKNOWN", "Corrupt", "INTERNAL"],
  [Code.InvalidArgument]: ["INVALID_ARGUMENT", "InvalidRequest", "MALFORMED_REQUEST"],
  [Code.DeadlineExceeded]: ["DEADLINE_EXCEEDED", "Unavailable", "UNREACHABLE"],
  [Code.NotFound]: ["NOT_FOUND", "NotFound", "INTERNAL"],
  [Code.AlreadyExists]: ["ALREADY_EXISTS", "AlreadyExists", "NAME_TAKEN"],
  [Code.PermissionDenied]: ["PERMISSION_DENIED", "Denied", "PERMISSION_DENIED"],
  [Code.ResourceExhausted]: ["RESOURCE_EXHAUSTED", "Exhausted", "LIMIT_REACHED"],
  [Code.FailedPrecondition]: ["FAILED_PRECONDITION", "Conflict", "INTERNAL"],
  [Code.Aborted]: ["ABORTED", "Conflict", "CONCURRENT_UPDATE"],
  [Code.OutOfRange]: ["OUT_OF_RANGE", "OutOfRange", "INTERNAL"],
  [Code.Unimplemented]: ["UNIMPLEMENTED", "Unsupported", "NOT_IMPLEMENTED"],
  [Code.Internal]: ["INTERNAL", "Corrupt", "INTERNAL"],
  [Code.Unavailable]: ["UNAVAILABLE", "Unavailable", "UNREACHABLE"],
  [Code.DataLoss]: ["DATA_LOSS", "Corrupt", "JOURNAL_CORRUPT"],
  [Code.Unauthenticated]: ["UNAUTHENTICATED", "Denied", "UNAUTHENTICATED"],
};

/** Codes that Connect itself gives with a meaning of its own; its others are for lost connections. */
const LOCAL_CODES: ReadonlySet<Code> = new Set([Code.DeadlineExceeded, Code.ResourceExhausted]);

/** Returns what a failed request rejects with. */
export function convert(error: unknown, address: string, signal?: AbortSignal): unknown {
  if (signal?.aborted) return signal.reason;
  if (error instanceof AgentdError) return error;
  const failure = ConnectError.from(error);
  const isAnswer = failure.metadata.has("grpc-status");
  const given = isAnswer || LOCAL_CODES.has(failure.code) ? failure.code : Code.Unavailable;
  const [code, kind, reason] = MEANINGS[given];
  const info = failure.findDetails(ErrorInfoSchema)[0];
  const message =
    !info && kind === "Unavailable" ? `no answer from ${address}: ${failure.rawMessage}` : failure.rawMessage;
  const converted = new AgentdError(kind, reason, code, message, { cause: error });
  if (info?.domain === DOMAIN) {
    Object.assign(converted.metadata, info.metadata);
    if (isReason(info.reason)) converted.reason = info.reason;
    else converted.metadata["reason"] = info.reason;
  }
  converted.faults = failure
    .findDetails(BadRequestSchema)
    .flatMap(({ fieldViolations }) => fieldViolations.map(({ field, description }) => ({ field, description })));
  const delay = failure.findDetails(RetryInfoSchema)[0]?.retryDelay;
  if (delay) converted.retryAfterMs = Number(delay.seconds) * 1000 + delay.nanos / 1e6;
  return converted;
}

function isReason(name: string): name is Reason {
  return name !== "UNSPECIFIED" && typeof (ErrorReason as Record<string, unknown>)[name] === "number";
}

/** Returns the error for one field that is missing or not valid. */
export function invalidField(field: string, description: string): AgentdError {
  const error = new AgentdError("InvalidRequest", "INVALID_FIELD", "INVALID_ARGUMENT", `${field}: ${description}`);
  error.metadata["field"] = field;
  error.faults = [{ field, description }];
  return error;
}

/** Returns the error for a daemon that does not answer. */
export function unreachable(message: string): AgentdError {
  return new AgentdError("Unavailable", "UNREACHABLE", "UNAVAILABLE", message);
}
