"""An MCP server without the SDK, which looks around: its one tool evaluates what it is told to.

Run by path with any Python, so that it needs nothing but the system inside a sandbox.
"""

import json
import sys
from typing import Any

VERSION = "2025-06-18"


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    match method:
        case "initialize":
            about = {"name": "nosy", "version": "1"}
            capabilities: dict[str, Any] = {"tools": {}}
            return {"protocolVersion": VERSION, "capabilities": capabilities, "serverInfo": about}
        case "tools/list":
            schema = {"type": "object", "properties": {"code": {"type": "string"}}}
            return {"tools": [{"name": "look", "inputSchema": schema}]}
        case "tools/call":
            try:
                found = repr(eval(params["arguments"]["code"]))
            except Exception as error:  # noqa: BLE001 - what it is, is the answer
                found = type(error).__name__
            return {"content": [{"type": "text", "text": found}]}
        case _:
            return None


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        reply = {"jsonrpc": "2.0", "id": message["id"]}
        result = answer(message["method"], message.get("params", {}))
        reply |= {"result": result} if result else {"error": {"code": -32601, "message": "what?"}}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
