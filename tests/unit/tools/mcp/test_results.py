"""What becomes of what a tool answers."""

from typing import Any

import msgspec
import pytest

from agentd.agent.hosting import Failed, Succeeded
from agentd.agent.tool import Tool
from agentd.tools.mcp.catalogue import RESULT_SCHEMA
from agentd.tools.mcp.results import MAX_PARTS, MAX_STRUCTURED_BYTES, MAX_TEXT, outcome_of
from agentd.tools.schema import compile_result


def answer(result: dict[str, Any]) -> Any:
    """Return a result as the model sees it, checked as the runtime does."""
    outcome = outcome_of(result)
    assert isinstance(outcome, Succeeded)
    tool = Tool("mcp-s", "t", output_schema_json=RESULT_SCHEMA)
    assert compile_result(tool).check(outcome.result_json) is None
    return msgspec.json.decode(outcome.result_json)


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def test_text_and_data_come_through() -> None:
    result = {"content": [text("a\tb\n")], "structuredContent": {"n": [1, 2.5, None, True, "é"]}}
    assert answer(result) == {
        "content": [text("a\tb\n")],
        "structured": {"n": [1, 2.5, None, True, "é"]},
    }


def test_bytes_are_named_and_left_out() -> None:
    blob = {"uri": "file:///a", "mimeType": "application/zip", "blob": "QUJD"}
    content = [
        {"type": "image", "data": "QUJDREVG", "mimeType": "image/png"},
        {"type": "resource", "resource": blob},
        {"type": "resource", "resource": {"uri": "file:///b", "text": "B"}},
        {"type": "resource_link", "uri": "file:///c", "name": "c", "size": 3},
        {"type": "hologram"},
    ]
    assert answer({"content": content})["content"] == [
        {"type": "image", "mimeType": "image/png", "omitted_bytes": 6},
        {"type": "resource", "uri": "file:///a", "mimeType": "application/zip", "omitted_bytes": 3},
        {"type": "resource", "uri": "file:///b", "text": "B"},
        {"type": "resource_link", "uri": "file:///c", "name": "c"},
        {"type": "omitted", "of": "hologram"},
    ]


def test_many_parts_are_cut() -> None:
    parts = answer({"content": [text("x")] * (MAX_PARTS + 5)})["content"]
    assert len(parts) == MAX_PARTS + 1
    assert parts[-1] == {"type": "omitted", "parts": 5}


def test_the_parts_share_the_room_for_text() -> None:
    content = [text("a" * (MAX_TEXT - 10)), text("b" * 30), text("c")]
    first, second, third = answer({"content": content})["content"]
    assert first["text"] == "a" * (MAX_TEXT - 10)
    assert second["text"] == "b" * 10 + "… (20 more characters)"
    assert third["text"] == "… (1 more characters)"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (["x" * MAX_STRUCTURED_BYTES], "it has 262148 bytes"),
        ("\ud800", "it is not JSON that can be read"),
    ],
)
def test_data_that_does_not_fit_is_left_out(data: object, why: str) -> None:
    assert answer({"content": [], "structuredContent": data})["structured_omitted"] == why


def test_data_that_is_nested_too_deeply_is_left_out() -> None:
    data: Any = 1
    for _ in range(70):
        data = [data]
    shown = answer({"content": [], "structuredContent": data})
    assert shown["structured_omitted"] == "it is nested deeper than 60 levels"
    assert answer({"content": [], "structuredContent": data[0][0][0][0][0][0][0][0][0][0][0][0]})


def test_invisible_characters_are_taken_out() -> None:
    hidden = "a\x07\x9b\u202e\U000e0041b"
    shown = answer({"content": [text(hidden)], "structuredContent": {hidden: "\u202ec"}})
    assert shown["content"] == [text("ab")]
    assert shown["structured"] == {"a\x07b": "c"}


def test_a_failure_is_its_text() -> None:
    assert outcome_of({"isError": True, "content": [text("no"), text("row")]}) == Failed("no\nrow")
    assert outcome_of({"isError": True, "content": []}) == Failed("the tool failed")
    long = outcome_of({"isError": True, "content": [text("x" * 10_000)]})
    assert isinstance(long, Failed)
    assert len(long.message) < 4_100


@pytest.mark.parametrize("content", [None, "text", [1, None, "x"], [{}]])
def test_what_is_not_content_is_no_fault_of_ours(content: object) -> None:
    assert isinstance(outcome_of({"content": content}), Succeeded)
