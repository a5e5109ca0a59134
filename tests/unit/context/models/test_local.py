"""The local adapter with the real library and a real model of 135 million parameters."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
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
from agentd.context.models import local
from agentd.context.models.local import LocalProvider, spare_cores
from agentd.context.models.settings import Adapter, ModelSettings, ProviderSettings
from tests.providers.modelfile import SLOW, model_directory

pytestmark = SLOW

WEATHER = Tool(
    "w",
    "get_weather",
    "Tells the weather of a city.",
    '{"type":"object","properties":{"city":{"type":"string","maxLength":20}},"required":["city"],'
    '"additionalProperties":false}',
)


@pytest.fixture(scope="module")
def path(pytestconfig: pytest.Config) -> Path:
    return model_directory(pytestconfig) / "smollm2.gguf"


@pytest.fixture
async def provider(path: Path) -> AsyncIterator[LocalProvider]:
    settings = ProviderSettings("local", Adapter.LOCAL)
    model = ModelSettings("smollm2", context_tokens=1024, path=path)
    provider = await local.connect(settings, model)
    yield provider
    await provider.close()


def request(
    *messages: Message, tools: tuple[Tool, ...] = (), most: int = 40, instructions: str = ""
) -> ModelRequest:
    return ModelRequest("smollm2", instructions, messages, tools, most)


async def answer(
    provider: LocalProvider, asked: ModelRequest
) -> tuple[list[ModelChunk], ModelReply]:
    model = provider.model(ModelSettings("smollm2"))
    *deltas, last = [chunk async for chunk in model.stream(asked)]
    assert isinstance(last, ModelReply)
    return deltas, last


async def test_a_plain_question_is_answered_in_a_stream(provider: LocalProvider) -> None:
    question = UserMessage("What is the capital of France?")
    asked = request(question, instructions="You are a helpful assistant.")
    deltas, reply = await answer(provider, asked)
    assert "Paris" in reply.message.text
    assert "".join(d.text for d in deltas if isinstance(d, TextDelta)) == reply.message.text
    assert len(deltas) > 3
    assert reply.stop_reason is StopReason.END_TURN
    assert reply.usage.input_tokens > 10
    assert reply.usage.output_tokens > 3


async def test_the_same_question_gets_the_same_answer(provider: LocalProvider) -> None:
    asked = request(UserMessage("Name a colour."), most=10)
    first, second = await answer(provider, asked), await answer(provider, asked)
    assert first[1].message == second[1].message


async def test_a_step_with_tools_is_a_call_or_an_answer(provider: LocalProvider) -> None:
    asked = request(UserMessage("What is the weather in Paris?"), tools=(WEATHER,), most=40)
    deltas, reply = await answer(provider, asked)
    if reply.message.calls:
        (call,) = reply.message.calls
        assert call.tool == "get_weather"
        assert set(json.loads(call.arguments_json)) == {"city"}
        assert reply.stop_reason is StopReason.TOOL_USE
        assert not deltas
    else:
        assert "".join(d.text for d in deltas if isinstance(d, TextDelta)) == reply.message.text
        assert reply.message.text


async def test_a_transcript_with_calls_can_be_continued(provider: LocalProvider) -> None:
    messages = (
        UserMessage("What is the weather in Paris?"),
        AssistantMessage("", (ToolUse("", "get_weather", '{"city": "Paris"}'),)),
        ToolResult("", "get_weather", '{"weather": "rain"}'),
    )
    _, reply = await answer(provider, request(*messages, tools=(WEATHER,), most=40))
    assert reply.message.text or reply.message.calls


async def test_a_schema_that_no_grammar_can_say_is_loosened(provider: LocalProvider) -> None:
    text = '{"type":"object","properties":{"x":{"type":"banana"}}}'
    asked = request(UserMessage("hi"), tools=(Tool("w", "t", "x", text),), most=60)
    _, reply = await answer(provider, asked)
    assert reply.stop_reason in (StopReason.TOOL_USE, StopReason.END_TURN, StopReason.MAX_TOKENS)


async def test_the_output_limit_is_kept(provider: LocalProvider) -> None:
    _, reply = await answer(provider, request(UserMessage("Tell a long story."), most=5))
    assert reply.stop_reason is StopReason.MAX_TOKENS
    assert reply.usage.output_tokens == 5


async def test_too_long_a_prompt_exceeds_the_context(provider: LocalProvider) -> None:
    with pytest.raises(ModelError) as error:
        await answer(provider, request(UserMessage("word " * 2000)))
    assert error.value.kind is ModelErrorKind.CONTEXT_EXCEEDED


async def test_closing_the_iterator_frees_the_place(provider: LocalProvider) -> None:
    model = provider.model(ModelSettings("smollm2"))
    asked = request(UserMessage("Tell a very long story."), most=900)
    async with aclosing(model.stream(asked)) as stream:
        await anext(stream)
    async with asyncio.timeout(30):
        _, reply = await answer(provider, request(UserMessage("hi"), most=3))
    assert reply.usage.output_tokens <= 3


async def test_requests_beyond_the_places_wait(provider: LocalProvider) -> None:
    async def ask(number: int) -> int:
        asked = request(UserMessage(f"Say {number}."), most=4)
        return (await answer(provider, asked))[1].usage.output_tokens

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(number)) for number in range(4)]
    assert all(task.result() for task in tasks)


async def test_closing_the_provider_stops_what_is_generated(provider: LocalProvider) -> None:
    begun = asyncio.Event()

    async def read() -> ModelErrorKind | None:
        asked = request(UserMessage("Tell a very long story."), most=900)
        try:
            async for _ in provider.model(ModelSettings("smollm2")).stream(asked):
                begun.set()
        except ModelError as error:
            return error.kind
        return None

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        await begun.wait()
        await provider.close()
    assert reading.result() is ModelErrorKind.TRANSIENT


def test_it_prints_nothing_and_nobody_can_connect_to_it(path: Path) -> None:
    program = f"""
import asyncio, os, pathlib, socket, sys
from agentd.agent.message import ModelRequest, UserMessage
from agentd.agent.tool import Tool
from agentd.context.models import local
from agentd.context.models.settings import Adapter, ModelSettings, ProviderSettings

async def main():
    model = ModelSettings("smollm2", context_tokens=512, path=pathlib.Path({str(path)!r}))
    provider = await local.connect(ProviderSettings("local", Adapter.LOCAL), model)
    schema = '{{"type":"object","properties":{{"x":{{"type":"string","pattern":"^(?!a)"}}}}}}'
    tools = (Tool("w", "t", "", schema),)
    request = ModelRequest("smollm2", "", (UserMessage("hi"),), tools, 3)
    async for _ in provider.model(model).stream(request):
        pass
    for name in os.listdir("/proc/self/fd"):
        try:
            own = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        with own:
            if own.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                assert own.family == socket.AF_UNIX, own
                assert not os.path.exists(own.getsockname()), own
                listening.append(name)
    await provider.close()

listening = []
asyncio.run(main())
assert listening
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_cores_are_counted() -> None:
    assert spare_cores() >= 1
