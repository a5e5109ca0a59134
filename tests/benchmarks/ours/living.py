"""Measure a daemon's start, its size at rest, and its recovery after `kill -9`."""

import asyncio
import statistics
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic

from agentd.v1 import event_service_pb2
from tests.benchmarks.harness import Round
from tests.benchmarks.machine import resident_bytes
from tests.benchmarks.ours.daemon import EVENTS, Daemon, daemon
from tests.benchmarks.ours.parts import asking, asking_once
from tests.benchmarks.ours.runtimes import KILLED, run_child
from tests.benchmarks.work import RECOVERED_RUNS

COLD_STARTS = 5
SETTLE_S = 0.3
STEPPED_TIMEOUT_S = 120.0


async def start_ms(round: Round) -> float:
    """Return the median time from starting a daemon's process, with an empty store, to its first
    answer, in ms."""
    times: list[float] = []
    for _ in range(COLD_STARTS):
        place = Path(mkdtemp(dir=round.directory))
        began = monotonic()
        async with daemon(place, asking(1), local=False):
            times.append(monotonic() - began)
    return statistics.median(times) * 1e3


async def resident_mb(round: Round) -> float:
    """Return the resident memory of an idle daemon, in MB of 10^6 bytes."""
    async with daemon(round.directory, asking(1), local=False) as served:
        await asyncio.sleep(SETTLE_S)
        return resident_bytes(served.pid) / 1e6


async def ready_s(round: Round) -> float:
    """Return the time from starting a daemon on 10,000 unfinished runs to its first answer."""
    await _leave(round)
    began = monotonic()
    async with daemon(round.directory, asking_once()):
        return monotonic() - began


async def stepped_s(round: Round) -> float:
    """Return the time from starting a daemon on 10,000 unfinished runs, each with a call that was
    in progress and may be repeated, until the repeated calls of all have durably ended."""
    revision = await _leave(round)
    began = monotonic()
    async with daemon(round.directory, asking_once()) as served:
        async with asyncio.timeout(STEPPED_TIMEOUT_S):
            await _until_ended(served, revision)
        return monotonic() - began


async def _leave(round: Round) -> int:
    """Have runs created by a process that is killed while each has a call in progress; return the
    newest revision."""
    state = round.directory / "state"
    state.mkdir()
    runs = str(RECOVERED_RUNS)
    figures = await run_child(round, "leave", "--runs", runs, directory=state, code=KILLED)
    return int(figures["revision"])


async def _until_ended(served: Daemon, revision: int) -> None:
    request = event_service_pb2.WatchRequest(
        filter=event_service_pb2.EventFilter(kinds=["call_ended"]), after_revision=revision
    )
    call = served.stream(f"{EVENTS}/Watch", request.SerializeToString())
    ended = 0
    async for message in call:
        ended += len(event_service_pb2.WatchResponse.FromString(message).events)
        if ended >= RECOVERED_RUNS:
            break
    call.cancel()
