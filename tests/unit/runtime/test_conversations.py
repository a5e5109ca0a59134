"""The runs of a session continue one conversation, whatever became of those between them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from agentd.agent.ids import DEFAULT_AGENT, DEFAULT_NAMESPACE, SessionId
from agentd.agent.message import (
    AssistantMessage,
    ModelChunk,
    ModelInfo,
    ModelReply,
    ModelRequest,
    StopReason,
)
from agentd.agent.run import Run
from agentd.agent.spec import Session
from agentd.runtime.runtime import Outside, Runtime
from agentd.runtime.starting import NewRun
from agentd.runtime.system import SystemEntropy
from tests.fakes.journal import MemoryJournal
from tests.fakes.runs import FixedClock

INFO = ModelInfo("fake/echo")
SESSION = SessionId("s1")


class Echo:
    """A model that answers with how many messages it was given, once it may."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        count = len(request.messages)
        await self.gate.wait()
        yield ModelReply(AssistantMessage(f"{count} messages"), StopReason.END_TURN)

    def resolve(self, name: str) -> ModelInfo:
        del name
        return INFO

    async def open(self, name: str) -> "Echo":
        del name
        return self

    def list(self) -> Sequence[ModelInfo]:
        return [INFO]

    async def close(self) -> None:
        return None


async def test_a_run_that_was_cancelled_before_it_began_does_not_hide_the_ones_before_it() -> None:
    model = Echo()
    clock = FixedClock()
    runtime = Runtime(Outside(MemoryJournal(clock), model, clock, SystemEntropy()))

    async def create() -> Run:
        new = NewRun(DEFAULT_NAMESPACE, None, "and then?", DEFAULT_AGENT, session=SESSION)
        return (await runtime.engine.create_run(new))[0]

    async with runtime.serving():
        await runtime.sessions.create_session(Session(DEFAULT_NAMESPACE, SESSION))
        first, second, third = [await create() for _ in range(3)]
        await runtime.engine.cancel_run(
            DEFAULT_NAMESPACE, second.identity.id, reason="", timeout_ms=1_000
        )
        model.gate.set()
        ended = await runtime.reading.wait_run(DEFAULT_NAMESPACE, third.identity.id, 5)
        begun = await runtime.reading.get_run(DEFAULT_NAMESPACE, first.identity.id)
    assert begun.view.output == "1 messages"
    # Two of the first run, the goal of the second, and its own.
    assert ended.view.output == "4 messages"
