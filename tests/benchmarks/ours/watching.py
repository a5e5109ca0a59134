"""Measure how fast events reach watchers: a hundred runs make them, each watcher wants them all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache

import grpc.aio

from agentd.v1 import event_service_pb2
from tests.benchmarks.harness import Measure, Round
from tests.benchmarks.load import CALL_TIMEOUT_S, Counting
from tests.benchmarks.ours.daemon import EVENTS, Daemon, daemon, offer_tool
from tests.benchmarks.ours.parts import asking

WINDOW_S = 1.2
RUNS = 100
WATCHERS = 100

_WATCH = event_service_pb2.WatchRequest(after_revision=-1).SerializeToString()
_PROGRESS_TAG = 0x18
"""progress_revision, the last field of a response."""


@cache
def delivery_rate(watchers: int) -> Measure:
    """Return a measure of events a second that so many watchers get together."""

    async def measure(round: Round) -> float:
        async with _busy_daemon(round) as served:
            return await _deliveries(served.channel, watchers, round.seconds(WINDOW_S))

    return measure


async def stalled_ratio(round: Round) -> float:
    """Return the rate of 99 watchers beside one that reads nothing any more, over their rate beside
    one that reads as they do: before and after, so that a drift favours neither."""
    seconds = round.seconds(WINDOW_S)
    async with _busy_daemon(round) as served:
        before = await _beside_reader(served, seconds)
        stalled = await _beside_stalled(served, seconds)
        after = await _beside_reader(served, seconds)
    return stalled / ((before + after) / 2)


async def _beside_reader(served: Daemon, seconds: float) -> float:
    """Return the rate of 99 watchers on one connection, and one on its own that reads along."""
    async with served.connect() as other, asyncio.TaskGroup() as group:
        reading = group.create_task(_deliveries(other, 1, seconds))
        rate = await _deliveries(served.channel, WATCHERS - 1, seconds)
        await reading
    return rate


async def _beside_stalled(served: Daemon, seconds: float) -> float:
    """Return the rate of 99 watchers on one connection while one on its own reads nothing."""
    async with served.connect() as other:
        call = _watch(other)
        await call.read()
        rate = await _deliveries(served.channel, WATCHERS - 1, seconds)
        call.cancel()
    return rate


@asynccontextmanager
async def _busy_daemon(round: Round) -> AsyncIterator[Daemon]:
    """Serve a daemon with runs that do not end."""
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(daemon(round.directory, asking(0)))
        await offer_tool(served)
        async with asyncio.TaskGroup() as group:
            for _ in range(RUNS):
                group.create_task(served.create_run())
        yield served


async def _deliveries(channel: grpc.aio.Channel, watchers: int, seconds: float) -> float:
    counting = Counting(seconds)

    async def watcher() -> None:
        call = _watch(channel)
        last = 0
        async for message in call:
            # Every event is wanted, so that the revisions that were passed say how many came.
            present = progress(message)
            counting.add(present - last if last else 0)
            last = present
            if counting.over:
                break
        call.cancel()

    async with asyncio.TaskGroup() as group:
        for _ in range(watchers):
            group.create_task(watcher())
    return counting.rate


def _watch(channel: grpc.aio.Channel) -> grpc.aio.UnaryStreamCall[bytes, bytes]:
    open_stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
        f"{EVENTS}/Watch"
    )
    return open_stream(_WATCH, timeout=CALL_TIMEOUT_S)


def progress(message: bytes) -> int:
    """Return the last field of a response without decoding the events before it.

    A varint's bytes but the last have their highest bit set; the tag before them has not.
    """
    start = len(message) - 1
    while message[start - 1] & 0x80:
        start -= 1
    assert message[start - 1] == _PROGRESS_TAG
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(message[start:]))
