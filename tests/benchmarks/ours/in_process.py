"""The runtime doing the benchmark's work, with no daemon around it; prints its figures.

Run as a program, so that what one measurement leaves behind is not another's. Each run has one
subscriber, who follows its events to its end.
"""

import argparse
import asyncio
import gc
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from agentd.agent.budget import Budget
from agentd.agent.hosting import Invocation, Outcome
from agentd.agent.ids import DEFAULT_AGENT, DEFAULT_NAMESPACE, RunId
from agentd.agent.tool import EffectClass
from agentd.context.models.script import parse_script
from agentd.runtime.journal.schema import database_path
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.ports import Selector
from agentd.runtime.runtime import Outside, Runtime, RuntimeLimits
from agentd.runtime.starting import NewRun, RunLimits
from agentd.runtime.system import SystemClock, SystemEntropy, spare_the_collector
from tests.benchmarks.machine import resident_bytes
from tests.benchmarks.ours.parts import PATH, ScriptSource, add, asking, asking_once, manifest
from tests.fakes.local import FunctionTool
from tests.fakes.models import ScriptedModels

LIFETIME_S = 150
CREATED_AT_ONCE = 100
POLL_S = 0.01
WARM_RUNS = 4_000
"""Enough that the caches of the database are full before it counts."""
SHORT_STEPS = 20
WINDOW = 100
"""Steps on either side of a length of history over which a step's cost is the mean; beyond the
64 steps after which a run's state is stored again."""


class Bench:
    """A runtime on a directory, with a model and a tool that take no time."""

    def __init__(self, directory: Path, journal: SqliteJournal, runtime: Runtime) -> None:
        self.directory = directory
        self.journal = journal
        self.runtime = runtime

    async def create(self, count: int) -> Sequence[RunId]:
        """Create runs, a hundred at once."""
        names: list[RunId] = []
        while len(names) < count:
            async with asyncio.TaskGroup() as group:
                some = min(CREATED_AT_ONCE, count - len(names))
                created = [group.create_task(self._create()) for _ in range(some)]
            names += [task.result()[0] for task in created]
        return names

    async def pursue(self, count: int) -> None:
        """Create runs and follow the events of each to its end, all at once."""
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._pursue())

    async def _create(self) -> tuple[RunId, int]:
        new = NewRun(DEFAULT_NAMESPACE, None, "Add numbers.", DEFAULT_AGENT, tools=(PATH,))
        run, revision = await self.runtime.engine.create_run(new)
        return run.identity.id, revision

    async def _pursue(self) -> None:
        run, revision = await self._create()
        selector = Selector(DEFAULT_NAMESPACE, runs=frozenset({run}))
        async for _ in self.runtime.watches.watch(
            selector, after_revision=revision, until_ended=True
        ):
            pass


@asynccontextmanager
async def bench(
    directory: Path,
    script: ScriptSource,
    tool: Callable[[Invocation], Awaitable[Outcome]] | None,
    effect: EffectClass = EffectClass.NON_IDEMPOTENT,
) -> AsyncIterator[Bench]:
    """Serve a runtime; without a tool of this process, its runs wait for a host."""
    clock = SystemClock()
    journal = await SqliteJournal.open(directory, clock)
    models = ScriptedModels({"steps": parse_script(script)})
    local = {PATH: FunctionTool(manifest(effect), tool)} if tool else None
    outside = Outside(journal, models, clock, SystemEntropy(), local)
    runtime = Runtime(outside, RuntimeLimits(runs=RunLimits(budget=Budget())))
    try:
        async with runtime.serving():
            await runtime.manifests.register(DEFAULT_NAMESPACE, [manifest(effect)])
            spare_the_collector()  # as the daemon does when it is ready
            yield Bench(directory, journal, runtime)
    finally:
        await journal.close()


async def rate(directory: Path, runs: int, steps: int, repeats: int) -> dict[str, float]:
    """Return steps a second, and the CPU time of one."""
    calls = 0

    async def counted(invocation: Invocation) -> Outcome:
        nonlocal calls
        calls += 1
        return await add(invocation)

    async with bench(directory, asking(steps), counted) as held:
        await held.pursue(1)
        calls = 0
        began, cpu = time.monotonic(), time.process_time()
        for _ in range(repeats):
            await held.pursue(runs)
        took, used = time.monotonic() - began, time.process_time() - cpu
    assert calls == runs * steps * repeats
    return {"steps_per_s": calls / took, "cpu_us_per_step": used / calls * 1e6}


async def park(directory: Path, runs: int) -> dict[str, float]:
    """Leave runs waiting for a host; return the resident bytes that each takes."""
    async with bench(directory, asking(1), None) as held:
        await _wait_parked(held, await held.create(WARM_RUNS))
        gc.collect()
        before = resident_bytes(os.getpid())
        await _wait_parked(held, await held.create(runs))
        gc.collect()
        after = resident_bytes(os.getpid())
        assert held.runtime.scheduler.unfinished_count == WARM_RUNS + runs
    return {"bytes_per_run": (after - before) / runs}


async def _wait_parked(held: Bench, runs: Sequence[RunId]) -> None:
    live = held.runtime.scheduler.live
    waiting = list(runs)
    while waiting:
        await asyncio.sleep(POLL_S)
        waiting = [run for run in waiting if live(DEFAULT_NAMESPACE, run)]


async def leave(directory: Path, runs: int) -> None:
    """Be killed while every run has a call in progress, which may be repeated."""
    begun = 0
    all_begun = asyncio.Event()

    async def held_call(_: Invocation) -> Outcome:
        nonlocal begun
        begun += 1
        if begun == runs:
            all_begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with bench(directory, asking_once(), held_call, EffectClass.IDEMPOTENT) as held:
        await held.create(runs)
        await all_begun.wait()
        await held.journal.put(())  # what was written before is durable when this is
        sys.stdout.write(json.dumps({"revision": held.journal.revision}) + "\n")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)


async def grow(directory: Path, history: int) -> dict[str, float]:
    """Return the mean CPU time of the steps around a length of history, in µs."""
    if history <= WINDOW:
        runs, first, last = 20, 1, 2 * history - 1
    else:
        runs, first, last = 1, history - WINDOW, history + WINDOW
    marks: list[float] = []

    async def marked(invocation: Invocation) -> Outcome:
        marks.append(time.process_time())
        return await add(invocation)

    costs: list[float] = []
    async with bench(directory, asking(last + 1), marked) as held:
        await held.pursue(1 if runs > 1 else 0)
        for _ in range(runs):
            marks.clear()
            await held.pursue(1)
            costs.append((marks[last] - marks[first]) / (last - first))
    return {"cpu_us_per_step": statistics.mean(costs) * 1e6}


async def store(directory: Path, runs: int, steps: int) -> dict[str, float]:
    """Return the bytes of the database for each step of runs of a length."""
    async with bench(directory, asking(steps), add) as held:
        for _ in range(runs):
            await held.pursue(1)
    return {"disk_bytes_per_step": database_path(directory).stat().st_size / (runs * steps)}


async def main(arguments: argparse.Namespace) -> dict[str, float]:
    """Do what was asked for and return its figures."""
    directory, runs, steps = arguments.directory, arguments.runs, arguments.steps
    match arguments.what:
        case "rate":
            return await rate(directory, runs, steps, arguments.repeats)
        case "park":
            return await park(directory, runs)
        case "leave":
            await leave(directory, runs)
            raise AssertionError
        case "grow":
            return await grow(directory, steps)
        case _:
            return await store(directory, runs, steps)


if __name__ == "__main__":
    signal.alarm(LIFETIME_S)
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("rate", "park", "leave", "grow", "store"))
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=1)
    sys.stdout.write(json.dumps(uvloop.run(main(parser.parse_args()))) + "\n")
