"""Measure what a daemon answers: reads, created runs, and runs with their event streams."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import cache
from time import monotonic

import grpc.aio

from agentd.v1 import event_service_pb2, run_pb2, run_service_pb2
from tests.benchmarks.harness import Measure, Round
from tests.benchmarks.load import unary_rate
from tests.benchmarks.ours.daemon import (
    CREATE_RUN,
    EVENTS,
    RUNS,
    SYSTEM,
    Daemon,
    daemon,
    offer_tool,
)
from tests.benchmarks.ours.parts import asking, silent
from tests.benchmarks.work import Work

WINDOW_S = 1.2
STEPS_TIMEOUT_S = 120.0
ENDED_RUNS = 100
STREAMS = 256
"""Runs that are followed on one connection; the daemon admits 1,024 streams on each."""


async def info_rate(round: Round) -> float:
    """Return how many times a second GetInfo is answered."""
    async with daemon(round.directory, asking(1)) as served:
        seconds = round.seconds(WINDOW_S)
        return await unary_rate(served.channel, f"{SYSTEM}/GetInfo", b"", seconds)


async def read_rate(round: Round) -> float:
    """Return how many times a second GetRun is answered, of a run that has ended."""
    async with daemon(round.directory, asking(1)) as served:
        await offer_tool(served)
        name = await _pursue(served)
        request = run_service_pb2.GetRunRequest(name=name).SerializeToString()
        seconds = round.seconds(WINDOW_S)
        return await unary_rate(served.channel, f"{RUNS}/GetRun", request, seconds)


async def create_rate(round: Round) -> float:
    """Return how many runs a second are created. One run that waits for its model is all that the
    daemon drives at once, so that what the others do once they begin is not measured."""
    async with daemon(round.directory, silent(), max_active_runs=1) as served:
        return await _create_rate(served, round)


async def start_rate(round: Round) -> float:
    """Return how many runs a second are created when each begins and asks its model."""
    async with daemon(round.directory, silent(), max_active_runs=1_000_000) as served:
        return await _create_rate(served, round)


async def _create_rate(served: Daemon, round: Round) -> float:
    await offer_tool(served)
    seconds = round.seconds(WINDOW_S)
    return await unary_rate(served.channel, f"{RUNS}/CreateRun", CREATE_RUN, seconds)


@cache
def step_rate(work: Work) -> Measure:
    """Return a measure of durable steps a second of runs that are created through gRPC, the events
    of each followed to its end on a stream of its own."""

    async def measure(round: Round) -> float:
        part = work.in_round(round)
        async with daemon(round.directory, asking(part.steps)) as served:
            await offer_tool(served)
            await _pursue(served)
            began = monotonic()
            async with asyncio.timeout(STEPS_TIMEOUT_S):
                for _ in range(part.repeats):
                    await _pursue_all(served, part.runs)
            took = monotonic() - began
            await _check(served, part)
        return part.runs * part.steps * part.repeats / took

    return measure


async def _pursue_all(served: Daemon, runs: int) -> None:
    """Pursue runs at once, as many on one connection as its streams permit with room to spare."""
    async with AsyncExitStack() as stack:
        clients = [served]
        for _ in range(STREAMS, runs, STREAMS):
            channel = await stack.enter_async_context(served.connect())
            clients.append(replace(served, channel=channel))
        async with asyncio.TaskGroup() as group:
            for number in range(runs):
                group.create_task(_pursue(clients[number % len(clients)]))


async def _pursue(served: Daemon) -> str:
    """Create a run and follow its events to its end; return its name."""
    created = await served.create_run()
    request = event_service_pb2.WatchRequest(
        filter=event_service_pb2.EventFilter(runs=[created.run.name]),
        after_revision=created.revision,
        until_ended=True,
    )
    call = served.stream(f"{EVENTS}/Watch", request.SerializeToString())
    while await call.read() is not grpc.aio.EOF:
        pass
    return created.run.name


async def _check(served: Daemon, work: Work) -> None:
    """Raise AssertionError when the newest runs did not take their steps."""
    request = run_service_pb2.ListRunsRequest(page_size=min(work.runs, ENDED_RUNS))
    listed = await served.call(f"{RUNS}/ListRuns", request, run_service_pb2.ListRunsResponse)
    for run in listed.runs:
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run
        assert run.usage.tool_calls == work.steps, run
