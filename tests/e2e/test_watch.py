"""Watching over restarts, retention and slow readers."""

import asyncio

import apsw
import pytest

from agentd.client import Client, OutOfRange, Reason
from agentd.v1.event_pb2 import Event
from agentd.v1.run_pb2 import RunState
from tests.e2e.daemon import Home, daemon


async def test_a_watch_goes_on_over_restarts_without_gap_or_repeat(
    home: Home, client: Client
) -> None:
    seen: list[Event] = []
    ends = 0
    lives = 3

    async def watch(over: asyncio.Queue[None]) -> None:
        nonlocal ends
        async for item in client.watch():
            assert isinstance(item, Event)
            seen.append(item)
            if item.HasField("run_ended"):
                ends += 1
                over.put_nowait(None)

    over: asyncio.Queue[None] = asyncio.Queue(lives)
    async with asyncio.TaskGroup() as group:
        task: asyncio.Task[None] | None = None
        for life in range(lives):
            async with daemon(home) as served:
                task = task or group.create_task(watch(over))
                await client.runs.start("answer")
                async with asyncio.timeout(10):
                    await over.get()
                if life < lives - 1:
                    await served.kill()
                else:
                    listed = [event async for event in client.events()]
        assert task is not None
        task.cancel()
    assert seen == listed
    assert ends == lives


async def test_a_revision_that_is_gone_is_said_to_be(home: Home, client: Client) -> None:
    async with daemon(home) as served:
        for _ in range(3):
            created = await client.runs.start("answer")
            await client.runs.wait(created.run.name, timeout_s=10)
        assert await served.stop() == 0
    connection = apsw.Connection(str(home.state / "journal.db"))
    connection.execute("UPDATE log SET time_ms = time_ms - 3 * 86400000 WHERE position < 12")
    connection.close()
    home.configure(home.config.read_text() + "[journal]\nretention_days = 1\n")
    async with daemon(home):
        with pytest.raises(OutOfRange) as error:  # noqa: PT012 - it is a loop that ends so
            async with asyncio.timeout(10):
                while True:
                    async for _ in client.watch(after_revision=1):
                        break
        assert error.value.reason is Reason.COMPACTED
        oldest = int(error.value.metadata["oldest_revision"])
        async for item in client.watch(after_revision=oldest):
            assert isinstance(item, Event)
            assert item.revision > oldest
            break


async def test_waiting_for_a_run(home: Home, client: Client) -> None:
    async with daemon(home):
        created = await client.runs.start("slow")
        began = await client.runs.wait(created.run.name, timeout_s=0)
        assert began.state in (RunState.RUN_STATE_PENDING, RunState.RUN_STATE_RUNNING)
        ended = await client.runs.wait(created.run.name, timeout_s=10)
        assert ended.output == "at last"
        again = await client.runs.wait(created.run.name, timeout_s=10)
        assert again == ended
