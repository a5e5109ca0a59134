"""Requests that are repeated after a crash: what happened once must not happen again."""

import pytest

from agentd.client import NotFound, RetryPolicy, Unavailable, connect, tool
from agentd.v1.run_pb2 import Run
from agentd.v1.run_service_pb2 import (
    CreateRunRequest,
    CreateRunResponse,
    SendMessageRequest,
    SendMessageResponse,
)
from tests.crash.trial import COMMAND, KILLED, Crash
from tests.e2e.daemon import Home, daemon
from tests.e2e.watching import history, until

WAITING = {"conversations": [{"turns": [{"calls": [{"tool": "act"}]}, {"text": "done"}]}]}
ONCE = RetryPolicy(attempts=1)
STORED = (*COMMAND, *Crash(1, "appended").flags())
"""Dies when its first write is durable and nobody has been told."""
LOST = (*COMMAND, *Crash(1, "before_append").flags())
"""Dies before its first write."""


@pytest.mark.parametrize("command", [STORED, LOST], ids=["stored", "lost"])
async def test_a_run_that_is_created_again_after_a_crash_is_one_run(
    command: tuple[str, ...],
) -> None:
    with Home() as home:
        home.script({"conversations": [{"turns": [{"text": "done"}]}]})
        request = CreateRunRequest(run=Run(name="runs/one", goal="go"), request_id="once")
        async with connect(home.address, retry=ONCE) as client, daemon(home, command) as served:
            with pytest.raises(Unavailable):
                await client.call(request, CreateRunResponse)
            assert await served.ended() == KILLED
        async with home.client() as client, daemon(home):
            if command == LOST:
                with pytest.raises(NotFound):
                    await client.runs.get("runs/one")
            answer = await client.call(request, CreateRunResponse)
            assert (await client.call(request, CreateRunResponse)).revision == answer.revision
            assert (await client.runs.wait("runs/one", timeout_s=10)).output == "done"
            assert (await history(client)).count("run_created") == 1


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(STORED, id="stored"),
        pytest.param(LOST, id="lost"),
    ],
)
async def test_a_message_that_is_sent_again_after_a_crash_is_one_message(
    command: tuple[str, ...],
) -> None:
    @tool
    def act() -> str:
        return "done"

    with Home() as home:
        home.script(WAITING)
        async with daemon(home), home.client() as client:
            async with client.host("box", [act]):
                pass
            name = (await client.runs.start("call it", tools=["box/act"])).run.name
            await until(client, name, "run_waiting")
        request = SendMessageRequest(name=name, text="hello", request_id="once")
        async with connect(home.address, retry=ONCE) as client, daemon(home, command) as served:
            with pytest.raises(Unavailable):
                await client.call(request, SendMessageResponse)
            assert await served.ended() == KILLED
        async with daemon(home), home.client() as client:
            await client.call(request, SendMessageResponse)
            assert (await history(client)).count("message_posted") == 1
