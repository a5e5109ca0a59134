"""Models that answer anything: text, calls, nonsense, faults, half an answer, or nothing at all."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from random import Random

from msgspec.structs import replace

from agentd.agent.budget import ModelUsage, Prices
from agentd.agent.message import (
    AssistantMessage,
    Message,
    ModelChunk,
    ModelError,
    ModelErrorKind,
    ModelInfo,
    ModelReply,
    ModelRequest,
    Purpose,
    StopReason,
    TextDelta,
    ToolUse,
    UserMessage,
)
from agentd.errors import NotFound, Reason
from tests.simulation.planners import submitted
from tests.simulation.world import World

PRICES = Prices(input=3, output=15, cache_read=1, cache_write=4)
INFO = ModelInfo("sim/any", context_tokens=100_000, max_output_tokens=200, prices=PRICES)
SPARE = replace(INFO, name="sim/spare")
_WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]


class SimModels:
    """The port `Models` with one model, whose every answer is drawn from the seed."""

    def __init__(self, world: World) -> None:
        self._world = world

    def resolve(self, name: str) -> ModelInfo:
        if name not in ("", INFO.name, SPARE.name):
            raise NotFound(Reason.MODEL_NOT_FOUND, f"there is no model {name!r}")
        return SPARE if name == SPARE.name else INFO

    async def open(self, name: str) -> "SimModels":
        self.resolve(name)
        return self

    def list(self) -> Sequence[ModelInfo]:
        return (INFO, SPARE)

    async def close(self) -> None:
        return

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """Answer, or not. The chance is of this request alone, whoever else asks meanwhile."""
        world = self._world
        world.check_request(request)
        random = world.chance(f"{request.run}/{request.key}/{world.requests}")
        await asyncio.sleep(random.choice((0.0, 0.01, 0.5, 4.0)))
        if world.goes_wrong(random, 0.03):
            await asyncio.sleep(random.choice((10.0, 3_600.0)))
        reply = _reply(world, random, request)
        fails = world.goes_wrong(random, 0.15)
        if random.random() < 0.3 or fails:
            yield TextDelta(reply.message.text[: len(reply.message.text) // 2])
            await asyncio.sleep(random.choice((0.0, 0.2)))
        if fails:
            _fail(random, reply.usage)
        if world.goes_wrong(random, 0.02):
            return
        yield reply


def _reply(world: World, random: Random, request: ModelRequest) -> ModelReply:
    text = " ".join(random.choices(_WORDS, k=random.randint(1, 12)))
    calls: list[ToolUse] = []
    going_on = random.random() < (0.1 if world.calm else 0.9 - 0.1 * request.turn)
    submission = next((tool.id for tool in request.tools if tool.toolset == "lifecycle"), "")
    critic = request.purpose is Purpose.SIMULATION and len(request.tools) > 1
    if submission and random.random() < (1.0 if world.calm else 0.5 if critic else 0.9):
        arguments = json.dumps(submitted(world, random, request))
        calls = [ToolUse("", submission, arguments)]
    elif request.tools and going_on:
        calls = [_call(world, random, request, number) for number in range(random.randint(1, 5))]
    stop = StopReason.TOOL_USE if calls else StopReason.END_TURN
    if world.goes_wrong(random, 0.03):
        stop = random.choice((StopReason.MAX_TOKENS, StopReason.REFUSAL))
    size = len(text) + (0 if submission else sum(len(call.arguments_json) for call in calls))
    output = min(size // 4 + 1, request.max_output_tokens)
    cached = random.randint(0, 5)
    usage = ModelUsage(_size(request.messages) // 8 + cached, output, cached, 0)
    opaque = '{"provider":"other","content":[1]}' if random.random() < 0.1 else ""
    return ModelReply(AssistantMessage(text, tuple(calls), opaque), stop, usage)


def _call(world: World, random: Random, request: ModelRequest, number: int) -> ToolUse:
    tool = random.choice(request.tools).id
    arguments = json.dumps({"n": random.randint(0, 99)})
    reference = f"toolu_{request.run[5:]}_{request.turn}_{number}_{world.requests}"
    if random.random() < 0.05:
        tool = random.choice(("no_such_tool", "local/read_only", ""))
    if random.random() < 0.05:
        arguments = random.choice(("{", "", "[]", '{"n": "one"}', "null"))
    if random.random() < 0.1:
        reference = random.choice(("", "same", "call:1", "x" * 60))
    return ToolUse(reference, tool, arguments)


def _size(messages: Sequence[Message]) -> int:
    size = 0
    for message in messages:
        match message:
            case UserMessage(text=text):
                size += len(text)
            case AssistantMessage(text=text, calls=calls):
                size += len(text) + sum(len(call.arguments_json) for call in calls)
            case _:
                size += len(message.content)
    return size


def _fail(random: Random, usage: ModelUsage) -> None:
    kind = random.choice((*ModelErrorKind, *(each for each in ModelErrorKind if each.retryable)))
    after = random.choice((None, None, 0.0, 3.0, 5_000.0)) if kind.retryable else None
    spent = usage if random.random() < 0.5 else ModelUsage()
    raise ModelError(kind, f"a fault: {kind.name}", retry_after_s=after, usage=spent)
