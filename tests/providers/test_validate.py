"""The fake provider refuses what the real ones refuse."""

from typing import Any

import pytest

from tests.providers.validate import (
    InvalidTranscript,
    validate_anthropic,
    validate_openai,
)


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(value: str = "x") -> dict[str, Any]:
    return {"type": "text", "text": value}


def use(id: str, name: str = "t", input: object = None) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": {} if input is None else input}


def result(id: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": "1"}


def test_a_sound_anthropic_transcript_passes() -> None:
    validate_anthropic(
        [
            user(text()),
            assistant(text(), use("a"), use("b")),
            user(result("b"), result("a"), text()),
            assistant(text()),
        ]
    )


@pytest.mark.parametrize(
    ("messages", "word"),
    [
        ([], "at least one"),
        ([assistant(text())], "alternate"),
        ([user(text()), user(text())], "alternate"),
        ([user()], "empty"),
        ([user(text(" "))], "whitespace"),
        ([user(text()), assistant(use("a"))], "without tool_result"),
        ([user(text()), assistant(use("a")), user(text())], "without tool_result"),
        ([user(text()), assistant(use("a"), use("b")), user(result("a"))], "without tool_result"),
        ([user(result("a"))], "without tool_use"),
        ([user(text()), assistant(use("a")), user(result("a"), result("a"))], "twice"),
        ([user(text()), assistant(use("a")), user(text(), result("a"))], "first"),
        ([user(text()), assistant(use("a"), use("a")), user(result("a"))], "unique"),
        ([user(text()), assistant(use("a b")), user(result("a b"))], "characters"),
        ([user(text()), assistant(use("a", "fs.read")), user(result("a"))], "name"),
        ([user(text()), assistant(use("a", "t", [])), user(result("a"))], "object"),
        ([user(use("a"))], "assistant's"),
        ([user({"type": "banana"})], "not a block"),
    ],
)
def test_a_broken_anthropic_transcript_is_refused(messages: list[Any], word: str) -> None:
    with pytest.raises(InvalidTranscript, match=word):
        validate_anthropic(messages)


def call(id: str, name: str = "t") -> dict[str, Any]:
    return {"type": "function", "id": id, "function": {"name": name, "arguments": "{"}}


def asks(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def tool(id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": "1"}


HI = {"role": "user", "content": "hi"}


def test_a_sound_openai_transcript_passes() -> None:
    validate_openai(
        [{"role": "system", "content": "s"}, HI, asks(call("a"), call("b")), tool("b"), tool("a")]
    )


@pytest.mark.parametrize(
    ("messages", "word"),
    [
        ([], "at least one"),
        ([{"role": "user", "content": ""}], "empty"),
        ([HI, {"role": "system", "content": "s"}], "first"),
        ([HI, asks(call("a"))], "without response"),
        ([HI, asks(call("a"), call("b")), tool("a"), HI], "without response"),
        ([HI, tool("a")], "must follow"),
        ([HI, asks(call("a")), tool("a"), tool("a")], "must follow"),
        ([HI, asks(call("a"), call("a")), tool("a")], "unique"),
        ([HI, asks(call("x" * 41)), tool("x" * 41)], "length"),
        ([HI, asks(call("a", "fs.read")), tool("a")], "name"),
        ([HI, asks()], "required"),
        ([HI, {"role": "assistant", "content": "x", "tool_calls": []}], "must not be empty"),
        ([{"role": "banana", "content": "x"}], "not a message"),
    ],
)
def test_a_broken_openai_transcript_is_refused(messages: list[Any], word: str) -> None:
    with pytest.raises(InvalidTranscript, match=word):
        validate_openai(messages)
