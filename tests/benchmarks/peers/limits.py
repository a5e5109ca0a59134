"""Measure what the machine, SQLite and a bare grpc.aio server can do with no daemon in between."""

import asyncio
import os
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from itertools import count
from pathlib import Path
from time import monotonic, monotonic_ns

import apsw
import grpc.aio

from tests.benchmarks.harness import Comparison, Measure, Round
from tests.benchmarks.load import (
    CALL_TIMEOUT_S,
    median_us,
    message_rate,
    unary_rate,
)
from tests.benchmarks.machine import resident_bytes
from tests.benchmarks.peers import bare_server
from tests.benchmarks.process import child, clean_environment, python

WINDOW_S = 1.2
BLOCK_BYTES = 4096
FILE_BLOCKS = 256
LIVE_RUNS = 1000
COLD_STARTS = 5
SETTLE_S = 0.3


async def fdatasync_rate(round: Round) -> float:
    """Return durable overwrites of 4 KiB a second."""
    times = await asyncio.to_thread(_fdatasync_times, round.directory, round.seconds(WINDOW_S))
    return len(times) / sum(times)


async def fdatasync_us(round: Round) -> float:
    """Return the median time of a durable overwrite of 4 KiB, in µs."""
    times = await asyncio.to_thread(_fdatasync_times, round.directory, round.seconds(WINDOW_S))
    return statistics.median(times) * 1e6


def _fdatasync_times(directory: Path, seconds: float) -> Sequence[float]:
    block, times = os.urandom(BLOCK_BYTES), []
    file = os.open(directory / "blocks", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.write(file, block * FILE_BLOCKS)
        os.fsync(file)
        end = monotonic() + seconds
        for number in count():
            began = monotonic()
            if began >= end:
                break
            os.pwrite(file, block, number % FILE_BLOCKS * BLOCK_BYTES)
            os.fdatasync(file)
            times.append(monotonic() - began)
    finally:
        os.close(file)
    return times


@cache
def append_rate(batch: int) -> Measure:
    """Return a measure of durable rows a second, `batch` of them a commit: one append-only table by
    global position with 200-byte rows and 1,000 live runs, WAL, FULL."""

    async def measure(round: Round) -> float:
        return await asyncio.to_thread(_append, round.directory, batch, round.seconds(WINDOW_S))

    return measure


def _append(directory: Path, batch: int, seconds: float) -> float:
    connection = apsw.Connection(str(directory / f"append-{batch}.db"))
    try:
        connection.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE log (position INTEGER PRIMARY KEY, run INTEGER, previous INTEGER,"
            " body BLOB)"
        )
        statement = "INSERT INTO log VALUES " + ",".join(["(?,?,?,?)"] * batch)
        began = monotonic()
        for position in count(1, batch):
            if monotonic() - began >= seconds:
                return (position - 1) / (monotonic() - began)
            rows: list[int | bytes] = []
            for row in range(position, position + batch):
                rows += (row, row % LIVE_RUNS, max(0, row - LIVE_RUNS), bare_server.EVENT)
            connection.execute(statement, rows)
    finally:
        connection.close()
    raise AssertionError("count() does not end")


@asynccontextmanager
async def bare_channel(directory: Path) -> AsyncIterator[grpc.aio.Channel]:
    """Start a bare server in a process of its own, and connect to it."""
    socket = directory / "bare.sock"
    socket.unlink(missing_ok=True)
    async with (
        child(
            server_command(socket), environment=clean_environment(directory), until_line=b"READY"
        ),
        grpc.aio.insecure_channel(f"unix:{socket}") as channel,
    ):
        yield channel


def _method(name: str) -> str:
    return f"/{bare_server.SERVICE}/{name}"


def server_command(socket: Path) -> Sequence[str]:
    """Return the command that starts a bare server."""
    return (python(), bare_server.__file__, str(socket))


async def echo_rate(round: Round) -> float:
    """Return unary calls a second, 64 in flight."""
    async with bare_channel(round.directory) as channel:
        return await unary_rate(
            channel, _method("Echo"), bare_server.EVENT, round.seconds(WINDOW_S)
        )


async def append_half(round: Round) -> float:
    """Return the steps a second that the database allows when a step is two rows."""
    return await round.once(append_rate(128)) / 2


async def fdatasync_half(round: Round) -> float:
    """Return the steps a second that the disk allows one run, when a step is two durable writes."""
    return await round.once(fdatasync_rate) / 2


async def echo_us(round: Round) -> float:
    """Return the median time of a unary call, one at a time, in µs."""
    async with bare_channel(round.directory) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_method("Echo"))

        async def once() -> None:
            await call(bare_server.EVENT, timeout=CALL_TIMEOUT_S)

        return await median_us(once, round.seconds(WINDOW_S))


async def ping_us(round: Round) -> float:
    """Return the median time of a message to a stream and back, one at a time, in µs."""
    async with bare_channel(round.directory) as channel:
        open_stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            _method("Ping")
        )
        call = open_stream(timeout=CALL_TIMEOUT_S)

        async def once() -> None:
            await call.write(bare_server.EVENT)
            await call.read()

        found = await median_us(once, round.seconds(WINDOW_S))
        await call.done_writing()
        return found


async def stream_message_us(round: Round) -> float:
    """Return the median time from a server's writing a stream message to its being read, in µs,
    one message a millisecond. The clock is the machine's, so both processes see the same one."""
    times: list[int] = []
    async with bare_channel(round.directory) as channel:
        open_stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            _method("Paced")
        )
        call = open_stream(b"", timeout=CALL_TIMEOUT_S)
        end = monotonic() + round.seconds(WINDOW_S)
        async for message in call:
            times.append(monotonic_ns() - int.from_bytes(message))
            if monotonic() >= end:
                break
        call.cancel()
    return statistics.median(times) / 1e3


async def hosted_call_us(round: Round) -> float:
    """Return what a durable hosted call costs at least, in µs: a unary call, a stream message and
    two durable writes, each alone."""
    echo, message = await round.once(echo_us), await round.once(stream_message_us)
    return echo + message + 2 * await round.once(fdatasync_us)


@cache
def stream_rate(streams: int, per_message: int) -> Measure:
    """Return a measure of events a second over that many streams together."""

    async def measure(round: Round) -> float:
        async with bare_channel(round.directory) as channel:
            return per_message * await message_rate(
                channel,
                _method("Stream"),
                str(per_message).encode(),
                streams,
                round.seconds(WINDOW_S),
            )

    return measure


@cache
def one_by_one_rate(subscribers: int) -> Measure:
    """Return a measure of deliveries a second when a publisher's every event goes to every
    subscriber as a message of its own."""

    async def measure(round: Round) -> float:
        async with bare_channel(round.directory) as channel:
            return await message_rate(
                channel,
                _method("FanOut"),
                str(subscribers).encode(),
                subscribers,
                round.seconds(WINDOW_S),
            )

    return measure


async def server_start_ms(round: Round) -> float:
    """Return the median time from starting a bare server's process to its listening, in ms."""
    times: list[float] = []
    for number in range(COLD_STARTS):
        command = server_command(round.directory / f"start-{number}.sock")
        began = monotonic()
        environment = clean_environment(round.directory)
        async with child(command, environment=environment, until_line=b"READY"):
            times.append(monotonic() - began)
    return statistics.median(times) * 1e3


async def server_resident_mb(round: Round) -> float:
    """Return the resident memory of an idle bare server, in MB of 10^6 bytes."""
    command = server_command(round.directory / "idle.sock")
    environment = clean_environment(round.directory)
    async with child(command, environment=environment, until_line=b"READY") as process:
        await asyncio.sleep(SETTLE_S)
        return resident_bytes(process.pid) / 1e6


_HERE = "this machine"


def _limit(name: str, unit: str, measure: Measure, *, higher_is_better: bool = True) -> Comparison:
    return Comparison(f"limits.{name}", unit, higher_is_better, {_HERE: measure})


ROWS = (
    _limit("fdatasync", "writes/s", fdatasync_rate),
    _limit("fdatasync-p50", "µs", fdatasync_us, higher_is_better=False),
    _limit("sqlite-append-1", "rows/s", append_rate(1)),
    _limit("sqlite-append-128", "rows/s", append_rate(128)),
    _limit("echo-64", "calls/s", echo_rate),
    _limit("echo-p50", "µs", echo_us, higher_is_better=False),
    _limit("ping-p50", "µs", ping_us, higher_is_better=False),
    _limit("stream-message-p50", "µs", stream_message_us, higher_is_better=False),
    _limit("hosted-call-p50", "µs", hosted_call_us, higher_is_better=False),
    _limit("stream-1x1", "events/s", stream_rate(1, 1)),
    _limit("stream-1x64", "events/s", stream_rate(1, 64)),
    _limit("stream-100x1", "deliveries/s", stream_rate(100, 1)),
    _limit("stream-100x64", "deliveries/s", stream_rate(100, 64)),
    _limit("fan-out-100-one-by-one", "deliveries/s", one_by_one_rate(100)),
    _limit("server-start", "ms", server_start_ms, higher_is_better=False),
    _limit("server-resident", "MB", server_resident_mb, higher_is_better=False),
)
