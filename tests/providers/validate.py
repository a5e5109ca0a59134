"""What the real providers refuse in a transcript. Plain functions: other tests use them too."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_ANTHROPIC_ID = re.compile(r"[a-zA-Z0-9_-]+\Z")
_ANTHROPIC_TOOL = re.compile(r"[a-zA-Z0-9_-]{1,128}\Z")
_OPENAI_TOOL = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_OPENAI_ID_CHARS = 40


class InvalidTranscript(ValueError):
    """A transcript that a provider would answer with 400."""


def require(condition: object, message: str) -> None:
    """Raise InvalidTranscript unless the condition holds."""
    if not condition:
        raise InvalidTranscript(message)


def validate_anthropic(messages: Sequence[Mapping[str, Any]]) -> None:
    """Check a Messages API transcript: roles alternate from the user on, every tool_use is answered
    by a tool_result directly after it, no result is an orphan, ids are unique, nothing is empty."""
    require(messages, "messages: at least one message is required")
    seen: set[str] = set()
    open_uses: list[str] = []
    for index, message in enumerate(messages):
        place = f"messages.{index}"
        role = message.get("role")
        require(role == ("assistant" if index % 2 else "user"), f"{place}: roles must alternate")
        content = message.get("content")
        require(isinstance(content, list) and content, f"{place}: content must not be empty")
        assert isinstance(content, list)
        results = [block for block in content if block.get("type") == "tool_result"]
        answered = [block.get("tool_use_id") for block in results]
        missing = [use for use in open_uses if use not in answered]
        require(not missing, f"{place}: tool_use without tool_result directly after: {missing}")
        orphans = [use for use in answered if use not in open_uses]
        require(not orphans, f"{place}: tool_result without tool_use: {orphans}")
        require(len(set(answered)) == len(answered), f"{place}: a tool_use is answered twice")
        require(content[: len(results)] == results, f"{place}: tool_result must come first")
        open_uses = _anthropic_blocks(content, place, str(role), seen)
    require(not open_uses, f"tool_use without tool_result directly after: {open_uses}")


def _anthropic_blocks(
    content: Sequence[Mapping[str, Any]], place: str, role: str, seen: set[str]
) -> list[str]:
    """Check the blocks of one message; return the ids of its tool_use blocks."""
    uses = []
    for index, block in enumerate(content):
        where = f"{place}.content.{index}"
        match block:
            case {"type": "text", "text": str(text)}:
                require(text.strip(), f"{where}: text must contain non-whitespace text")
            case {"type": "tool_use", "id": str(id), "name": str(name), "input": input}:
                require(role == "assistant", f"{where}: tool_use is the assistant's")
                require(_ANTHROPIC_ID.match(id), f"{where}: id {id!r} has other characters")
                require(id not in seen, f"{where}: tool_use ids must be unique, {id!r} is not")
                require(_ANTHROPIC_TOOL.match(name), f"{where}: name {name!r} does not match")
                require(isinstance(input, dict), f"{where}: input must be an object")
                seen.add(id)
                uses.append(id)
            case {"type": "tool_result", "tool_use_id": str()}:
                require(role == "user", f"{where}: tool_result is the user's")
            case {"type": "thinking", "thinking": str(), "signature": str(signature)}:
                require(signature, f"{where}: thinking without signature")
                require("cache_control" not in block, f"{where}: thinking cannot be cached")
            case {"type": "redacted_thinking", "data": str()}:
                pass
            case _:
                raise InvalidTranscript(f"{where}: not a block: {json.dumps(block)[:200]}")
    return uses


def validate_openai(messages: Sequence[Mapping[str, Any]]) -> None:
    """Check a Chat Completions transcript: every tool call is answered by a tool message directly
    after it, no tool message is an orphan, ids are unique and short, nothing is empty."""
    require(messages, "messages: at least one message is required")
    seen: set[str] = set()
    open_calls: list[str] = []
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        match message:
            case {"role": "tool", "tool_call_id": str(id), "content": str()}:
                require(id in open_calls, f"{place}: 'tool' must follow the tool_calls of {id!r}")
                open_calls.remove(id)
                continue
            case _:
                require(not open_calls, f"{place}: tool_call_ids without response: {open_calls}")
        match message:
            case {"role": "system" | "developer" | "user" as role, "content": str(text)}:
                require(text.strip(), f"{place}: content must not be empty")
                require(role == "user" or index == 0, f"{place}: {role} must come first")
            case {"role": "assistant"}:
                open_calls = _openai_answer(message, place, seen)
            case _:
                raise InvalidTranscript(f"{place}: not a message: {json.dumps(message)[:200]}")
    require(not open_calls, f"tool_call_ids without response: {open_calls}")


def _openai_answer(message: Mapping[str, Any], place: str, seen: set[str]) -> list[str]:
    """Check an assistant's message; return the ids of its tool calls."""
    calls = message.get("tool_calls")
    content = message.get("content")
    require(content or calls, f"{place}: content or tool_calls is required")
    require(calls is None or calls, f"{place}: tool_calls must not be empty")
    ids = []
    for call in calls or ():
        match call:
            case {
                "type": "function",
                "id": str(id),
                "function": {"name": str(name), "arguments": str()},
            }:
                require(0 < len(id) <= _OPENAI_ID_CHARS, f"{place}: id {id!r} has a bad length")
                require(id not in seen, f"{place}: tool call ids must be unique, {id!r} is not")
                require(_OPENAI_TOOL.match(name), f"{place}: name {name!r} does not match")
                seen.add(id)
                ids.append(id)
            case _:
                raise InvalidTranscript(f"{place}: not a call: {json.dumps(call)[:200]}")
    return ids


def validate_anthropic_request(body: Mapping[str, Any]) -> None:
    """Check the whole body of a Messages API request."""
    require(isinstance(body.get("model"), str) and body["model"], "model: required")
    require(isinstance(body.get("max_tokens"), int) and body["max_tokens"] > 0, "max_tokens: > 0")
    names = [tool.get("name") for tool in body.get("tools", [])]
    require(len(set(names)) == len(names), "tools: names must be unique")
    for tool in body.get("tools", []):
        require(_ANTHROPIC_TOOL.match(tool["name"]), f"tools: name {tool['name']!r}")
        require(tool["input_schema"].get("type") == "object", "tools: input_schema.type: object")
    for block in body.get("system", []):
        require(block["text"].strip(), "system: text must not be empty")
    marks = json.dumps(body).count('"cache_control"')
    require(marks <= 4, f"at most 4 blocks with cache_control may be given, found {marks}")
    validate_anthropic(body.get("messages", []))


def validate_openai_request(body: Mapping[str, Any]) -> None:
    """Check the whole body of a Chat Completions request."""
    require(isinstance(body.get("model"), str) and body["model"], "model: required")
    for tool in body.get("tools", []):
        require(tool["type"] == "function", "tools: type")
        require(_OPENAI_TOOL.match(tool["function"]["name"]), "tools: name")
        require(tool["function"]["parameters"].get("type") == "object", "tools: parameters.type")
    require(body.get("tools") is None or body["tools"], "tools: must not be empty")
    validate_openai(body.get("messages", []))
