"""One simulation: a world, a daemon in it that is killed, everybody around it, and the verdict."""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from agentd.agent.ids import DEFAULT_AGENT
from agentd.runtime.ports import Selector
from tests.invariants import Broken
from tests.simulation.daemon import Daemon
from tests.simulation.deciders import Decider
from tests.simulation.hosts import SimHost
from tests.simulation.loop import VirtualLoop, in_order
from tests.simulation.people import SESSIONS, Creator, Meddler, Refused, Resolver, Watcher
from tests.simulation.tools import local_tools
from tests.simulation.verdict import check_idle, check_live, check_world, digest_of, unfinished
from tests.simulation.world import NAMESPACE, Blow, World

CHAOS_S = 120.0
"""Virtual seconds in which things go wrong."""
CALM_S = 7_200.0
"""Virtual seconds within which everything has to end once nothing goes wrong any more."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one simulation did."""

    seed: int
    runs: int
    events: int
    requests: int
    executions: int
    crashes: int
    callbacks: int
    virtual_s: float
    real_s: float
    digest: str
    """Of the whole journal: the same seed has the same."""


def simulate(seed: int, blow: Blow | None = None) -> Result:
    """Simulate from a seed. Raises Broken, naming the seed, when an invariant does not hold."""
    loop = VirtualLoop()
    start = time.perf_counter()
    simulation = Simulation(seed, loop, blow)
    gc.disable()  # When it closes what a crash left behind is chance too, and not seeded.
    try:
        with in_order(), simulation.listening():
            loop.run_until_complete(simulation.run())
            return simulation.result(time.perf_counter() - start)
    except Exception as error:
        at = f" with {blow}" if blow else ""
        raise Broken(f"seed {seed}{at}: {_first(error)!r}") from error
    finally:
        loop.close()
        gc.enable()


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Simulation:
    """A world and everybody in it."""

    def __init__(self, seed: int, loop: VirtualLoop, blow: Blow | None) -> None:
        self._loop = loop
        self.world = world = World(seed, loop, blow)
        self.daemon = daemon = Daemon(world, local_tools(world))
        places = (("alpha", 1), ("alpha", 2), ("beta", 1))
        self._hosts = [SimHost(world, daemon, toolset, number) for toolset, number in places]
        selectors = (
            Selector(NAMESPACE),
            Selector(NAMESPACE, session=SESSIONS[0]),
            Selector(NAMESPACE, agent=DEFAULT_AGENT),
        )
        self._watchers = [
            Watcher(world, daemon, f"watcher/{number}", selector)
            for number, selector in enumerate(selectors)
        ]
        self._random = world.chance("plot")

    async def run(self) -> None:
        """Let things go wrong, let them calm down, and judge."""
        async with asyncio.TaskGroup() as group:
            lives = [self.daemon.live(), *(host.live() for host in self._hosts)]
            lives += [watcher.watch() for watcher in self._watchers]
            tasks = [
                group.create_task(life)
                for life in (*lives, self._resolve(), self._decide(), self._look())
            ]
            await self._chaos()
            self.world.calm = True
            await self._settle()
            await check_world(self.world, self._watchers)
            if self.daemon.runtime:
                check_idle(self.daemon.runtime)
            for task in tasks:
                task.cancel()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take every fault that the daemon logs for a violation, and print nothing."""
        before = structlog.get_config()
        structlog.configure(processors=[self._hear])
        self._loop.set_exception_handler(self._hear_loop)
        try:
            yield
        finally:
            structlog.configure(**before)

    def result(self, real_s: float) -> Result:
        """Say what happened."""
        world = self.world
        return Result(
            seed=world.seed,
            runs=len(world.acknowledged.runs),
            events=world.journal.revision,
            requests=world.requests,
            executions=world.ledger.count,
            crashes=self.daemon.crashes,
            callbacks=self._loop.steps,
            virtual_s=self._loop.time(),
            real_s=real_s,
            digest=digest_of(world),
        )

    def _hear(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if event["event"] == "run_broke":
            self.world.violation(f"a run broke: {event['exc_info']!r}")
        raise structlog.DropEvent

    def _hear_loop(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.world.violation(f"{context['message']}: {context.get('exception')!r}")

    async def _chaos(self) -> None:
        """Create runs and meddle with them."""
        world, random = self.world, self._random
        creator = Creator(world, self.daemon, "creator")
        meddler = Meddler(world, self.daemon, "meddler")
        await creator.prepare()
        count = random.choice((3, 10, 25))
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(creator.create(number))
                while random.random() < 0.75:
                    await asyncio.sleep(random.random() * CHAOS_S / count)
                    if world.acknowledged.runs:
                        group.create_task(meddler.meddle(number))

    async def _resolve(self) -> None:
        resolver = Resolver(self.world, self.daemon, "resolver")
        while True:
            await asyncio.sleep(5.0)
            try:
                await resolver.resolve()
            except Refused:
                continue

    async def _decide(self) -> None:
        decider = Decider(self.world, self.daemon, "decider")
        while True:
            await asyncio.sleep(3.0)
            try:
                await decider.decide()
            except Refused:
                continue

    async def _look(self) -> None:
        """Compare what the daemon believes with its journal, again and again."""
        while True:
            await asyncio.sleep(1.7)
            if self.daemon.runtime:
                check_live(self.world, self.daemon.runtime)

    async def _settle(self) -> None:
        """Wait until every run has ended, and everybody has seen it."""
        deadline = self._loop.time() + CALM_S
        while left := await unfinished(self.world):
            if self._loop.time() > deadline:
                names = "\n".join(str(each) for each in left)
                raise Broken(f"{len(left)} runs never ended:\n{names}")
            await asyncio.sleep(5.0)
        await asyncio.sleep(30.0)
