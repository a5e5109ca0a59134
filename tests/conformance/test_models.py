"""One suite for every adapter of the ports Model and Models: what the engine may rely on."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

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
from agentd.agent.tool import Tool
from agentd.context.models.catalogue import Catalogue
from agentd.context.models.script import parse_script
from agentd.context.models.settings import (
    Adapter,
    ModelSettings,
    ModelsSettings,
    ProviderSettings,
)
from agentd.errors import AgentdError, NotFound, Reason
from agentd.runtime.ports import Model, Models
from tests.fakes.models import ScriptedModels
from tests.providers.modelfile import SLOW, model_directory
from tests.providers.server import KEY, Fail, FakeProvider, Reply, Request, Say, Text, Use

pytestmark = SLOW

WEATHER = Tool(
    "w",
    "get_weather",
    "Tells the weather of a city.",
    '{"type":"object","properties":{"city":{"type":"string","maxLength":20}},"required":["city"]}',
)
QUESTION = UserMessage("What is the weather in Paris?")
SCRIPT = """{"conversations": [
    {"goal": "long story", "turns": [{"text": "Once upon a time.", "chunks": 4, "repeat": 0}]},
    {"goal": "weather", "by": "answers", "turns": [
        {"text": "I will look.", "chunks": 2,
         "calls": [{"tool": "get_weather", "arguments": {"city": "Paris"}}]},
        {"text": "It rains.", "chunks": 2}]},
    {"goal": "too much", "turns": [{"faults": [{"kind": "CONTEXT_EXCEEDED", "times": 0}]}]},
    {"turns": [{"text": "Hello there", "chunks": 2, "repeat": 0}]}
]}"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A catalogue, and the name of the model of it that is examined."""

    models: Models
    name: str

    async def open(self) -> Model:
        return await self.models.open(self.name)

    def request(self, *messages: Message, tools: tuple[Tool, ...] = ()) -> ModelRequest:
        model = self.name.partition("/")[2]
        return ModelRequest(model, "You are a helpful assistant.", messages, tools, 24)


def respond(request: Request) -> Reply:
    """Behave like the script does."""
    said = str(request.body["messages"])
    if "long story" in said:
        return Say((Text(("Once ", "upon ", "a ", "time.")),))
    if "too much" in said:
        return Fail(400, "invalid_request_error", "prompt is too long: 9 > 8")
    if "'tool'" in said or "tool_result" in said:
        return Say((Text(("It ", "rains.")),))
    if "weather" in said:
        text, call = Text(("I will ", "look.")), Use("call_1", "get_weather", ('{"city":"Paris"}',))
        return Say((text, call))
    return Say((Text(("Hello ", "there")),))


def settings(adapter: Adapter, url: str, place: Path) -> ProviderSettings:
    match adapter:
        case Adapter.ANTHROPIC:
            return ProviderSettings("p", adapter, url, KEY)
        case Adapter.OPENAI:
            return ProviderSettings("p", adapter, f"{url}/v1", KEY)
        case Adapter.SCRIPTED:
            place.write_text(SCRIPT)
            return ProviderSettings("p", adapter, models=(ModelSettings("smollm2", path=place),))
        case Adapter.LOCAL:
            models = (ModelSettings("smollm2", context_tokens=1024),)
            return ProviderSettings("p", adapter, models=models, directory=place)


@pytest.fixture(params=list(Adapter), ids=lambda adapter: adapter.value)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    adapter: Adapter = request.param
    place = model_directory(request.config) if adapter is Adapter.LOCAL else tmp_path / "s.json"
    async with FakeProvider(respond) as server:
        models: Models = Catalogue(ModelsSettings((settings(adapter, server.url, place),)))
        yield Subject(models, "p/smollm2")
        await models.close()


async def collect(model: Model, request: ModelRequest) -> tuple[list[str], ModelReply]:
    chunks: list[ModelChunk] = [chunk async for chunk in model.stream(request)]
    *deltas, last = chunks
    assert isinstance(last, ModelReply)
    texts = []
    for delta in deltas:
        assert isinstance(delta, TextDelta)
        assert delta.text
        texts.append(delta.text)
    return texts, last


async def test_deltas_come_first_then_one_reply_that_has_all_of_them(subject: Subject) -> None:
    texts, reply = await collect(await subject.open(), subject.request(UserMessage("Say hello.")))
    assert len(texts) > 1
    assert "".join(texts) == reply.message.text
    assert reply.stop_reason in (StopReason.END_TURN, StopReason.MAX_TOKENS)


async def test_a_call_is_one_and_the_transcript_with_its_result_is_accepted(
    subject: Subject,
) -> None:
    model = await subject.open()
    _, reply = await collect(model, subject.request(QUESTION, tools=(WEATHER,)))
    assert (reply.stop_reason is StopReason.TOOL_USE) == bool(reply.message.calls)
    transcript: list[Message] = [QUESTION, reply.message]
    for call in reply.message.calls:
        assert call.tool == "get_weather"
        transcript.append(ToolResult(call.reference, call.tool, '{"weather":"rain"}'))
    if not reply.message.calls:  # A small model may choose to answer.
        transcript.append(UserMessage("Go on."))
    _, final = await collect(model, subject.request(*transcript, tools=(WEATHER,)))
    assert final.message.text or final.message.calls


async def test_a_transcript_of_another_model_is_accepted(subject: Subject) -> None:
    foreign = AssistantMessage(
        "",
        (ToolUse("functions.x:0", "get_weather", "{"), ToolUse("", "get_weather", "{}")),
        '{"provider":"elsewhere","content":[{"type":"secret"}]}',
    )
    transcript = (
        QUESTION,
        foreign,
        ToolResult("functions.x:0", "get_weather", "malformed arguments", is_error=True),
        ToolResult("", "get_weather", "rain"),
    )
    await collect(await subject.open(), subject.request(*transcript, tools=(WEATHER,)))


async def test_too_long_a_transcript_is_told_apart(subject: Subject) -> None:
    with pytest.raises(ModelError) as error:
        await collect(
            await subject.open(), subject.request(UserMessage("too much " + "word " * 2000))
        )
    assert error.value.kind is ModelErrorKind.CONTEXT_EXCEEDED


async def test_a_stream_can_be_closed_early_and_the_model_used_again(subject: Subject) -> None:
    model = await subject.open()
    stream = model.stream(subject.request(UserMessage("Tell a long story.")))
    assert isinstance(stream, AsyncGenerator)
    async with aclosing(stream):
        assert isinstance(await anext(stream), TextDelta)
    async with asyncio.timeout(30):
        await collect(model, subject.request(UserMessage("Say hello.")))


async def test_requests_at_the_same_time_do_not_mix(subject: Subject) -> None:
    model = await subject.open()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        story = group.create_task(
            collect(model, subject.request(UserMessage("Tell a long story.")))
        )
        greeting = group.create_task(collect(model, subject.request(UserMessage("Say hello."))))
    for task in (story, greeting):
        texts, reply = task.result()
        assert "".join(texts) == reply.message.text
    assert story.result()[1].message.text != greeting.result()[1].message.text


async def test_the_model_is_known_and_ready(subject: Subject) -> None:
    info = subject.models.resolve(subject.name)
    assert info.name == subject.name
    assert info.ready
    assert info.max_output_tokens > 0
    names = [listed.name for listed in subject.models.list()]
    assert names == sorted(names)


async def test_opening_twice_is_cheap_and_right(subject: Subject) -> None:
    first, second = await subject.open(), await subject.open()
    for model in (first, second):
        await collect(model, subject.request(UserMessage("Say hello.")))


def in_memory() -> Models:
    return ScriptedModels({"demo": parse_script({"conversations": []})})


@pytest.mark.parametrize("make", [in_memory, lambda: Catalogue(ModelsSettings())])
def test_an_unknown_model_is_not_found(make: Callable[[], Models]) -> None:
    models: Models = make()
    with pytest.raises(NotFound) as unknown:
        models.resolve("nobody/nothing")
    assert unknown.value.reason is Reason.MODEL_NOT_FOUND
    assert isinstance(unknown.value, AgentdError)
