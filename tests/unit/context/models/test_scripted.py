"""Scripts are checked when they are read, and answers depend on the request alone."""

import json
from pathlib import Path

import pytest

from agentd.agent.budget import ModelUsage, Prices
from agentd.agent.message import (
    AssistantMessage,
    Message,
    ModelChunk,
    ModelError,
    ModelErrorKind,
    ModelReply,
    ModelRequest,
    StopReason,
    TextDelta,
    ToolResult,
    ToolUse,
    UserMessage,
)
from agentd.context.models.script import ScriptError, load_script, parse_script
from agentd.context.models.scripted import ScriptedModel
from agentd.errors import NotFound, Reason
from tests.fakes.models import ScriptedModels


def request(
    *messages: Message, turn: int = 1, attempt: int = 1, instructions: str = ""
) -> ModelRequest:
    return ModelRequest(
        "demo",
        instructions,
        messages or (UserMessage("what is the weather?"),),
        (),
        1000,
        run="runs/r1",
        turn=turn,
        attempt=attempt,
    )


async def answer(model: ScriptedModel, asked: ModelRequest) -> list[ModelChunk]:
    return [chunk async for chunk in model.stream(asked)]


async def reply(model: ScriptedModel, asked: ModelRequest) -> ModelReply:
    last = (await answer(model, asked))[-1]
    assert isinstance(last, ModelReply)
    return last


def model(*turns: object, **conversation: object) -> ScriptedModel:
    return ScriptedModel(parse_script({"conversations": [{"turns": turns, **conversation}]}))


async def test_text_is_sent_in_pieces_and_then_whole() -> None:
    chunks = await answer(model({"text": "abcdefg", "chunks": 3}), request())
    assert chunks[:-1] == [TextDelta("abc"), TextDelta("def"), TextDelta("g")]
    assert chunks[-1] == ModelReply(AssistantMessage("abcdefg"), StopReason.END_TURN)


async def test_calls_have_references_of_their_own() -> None:
    scripted = model(
        {"calls": [{"tool": "a", "arguments": {"x": 1}}, {"tool": "b"}], "repeat": 2},
    )
    first = await reply(scripted, request())
    second = await reply(scripted, request(turn=2))
    assert first.stop_reason is StopReason.TOOL_USE
    assert [(call.tool, call.arguments_json) for call in first.message.calls] == [
        ("a", '{"x":1}'),
        ("b", "{}"),
    ]
    references = [call.reference for call in first.message.calls + second.message.calls]
    assert len(set(references)) == 4


async def test_arguments_that_are_a_string_are_passed_on_as_they_are() -> None:
    scripted = model({"calls": [{"tool": "a", "arguments": '{"x": '}]})
    assert (await reply(scripted, request())).message.calls[0].arguments_json == '{"x": '


async def test_the_same_request_gets_the_same_answer_from_another_process() -> None:
    turns = ({"text": "one"}, {"text": "two", "calls": [{"tool": "a"}]})
    asked = request(turn=2)
    assert await answer(model(*turns), asked) == await answer(model(*turns), asked)


async def test_faults_hit_the_attempts_that_they_name() -> None:
    scripted = model(
        {
            "text": "abcd",
            "chunks": 4,
            "faults": [
                {"kind": "RATE_LIMITED", "retry_after_s": 1.5, "times": 2},
                {"after_chunks": 3, "usage": {"input_tokens": 7}},
            ],
        }
    )
    for attempt in (1, 2):
        with pytest.raises(ModelError) as limited:
            await answer(scripted, request(attempt=attempt))
        assert limited.value.kind is ModelErrorKind.RATE_LIMITED
        assert limited.value.retry_after_s == 1.5
    stream = aiter(scripted.stream(request(attempt=3)))
    assert [await anext(stream) for _ in "abc"] == [TextDelta(letter) for letter in "abc"]
    with pytest.raises(ModelError) as cut:
        await anext(stream)
    assert cut.value.kind is ModelErrorKind.TRANSIENT
    assert cut.value.usage == ModelUsage(7)
    assert (await reply(scripted, request(attempt=4))).message.text == "abcd"


async def test_placeholders_are_filled_in_text_and_inside_json_strings() -> None:
    scripted = model(
        {
            "text": "{{goal}}/{{last_user}}/{{turn}}/{{run}}",
            "calls": [{"tool": "t", "arguments": {"v": "<{{last_result}}>"}}],
            "repeat": 0,
        }
    )
    asked = request(
        UserMessage("old goal"),
        AssistantMessage("done"),
        UserMessage("goal"),
        AssistantMessage("", (ToolUse("1", "t", "{}"),)),
        ToolResult("1", "t", 'a "quoted"\nline'),
        UserMessage("and now?"),
        turn=2,
    )
    message = (await reply(scripted, asked)).message
    assert message.text == "goal/and now?/2/runs/r1"
    assert json.loads(message.calls[0].arguments_json) == {"v": '<a "quoted"\nline>'}


async def test_the_first_conversation_whose_conditions_hold_answers() -> None:
    script = parse_script(
        {
            "conversations": [
                {"goal": "^weather", "turns": [{"text": "sun"}]},
                {"last": "bye", "turns": [{"text": "see you"}]},
                {"instructions": "poet", "turns": [{"text": "roses"}]},
                {"turns": [{"text": "what?"}]},
            ]
        }
    )
    scripted = ScriptedModel(script)

    async def text(asked: ModelRequest) -> str:
        return (await reply(scripted, asked)).message.text

    assert await text(request(UserMessage("weather?"))) == "sun"
    assert await text(request(UserMessage("the weather?"))) == "what?"
    assert await text(request(UserMessage("bye bye"))) == "see you"
    assert await text(request(instructions="you are a poet")) == "roses"


async def test_turns_can_be_counted_by_the_answers_since_the_newest_text() -> None:
    scripted = model({"text": "one"}, {"text": "two"}, by="answers")
    asked = request(UserMessage("a"), AssistantMessage("x"), UserMessage("b"), turn=9)
    assert (await reply(scripted, asked)).message.text == "one"


async def test_a_turn_beyond_the_script_is_an_invalid_request() -> None:
    with pytest.raises(ModelError) as beyond:
        await answer(model({"text": "one"}), request(turn=2))
    assert beyond.value.kind is ModelErrorKind.INVALID_REQUEST


async def test_usage_is_priced_unless_the_script_gives_a_cost() -> None:
    script = parse_script(
        {
            "usage": {"input_tokens": 10, "output_tokens": 2},
            "conversations": [
                {"turns": [{"text": "a"}, {"text": "b", "usage": {"cost_nanos": 5}}]},
            ],
        }
    )
    scripted = ScriptedModel(script, Prices(input=3, output=15))
    assert (await reply(scripted, request())).usage == ModelUsage(10, 2, cost_nanos=60)
    assert (await reply(scripted, request(turn=2))).usage == ModelUsage(cost_nanos=5)


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("s.json", '{"conversations": [\n  {"turns": oops}]}', "line 2, column 13"),
        ("s.json", '{"conversations": [{"turns": [{"txet": "a"}]}]}', "conversations[0].turns[0]"),
        ("s.json", '{"conversations": [{"goal": "(", "turns": []}]}', "conversations[0].goal"),
        (
            "s.json",
            '{"conversations": [{"turns": [{"faults": [{"kind": "NO"}]}]}]}',
            "conversations[0].turns[0].faults[0].kind",
        ),
        (
            "s.json",
            '{"conversations": [{"turns": [{"repeat": 0}, {"text": "a"}]}]}',
            "conversations[0].turns[1]",
        ),
        ("s.toml", "conversations = [\n  oops\n]", "line 2"),
    ],
)
def test_a_bad_script_is_refused_with_its_file_and_place(
    tmp_path: Path, name: str, content: str, place: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ScriptError) as error:
        load_script(path)
    assert str(path) in str(error.value)
    assert place in str(error.value)


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"nothing\.json"):
        load_script(tmp_path / "nothing.json")


async def test_toml_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('[[conversations]]\n[[conversations.turns]]\ntext = "hello"\n')
    assert (await reply(ScriptedModel(load_script(path)), request())).message.text == "hello"


async def test_scripts_in_memory_are_a_catalogue() -> None:
    models = ScriptedModels({"b": parse_script({"conversations": [{"turns": [{"text": "x"}]}]})})
    assert models.resolve("").name == models.resolve("b").name == "scripted/b"
    assert (await reply(await models.open("scripted/b"), request())).message.text == "x"
    with pytest.raises(NotFound) as unknown:
        models.resolve("scripted/c")
    assert unknown.value.reason is Reason.MODEL_NOT_FOUND
    assert "scripted/b" in unknown.value.message
