"""Put load on a gRPC server, bare or agentd's, and say how fast it answers. Requests and answers
are bytes: what a client's codec costs is not measured."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from time import monotonic

import grpc.aio

WARM_S = 0.2
IN_FLIGHT = 64
CALL_TIMEOUT_S = 30.0
"""The deadline of every call, so that none outlives its measurement."""


class Counting:
    """Counts what happens in a window that opens after some warm-up."""

    def __init__(self, seconds: float) -> None:
        self._opens = monotonic() + WARM_S
        self._closes = self._opens + seconds
        self._count = 0

    @property
    def over(self) -> bool:
        """Whether the window has closed."""
        return monotonic() >= self._closes

    def add(self, count: int) -> None:
        """Count something that happened now."""
        if self._opens <= monotonic() < self._closes:
            self._count += count

    @property
    def rate(self) -> float:
        """What was counted, a second."""
        return self._count / (self._closes - self._opens)


async def unary_rate(
    channel: grpc.aio.Channel, method: str, request: bytes, seconds: float
) -> float:
    """Return how many times a second a unary method answers when 64 calls are in flight."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    counting = Counting(seconds)

    async def caller() -> None:
        while not counting.over:
            await call(request, timeout=CALL_TIMEOUT_S)
            counting.add(1)

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(caller())
    return counting.rate


async def message_rate(
    channel: grpc.aio.Channel, method: str, request: bytes, streams: int, seconds: float
) -> float:
    """Return messages a second over that many streams of one method together."""
    open_stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(method)
    counting = Counting(seconds)

    async def reader() -> None:
        call = open_stream(request, timeout=CALL_TIMEOUT_S)
        async for _ in call:
            counting.add(1)
            if counting.over:
                break
        call.cancel()

    async with asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(reader())
    return counting.rate


async def median_us(once: Callable[[], Awaitable[None]], seconds: float) -> float:
    """Return the median time of something, one after another, in µs, after some warm-up."""
    times: list[float] = []
    end = monotonic() + WARM_S + seconds
    while (began := monotonic()) < end:
        await once()
        if began >= end - seconds:
            times.append(monotonic() - began)
    return statistics.median(times) * 1e6
