"""Which runs are in memory: admission, sessions, parking and recovery.

A run is in memory while a driver has it. A parked run is its identity and nothing else; whatever it
waits for brings it back. The runs of one session take place one after another.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from agentd.agent.events import Event, FailureReason, RunCancelling, RunFailure, RunState
from agentd.agent.ids import Namespace, RunId, RunIdentity, RunKey
from agentd.agent.state import State
from agentd.errors import AgentdError, Conflict, Reason, Unavailable
from agentd.log import bind, get_logger
from agentd.runtime.driver import Driver
from agentd.runtime.errands import Errands
from agentd.runtime.planning import Planner
from agentd.runtime.ports import Clock, Entropy, StoredRun
from agentd.runtime.posting import Posting, going_down
from agentd.runtime.surroundings import Surroundings
from agentd.runtime.timers import Timers
from agentd.runtime.turns import Turns

_log = get_logger()


class SchedulerLimits(msgspec.Struct, frozen=True):
    """The bounds of what is in memory."""

    max_active_runs: int = 10_000
    """Runs in memory at once; more wait for one of them to leave."""
    idle_eviction_s: float = 30.0
    """How long a run whose calls are all at hosts stays in memory."""
    sweep_s: float = 5.0
    rest_ms: int = 500
    """How long a run rests after the journal could not be written."""


class Scheduler:
    """Every run that has not ended. Lives on the event loop, owns the task group of the runs."""

    def __init__(
        self,
        around: Surroundings,
        timers: Timers,
        clock: Clock,
        entropy: Entropy,
        limits: SchedulerLimits,
    ) -> None:
        self._around = around
        self._planner = Planner(around)
        self._timers = timers
        self._clock = clock
        self._entropy = entropy
        self._limits = limits
        self._group: asyncio.TaskGroup
        self._drivers: dict[RunKey, Driver] = {}
        self._names: dict[tuple[Namespace, RunId], Driver] = {}
        self._unfinished: dict[RunKey, RunIdentity] = {}
        self._queue: deque[Driver] = deque()
        self._active = 0
        self._stopped = False
        """Whether the group of the runs takes no more tasks."""
        self._turns = Turns()
        self.errands = Errands()
        self.on_ended: Callable[[Driver], None] = lambda _: None
        """Called with the driver of a run that has ended, each time it leaves memory."""

    @property
    def unfinished_count(self) -> int:
        """The runs that have not ended."""
        return len(self._unfinished)

    @property
    def draining(self) -> bool:
        """Whether the daemon is going down."""
        return self._around.draining

    def unfinished(self) -> Sequence[RunIdentity]:
        """Return the runs that have not ended, oldest first."""
        return list(self._unfinished.values())

    def live(self, namespace: Namespace, run: RunId) -> Driver | None:
        """Return the driver of a run that is in memory."""
        driver = self._names.get((namespace, run))
        return driver if driver and driver.loaded else None

    # Life.

    async def serve(self, ready: Callable[[], None]) -> None:
        """Own the drivers until cancelled. Cancelling records nothing."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self.errands.enter(group)
            group.create_task(self._timers.keep(self._on_wake, self._on_overdue))
            group.create_task(self._evict_idle())
            ready()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._stopped = True
                self.errands.close()

    def know(self, run: RunIdentity) -> bool:
        """Count a run as unfinished; return whether no earlier run of its session comes first."""
        self._unfinished[run.key] = run
        return self._turns.take(run)

    def bring_back(self, stored: StoredRun) -> None:
        """Have a run of the journal in memory, unless it is or has ended meanwhile."""
        identity = stored.run.identity
        if identity.key in self._unfinished and identity.key not in self._drivers:
            self._start(self.driver(identity, stored))

    def driver(self, identity: RunIdentity, stored: StoredRun | None = None) -> Driver:
        """Return a new driver for a run; `stored` is what the index says of it, if it was read."""
        driver = Driver(self._around, self._planner, identity, stored)
        driver.held = self._turns.waits(identity)
        return driver

    def add(self, driver: Driver) -> None:
        """Take a run that was just created."""
        if self.know(driver.identity):
            self._start(driver)

    def post(self, run: RunIdentity, posting: Posting) -> None:
        """Hand a fact to a run, bringing it into memory when it is not."""
        driver = self._drivers.get(run.key)
        if driver:
            driver.post(posting)
            return
        driver = self.driver(run)
        driver.post(posting)
        self._start(driver)

    async def settle(
        self, run: RunIdentity, build: Callable[..., Event], *arguments: object
    ) -> int:
        """Record the event that `build(state, *arguments)` returns; return its revision once it is
        durable. Raises what `build` raises."""
        ack: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.post(run, Posting(build=build, arguments=arguments, ack=ack))
        return await ack

    def settle_soon(
        self, run: RunIdentity, build: Callable[..., Event], *arguments: object
    ) -> None:
        """The same without waiting; what `build` raises is dropped."""
        self.post(run, Posting(build=build, arguments=arguments))

    async def read_back(self, run: RunIdentity) -> None:
        """Have a run that has not ended in memory, and with it the leases of its calls."""
        if run.key in self._unfinished:
            with contextlib.suppress(_OnlyRead):
                await self.settle(run, _only_read)

    def wake(self, run: RunIdentity) -> None:
        """Have a run look again at what it is owed."""
        driver = self._drivers.get(run.key)
        if driver:
            driver.wake()
        elif run.key in self._unfinished:
            self._start(self.driver(run))

    async def drain(self, timeout_s: float) -> bool:
        """Start nothing new here or at a host, and wait until nothing is in progress inside this
        process; return whether that came about in time."""
        self._around.draining = True
        self._around.hosts.drain()
        for driver in self._drivers.values():
            driver.wake()
        try:
            async with asyncio.timeout(timeout_s):
                while any(driver.in_progress for driver in self._drivers.values()):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        return True

    # Memory.

    def _start(self, driver: Driver) -> None:
        if self._stopped:
            driver.refuse_all(going_down())
            return
        identity = driver.identity
        self._drivers[identity.key] = driver
        self._names[identity.namespace, identity.id] = driver
        if self._active >= self._limits.max_active_runs:
            self._queue.append(driver)
        else:
            self._activate(driver)

    def _activate(self, driver: Driver) -> None:
        self._active += 1
        self._group.create_task(self._drive(driver))

    async def _drive(self, driver: Driver) -> None:
        """Drive a run until it is parked or has ended. A fault in one run hurts no other."""
        with bind(run=driver.identity.id):
            try:
                await driver.drive()
                while driver.pending:
                    await driver.drive()
            except* Exception as group:  # noqa: BLE001 - whatever it is, the others go on
                self._fail(driver, _first(group))
            else:
                self._leave(driver)
        if self._queue and not self._stopped:
            self._activate(self._queue.popleft())

    def _leave(self, driver: Driver) -> None:
        """Forget a run that has ended or is parked."""
        self._remove(driver)
        if not driver.state.run.ended:
            return
        self.on_ended(driver)
        if self._unfinished.pop(driver.identity.key, None) == driver.identity:
            self._around.forget(driver.identity)
            self._timers.forget(driver.identity)
            self._let_begin(self._turns.leave(driver.identity))

    def _let_begin(self, run: RunIdentity | None) -> None:
        """Let a run begin that an earlier one of its session held."""
        if run is None:
            return
        driver = self._drivers.get(run.key)
        if driver:
            driver.held = False
            driver.wake()
        else:
            self._start(self.driver(run))

    def _remove(self, driver: Driver) -> None:
        identity = driver.identity
        self._active -= 1
        del self._drivers[identity.key]
        del self._names[identity.namespace, identity.id]

    def _fail(self, driver: Driver, error: BaseException) -> None:
        """Take a run off its broken driver. After a fault of the journal it is read back and goes
        on; after a fault of ours it is stopped, with an incident id."""
        run = driver.identity
        driver.refuse_all(error)
        driver.in_progress.give_back()
        self._remove(driver)
        for call in driver.state.calls:
            # What is read back may not be what was believed: leases are adopted anew with it.
            self._around.hosts.release(run, call.id)
        self._around.pass_on(run)
        if isinstance(error, Unavailable) or _disk_full(error):
            _log.warning("run_rests", error=str(error))
            self._timers.wake_at(run, self._clock.now_ms() + self._limits.rest_ms)
            return
        incident = self._entropy.id("i")
        _log.error("run_broke", incident=incident, exc_info=error)
        if driver.broken or not driver.loaded:
            return
        failure = RunFailure(FailureReason.INTERNAL, f"a fault of the daemon: incident {incident}")
        stop = RunCancelling(RunState.FAILED, "a fault of the daemon", failure=failure)
        successor = self.driver(run)
        successor.broken = True
        successor.post(Posting(stop))
        self._start(successor)

    # Time.

    def _on_wake(self, key: RunKey) -> None:
        run = self._unfinished.get(key)
        if run:
            self.wake(run)

    def _on_overdue(self, key: RunKey) -> None:
        run = self._unfinished.get(key)
        if run:
            message = "the budget's max_wall_time is used up"
            failure = RunFailure(FailureReason.BUDGET_WALL_TIME, message)
            self.post(run, Posting(RunCancelling(RunState.FAILED, message, failure=failure)))

    async def _evict_idle(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._limits.sweep_s)
            threshold = loop.time() - self._limits.idle_eviction_s
            for driver in list(self._drivers.values()):
                if 0 < driver.idle_since < threshold and not driver.in_progress:
                    driver.evict()


class _OnlyRead(Conflict):
    """There was no fact to record."""


def _only_read(_: State) -> Event:
    raise _OnlyRead(Reason.WRONG_RUN_STATE, "the run was only to be read back")


def _disk_full(error: BaseException) -> bool:
    return isinstance(error, AgentdError) and error.reason is Reason.DISK_FULL


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
