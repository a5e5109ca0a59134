"""Steps of models that answer in forced JSON: the schema, and the text as it grows."""

import json

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent.message import (
    AssistantMessage,
    ModelRequest,
    ToolResult,
    ToolUse,
    UserMessage,
)
from agentd.agent.tool import Tool
from agentd.context.models.steps import StepText, chat, schema

WEATHER = Tool(
    "w",
    "get_weather",
    "The weather",
    '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}',
)


@pytest.mark.parametrize(
    ("step", "valid"),
    [
        ({"answer": "x"}, True),
        ({"tool": "get_weather", "arguments": {"city": "Paris"}}, True),
        ({"tool": "get_weather", "arguments": {}}, False),
        ({"tool": "other", "arguments": {"city": "Paris"}}, False),
        ({"tool": "get_weather"}, False),
        ({}, False),
    ],
)
def test_the_schema_permits_a_call_of_a_tool_or_an_answer(step: object, valid: bool) -> None:
    assert jsonschema_rs.Draft202012Validator(schema([WEATHER])).is_valid(step) is valid


def test_a_loose_schema_leaves_the_arguments_open() -> None:
    step = {"tool": "get_weather", "arguments": {"x": 1}}
    assert jsonschema_rs.Draft202012Validator(schema([WEATHER], loose=True)).is_valid(step)


@pytest.mark.parametrize("text", ["not JSON", "[]", "", "{}"])
def test_arguments_without_a_schema_are_any_object(text: str) -> None:
    check = jsonschema_rs.Draft202012Validator(schema([Tool("w", "t", input_schema_json=text)]))
    assert check.is_valid({"tool": "t", "arguments": {"x": 1}})
    assert not check.is_valid({"tool": "t", "arguments": 1})


def test_what_no_grammar_can_say_is_left_open() -> None:
    text = json.dumps(
        {
            "$defs": {"city": {"type": "string"}},
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "pattern": "^(?!x)"},
                "city": {"$ref": "#/$defs/city"},
                "all": {"type": "array", "items": {"type": "integer", "multipleOf": 2}},
                "either": {"oneOf": [{"type": "null"}, {"format": "date", "type": "string"}]},
            },
            "required": ["pattern"],
        }
    )
    step = schema([Tool("w", "t", input_schema_json=text)])["anyOf"][0]
    assert step["properties"]["arguments"] == {
        "type": "object",
        "properties": {
            "pattern": {"type": "string"},
            "city": {},
            "all": {"type": "array", "items": {"type": "integer"}},
            "either": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        },
        "required": ["pattern"],
    }


@given(st.text(), st.booleans(), st.lists(st.integers(1, 5), max_size=40), st.booleans())
def test_an_answer_is_shown_as_it_grows(
    text: str, escape: bool, cuts: list[int], spaced: bool
) -> None:
    string = json.dumps(text, ensure_ascii=escape)
    raw = f'{{ "answer" : {string} }}' if spaced else f'{{"answer":{string}}}'
    step = StepText()
    shown = []
    position = 0
    for cut in [*cuts, len(raw)]:
        shown.append(step.feed(raw[position : position + cut]))
        position += cut
    assert "".join(shown) == text
    assert step.finish() == (text, ())


def test_an_answer_that_is_cut_off_is_as_much_as_there_is() -> None:
    step = StepText()
    assert step.feed('{"answer": "one \\') == "one "
    assert step.finish() == ("one ", ())


def test_a_call_keeps_its_arguments_as_they_are() -> None:
    step = StepText()
    assert step.feed('{"tool": "get_weather", "arguments": {"city":\n "Pa') == ""
    assert step.feed('ris"}}') == ""
    assert step.finish() == ("", (ToolUse("", "get_weather", '{"city":\n "Paris"}'),))


def test_a_call_that_is_cut_off_is_none() -> None:
    step = StepText()
    step.feed('{"tool": "get_weather", "argu')
    assert step.finish() == ("", ())


def test_the_transcript_is_plain_chat() -> None:
    messages = (
        UserMessage("weather?"),
        AssistantMessage("", (ToolUse("", "get_weather", '{"city":"Paris"}'),)),
        ToolResult("", "get_weather", "rain"),
        ToolResult("", "get_weather", "broken", is_error=True),
        AssistantMessage("It rains."),
        UserMessage("thanks"),
    )
    sent = chat(ModelRequest("m", "Be brief.", messages, (WEATHER,), 100))
    assert sent[0]["role"] == "system"
    assert sent[0]["content"].startswith("Be brief.\n\n")
    assert "get_weather" in sent[0]["content"]
    assert sent[1:] == [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": '{"tool": "get_weather", "arguments": {"city":"Paris"}}',
        },
        {
            "role": "user",
            "content": "Result of get_weather: rain\n\nError of get_weather: broken",
        },
        {"role": "assistant", "content": '{"answer": "It rains."}'},
        {"role": "user", "content": "thanks"},
    ]
