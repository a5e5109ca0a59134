/** Where a daemon is, and how it is dialled. */

import { readFileSync } from "node:fs";
import { connect as dial, type Socket } from "node:net";
import type { SecureClientSessionOptions } from "node:http2";

import { AgentdError, invalidField } from "./errors.js";

/** A parsed address. */
export interface Address {
  /** As people write it: `unix:/path` or `host:port`. */
  readonly text: string;
  readonly baseUrl: string;
  readonly isUnix: boolean;
  readonly sessionOptions: SecureClientSessionOptions;
}

/** Accepts `unix:/path`, `unix:///path`, `/path` and `host:port`; anything else is INVALID_FIELD. */
export function parseAddress(address: string): Address {
  const text = address.trim();
  const path = text.replace(/^unix:/, "");
  if (path.startsWith("/")) {
    const socket = `/${path.replace(/^\/+/, "")}`;
    const createConnection = (): Socket => dial(socket);
    return { text: `unix:${socket}`, baseUrl: "http://localhost", isUnix: true, sessionOptions: { createConnection } };
  }
  const found = /^(\[[^\]/]+\]|[^/]+):(\d{1,5})$/.exec(text);
  const port = Number(found?.[2]);
  if (!found || found[1] === "unix" || port < 1 || port > 65535) {
    throw invalidField("address", `'${address}' is neither unix:/path nor host:port`);
  }
  return { text, baseUrl: `http://${text}`, isUnix: false, sessionOptions: {} };
}

/** Returns the token of a file; one that cannot be read or is empty is INVALID_CONFIG. */
export function readToken(path: string): string {
  let token: string;
  try {
    token = readFileSync(path, "ascii").trim();
  } catch (error) {
    throw invalidConfig(`the token file cannot be read: ${String(error)}`);
  }
  if (!token) throw invalidConfig(`the token file ${path} is empty`);
  return token;
}

function invalidConfig(message: string): AgentdError {
  return new AgentdError("InvalidRequest", "INVALID_CONFIG", "INVALID_ARGUMENT", message);
}
