"""Turn what an MCP tool answered into an outcome: JSON of bounded size that holds only text."""

from collections.abc import Mapping
from typing import Any

import msgspec

from agentd.agent.hosting import Failed, Outcome, Succeeded
from agentd.tools.mcp.text import clean, clean_json, text_of

MAX_TEXT = 200_000
"""The most text of one result, in characters; it is shared out in the order of the parts."""
MAX_PARTS = 200
"""The most parts of one result."""
MAX_STRUCTURED_BYTES = 256 * 1024
"""The longest structured part of a result."""
MAX_DEPTH = 60
"""The deepest nesting of a structured part: results are checked to 64."""
MAX_FAILURE = 4_000
"""The longest text of a failure, in characters."""
_MAX_LABEL = 1_000


def outcome_of(result: Mapping[str, Any]) -> Outcome:
    """Return the outcome that a `CallToolResult` stands for.

    Pictures, sounds and files are named with their type and size, but their bytes are left out.
    """
    content = result.get("content")
    parts = _Parts(content if isinstance(content, list) else [])
    if result.get("isError"):
        return Failed(clean("\n".join(parts.texts()) or "the tool failed", MAX_FAILURE))
    answer: dict[str, Any] = {"content": parts.kept}
    if "structuredContent" in result:
        answer |= _structured(result["structuredContent"])
    return Succeeded(msgspec.json.encode(answer).decode())


class _Parts:
    """The parts of a result that fit."""

    def __init__(self, content: list[Any]) -> None:
        self._room = MAX_TEXT
        self.kept = [self._part(part) for part in content[:MAX_PARTS] if isinstance(part, dict)]
        if len(content) > MAX_PARTS:
            self.kept.append({"type": "omitted", "parts": len(content) - MAX_PARTS})

    def texts(self) -> list[str]:
        return [part["text"] for part in self.kept if "text" in part]

    def _part(self, part: dict[str, Any]) -> dict[str, Any]:
        match part:
            case {"type": "text", "text": str(text)}:
                return {"type": "text", "text": self._text(text)}
            case {"type": "image" | "audio" as kind, "data": str(data)}:
                return _bytes(kind, data, part)
            case {"type": "resource", "resource": {"text": str(text)} as resource}:
                return _labels("resource", resource) | {"text": self._text(text)}
            case {"type": "resource", "resource": {"blob": str(data)} as resource}:
                return _labels("resource", resource) | _bytes("resource", data, resource)
            case {"type": "resource_link"}:
                return _labels("resource_link", part)
            case _:
                return {"type": "omitted", "of": clean(text_of(part, "type"), 40)}

    def _text(self, text: str) -> str:
        room = self._room
        self._room = max(0, room - len(text))
        return clean(text, room)


def _bytes(kind: str, data: str, described: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": kind,
        "mimeType": clean(text_of(described, "mimeType"), 100),
        "omitted_bytes": len(data) * 3 // 4,
    }


def _labels(kind: str, described: Mapping[str, Any]) -> dict[str, Any]:
    shown = {
        key: clean(text, _MAX_LABEL)
        for key in ("uri", "name", "description", "mimeType")
        if (text := text_of(described, key))
    }
    return {"type": kind} | shown


def _structured(value: Any) -> dict[str, Any]:
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return {"structured_omitted": "it is not JSON that can be read"}
    if len(encoded) > MAX_STRUCTURED_BYTES:
        return {"structured_omitted": f"it has {len(encoded)} bytes"}
    if _depth(value) > MAX_DEPTH:
        return {"structured_omitted": f"it is nested deeper than {MAX_DEPTH} levels"}
    return {"structured": msgspec.Raw(clean_json(encoded))}


def _depth(value: Any) -> int:
    deepest = 0
    level = [value]
    while level and deepest <= MAX_DEPTH:
        level = [child for item in level for child in _children(item)]
        deepest += 1
    return deepest


def _children(value: Any) -> list[Any]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return []
