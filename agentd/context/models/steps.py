"""Tool use for models that were not trained for it: each answer is forced into one JSON object,
either `{"tool": NAME, "arguments": {...}}` or `{"answer": TEXT}`."""

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from agentd.agent.message import (
    AssistantMessage,
    Message,
    ModelRequest,
    ToolResult,
    ToolUse,
    UserMessage,
)
from agentd.agent.tool import Tool
from agentd.context.models.encoding import sound

_KEYWORDS = frozenset(
    [
        "type",
        "required",
        "enum",
        "const",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
    ]
)
_OBJECT: dict[str, Any] = {"type": "object"}
_ANSWER_HEAD = re.compile(r'\s*\{\s*"answer"\s*:\s*"')
_STRING_PART = re.compile(r'(?:[^"\\]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')
_HALF_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\Z")
_RULES = (
    "Reply with one JSON object and nothing else.\n"
    'To use a tool: {"tool": "NAME", "arguments": {...}}.\n'
    'To answer the user: {"answer": "TEXT"}.\n'
    "Use a tool only if it is needed, and answer as soon as you can.\n"
    "The tools, each with the JSON Schema of its arguments:"
)


class _Step(msgspec.Struct):
    tool: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    answer: str | None = None


def chat(request: ModelRequest) -> list[dict[str, str]]:
    """Return the request as plain chat messages, the tools described in the first one."""
    parts = [request.instructions.strip()]
    if request.tools:
        parts.append("\n".join([_RULES, *map(_describe, request.tools)]))
    system = "\n\n".join(part for part in parts if part)
    messages = [{"role": "system", "content": system}] if system else []
    for message in request.messages:
        role, text = _plain(message, forced=bool(request.tools))
        if not text.strip():
            continue
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += "\n\n" + text
        else:
            messages.append({"role": role, "content": text})
    return messages


def schema(tools: Sequence[Tool], *, loose: bool = False) -> dict[str, Any]:
    """Return the JSON Schema of a step. A loose one leaves the arguments open, for schemas that
    the grammar's compiler does not know."""
    steps = [
        _closed({"tool": {"const": tool.id}, "arguments": _OBJECT if loose else _arguments(tool)})
        for tool in tools
    ]
    return {"anyOf": [*steps, _closed({"answer": {"type": "string"}})]}


class StepText:
    """The text of a step as it grows: the user's part of it can be shown before it is whole."""

    def __init__(self) -> None:
        self._raw = ""
        self._position = -1
        """Up to where the answer's string was read; -1 while it has not begun."""
        self._shown: list[str] = []

    def feed(self, piece: str) -> str:
        """Add a piece of JSON; return the text that it adds to the answer, if it is one."""
        self._raw += piece
        if self._position < 0:
            head = _ANSWER_HEAD.match(self._raw)
            if not head:
                return ""
            self._position = head.end()
        found = _STRING_PART.match(self._raw, self._position)
        part = found.group() if found else ""
        half = _HALF_PAIR.search(part)
        if half:  # The other half of the character is yet to come.
            part = part[: half.start()]
        if not part:
            return ""
        self._position += len(part)
        text = sound(str(json.loads(f'"{part}"', strict=False)))
        self._shown.append(text)
        return text

    def finish(self) -> tuple[str, tuple[ToolUse, ...]]:
        """Return the answer's text or the call. A step that was cut off is as much as there is."""
        if self._position >= 0:
            return "".join(self._shown), ()
        try:
            step = msgspec.json.decode(self._raw, type=_Step)
        except msgspec.DecodeError:
            return "", ()
        arguments = bytes(step.arguments).decode()
        return "", (ToolUse("", step.tool, arguments),)


def _plain(message: Message, *, forced: bool) -> tuple[str, str]:
    match message:
        case UserMessage(text=text):
            return "user", text
        case ToolResult(tool=tool, content=content, is_error=is_error):
            return "user", f"{'Error' if is_error else 'Result'} of {tool}: {content}"
        case AssistantMessage(text=text, calls=calls):
            lines = [json.dumps({"answer": text})] if forced and text and not calls else [text]
            lines += [
                f'{{"tool": {json.dumps(call.tool)}, "arguments": {call.arguments_json}}}'
                for call in calls
            ]
            return "assistant", "\n".join(line for line in lines if line)


def _describe(tool: Tool) -> str:
    return f"- {tool.id}: {tool.description} {tool.input_schema_json or '{}'}"


def _arguments(tool: Tool) -> dict[str, Any]:
    try:
        parsed = json.loads(tool.input_schema_json or "{}")
    except ValueError:
        return _OBJECT
    return _OBJECT | _plainer(parsed) if isinstance(parsed, dict) else _OBJECT


def _plainer(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with what the grammar's compiler knows. Of the rest it would print warnings
    or point references elsewhere; the arguments are checked against all of it afterwards."""
    plain = {}
    for keyword, value in schema.items():
        if keyword in _KEYWORDS:
            plain[keyword] = value
        elif keyword == "properties" and isinstance(value, dict):
            plain[keyword] = {name: _plainer_value(inner) for name, inner in value.items()}
        elif keyword in ("items", "additionalProperties"):
            plain[keyword] = _plainer_value(value)
        elif keyword in ("anyOf", "oneOf") and isinstance(value, list):
            plain["anyOf"] = [_plainer_value(inner) for inner in value]
    return plain


def _plainer_value(value: Any) -> Any:
    return _plainer(value) if isinstance(value, dict) else value


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
