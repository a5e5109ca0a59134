"""A daemon that can be killed at any moment, and the connections to it, which break."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import TypeVar

from agentd.agent.budget import Budget
from agentd.errors import AgentdError, Corrupt
from agentd.runtime.leases import LeaseLimits
from agentd.runtime.ports import LocalTool
from agentd.runtime.runtime import Outside, Runtime, RuntimeLimits
from agentd.runtime.scheduler import SchedulerLimits
from agentd.runtime.starting import RunLimits
from agentd.runtime.watch import WatchLimits
from tests.invariants import Broken
from tests.simulation.memory import SimMemory
from tests.simulation.models import SimModels
from tests.simulation.world import LOCAL, NAMESPACE, World

T = TypeVar("T")


class ConnectionLost(Exception):
    """The daemon is gone, or the way to it: nobody knows whether a request had its effect."""


def limits_of(random: Random) -> RuntimeLimits:
    """Draw bounds that are small enough to be reached."""
    return RuntimeLimits(
        runs=RunLimits(Budget(max_turns=20), max_parallel_calls=random.choice((1, 2, 8))),
        scheduler=SchedulerLimits(
            max_active_runs=random.choice((2, 5, 1000)),
            idle_eviction_s=random.choice((1.0, 30.0)),
            sweep_s=1.0,
        ),
        leases=LeaseLimits(lease_ms=random.choice((2_000, 10_000)), stop_grace_ms=2_000),
        watches=WatchLimits(page=random.choice((3, 1024)), backlog=random.choice((40, 65_536))),
        model_timeout_s=random.choice((20.0, 120.0)),
    )


class Daemon:
    """The daemon's process, over and over again on the same disk."""

    def __init__(self, world: World, tools: dict[str, LocalTool]) -> None:
        self._world = world
        self._tools = tools
        self._limits = limits_of(world.chance("limits"))
        self._random = world.chance("crash")
        self._group: asyncio.TaskGroup | None = None
        self.runtime: Runtime | None = None
        self.crashes = 0

    async def live(self) -> None:
        """Run the daemon, kill it, run it again, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                process = group.create_task(self._serve())
                await asyncio.wait({process}, timeout=self._span())
                while self._world.calm and not process.done():
                    await asyncio.wait({process})
                if process.done():
                    process.result()
                    raise Broken("the daemon ended by itself")
                await self._end(process)
                await asyncio.sleep(self._random.choice((0.0, 0.1, 5.0, 20.0)))

    async def ask(self, work: Callable[[Runtime], Awaitable[T]]) -> T:
        """Have the daemon do some work for a client. Raises what it raises, and ConnectionLost."""
        group, runtime = self._group, self.runtime
        if group is None or runtime is None:
            raise ConnectionLost
        answer: asyncio.Future[T] = self._world.loop.create_future()

        def lose(_: object) -> None:
            if not answer.done():
                answer.set_exception(ConnectionLost())

        task = group.create_task(self._handle(runtime, work, answer))
        task.add_done_callback(lose)
        try:
            return await answer
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _handle(
        self,
        runtime: Runtime,
        work: Callable[[Runtime], Awaitable[T]],
        answer: asyncio.Future[T],
    ) -> None:
        error: Exception
        try:
            value = await work(runtime)
        except asyncio.CancelledError:
            if self.runtime is runtime and not answer.cancelled():
                self._world.violation("a request was cancelled by nobody")
            raise
        except (AgentdError, ConnectionLost) as caught:
            error = caught
        except Exception as caught:  # noqa: BLE001 - anything else is a bug to be told with its seed
            self._world.violation(f"a request failed with {caught!r}")
            error = ConnectionLost()
        else:
            if not answer.done():
                answer.set_result(value)
            return
        if isinstance(error, Corrupt):
            self._world.violation(f"a caller was told {error}")
        if not answer.done():
            answer.set_exception(error)

    def _span(self) -> float | None:
        if self._world.calm or not self._world.faults:
            return None
        return self._random.choice((0.1, 2.0, 20.0, 60.0)) * self._random.random()

    async def _end(self, process: asyncio.Task[None]) -> None:
        """End the process: mostly by a kill, which takes the disk away first, so that nothing that
        happens while its tasks unwind reaches it."""
        world = self._world
        self._group = self.runtime = None
        self.crashes += 1
        if self._random.random() < 0.7:
            stored = self._random.randint(0, world.journal.in_flight)
            world.journal = world.journal.crash(stored=stored)
            process.cancel()
            await asyncio.wait({process})
        else:
            process.cancel()
            await asyncio.wait({process})
            with suppress(AgentdError):
                await world.journal.close()
            world.journal = world.journal.crash()

    async def _serve(self) -> None:
        world = self._world
        outside = Outside(
            world.journal,
            SimModels(world),
            world.clock,
            world.entropy,
            self._tools,
            remembering=SimMemory(world),
        )
        runtime = Runtime(outside, self._limits)
        async with asyncio.TaskGroup() as group, runtime.serving():
            self._group, self.runtime = group, runtime
            await self._register(runtime)
            await asyncio.Event().wait()

    async def _register(self, runtime: Runtime) -> None:
        while True:
            try:
                await runtime.manifests.register(NAMESPACE, LOCAL)
            except AgentdError:
                await asyncio.sleep(0.1)
            else:
                return
