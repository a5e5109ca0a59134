"""Which runs are in memory: admission, sessions, parking, timers and recovery.

A run is in memory while a driver has it. A parked run is its identity and nothing else; whatever it
waits for brings it back. The runs of one session take place one after another.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from agentd.agent.events import Event, FailureReason, RunCancelling, RunFailure, RunState
from agentd.agent.ids import Namespace, RunId, RunIdentity, RunKey, SessionId
from agentd.agent.state import State
from agentd.agent.tool import CallState
from agentd.errors import AgentdError, Reason, Unavailable
from agentd.runtime.driver import Driver, Posting, Surroundings
from agentd.runtime.ports import Clock, Entropy, StoredRun

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """The bounds of what is in memory."""

    max_active_runs: int = 10_000
    """Runs in memory at once; more stay PENDING, or parked, until one is done."""
    idle_eviction_s: float = 30.0
    """How long a run whose calls are all at hosts stays in memory."""
    sweep_s: float = 5.0
    retry_s: float = 0.5
    """How long a run rests after the journal could not be written."""


class Scheduler:
    """Every run that has not ended. Lives on the event loop, owns the task group of the runs."""

    def __init__(
        self,
        around: Surroundings,
        clock: Clock,
        entropy: Entropy,
        on_ended: Callable[[Driver], None],
        limits: SchedulerLimits | None = None,
    ) -> None:
        self._around = around
        self._clock = clock
        self._entropy = entropy
        self._on_ended = on_ended
        self._limits = limits or SchedulerLimits()
        self._group: asyncio.TaskGroup | None = None
        self._drivers: dict[RunKey, Driver] = {}
        self._names: dict[tuple[Namespace, RunId], Driver] = {}
        self._unfinished: dict[RunKey, RunIdentity] = {}
        self._queue: deque[Driver] = deque()
        self._active = 0
        self._sessions: dict[tuple[Namespace, SessionId], deque[RunIdentity]] = {}
        self._timers: list[tuple[int, RunKey]] = []
        self._deadlines: list[tuple[int, RunKey]] = []
        self._timer_changed = asyncio.Event()

    @property
    def unfinished_count(self) -> int:
        """The runs that have not ended."""
        return len(self._unfinished)

    def unfinished(self) -> Sequence[RunIdentity]:
        """Return the runs that have not ended, oldest first."""
        return list(self._unfinished.values())

    def live(self, namespace: Namespace, run: RunId) -> Driver | None:
        """Return the driver of a run that is in memory and loaded."""
        driver = self._names.get((namespace, run))
        return driver if driver and driver.loaded else None

    # Life.

    async def serve(self, ready: Callable[[], None]) -> None:
        """Own the drivers until cancelled. Cancelling records nothing."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._keep_time())
            group.create_task(self._evict_idle())
            ready()

    def recover(self, stored: Sequence[StoredRun]) -> None:
        """Take over the unfinished runs of the journal: parked ones stay parked."""
        for run in stored:
            identity = run.run.identity
            self._unfinished[identity.key] = identity
            if identity.session and not self._take_turn(identity):
                continue
            if not self._stays_parked(run):
                self._start(self.driver(identity))

    def add(self, driver: Driver) -> None:
        """Take a run that was just created."""
        identity = driver.identity
        self._unfinished[identity.key] = identity
        if identity.session and not self._take_turn(identity):
            return
        self._start(driver)

    def post(self, identity: RunIdentity, posting: Posting) -> None:
        """Hand a fact to a run, bringing it into memory when it is not."""
        driver = self._drivers.get(identity.key)
        if driver is None:
            driver = self.driver(identity)
            driver.post(posting)
            self._start(driver)
        else:
            driver.post(posting)

    def wake(self, identity: RunIdentity) -> None:
        """Have a run look again at what it is owed."""
        driver = self._drivers.get(identity.key)
        if driver:
            driver.wake()
        elif identity.key in self._unfinished:
            self._start(self.driver(identity))

    def wake_at(self, identity: RunIdentity, time_ms: int) -> None:
        """Have a run woken at a time in milliseconds since the epoch."""
        heapq.heappush(self._timers, (time_ms, identity.key))
        self._timer_changed.set()

    def watch_deadline(self, identity: RunIdentity, deadline_ms: int) -> None:
        """Stop the run when its wall time is used up."""
        heapq.heappush(self._deadlines, (deadline_ms, identity.key))
        self._timer_changed.set()

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is in progress inside this process; return whether that was so."""
        self._around.draining = True
        for driver in self._drivers.values():
            driver.wake()
        try:
            async with asyncio.timeout(timeout_s):
                while any(driver.local_work for driver in self._drivers.values()):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        return True

    # Inside.

    def _take_turn(self, identity: RunIdentity) -> bool:
        """Queue a run behind the earlier ones of its session; return whether it is first."""
        assert identity.session is not None
        place = (identity.namespace, identity.session)
        queue = self._sessions.setdefault(place, deque())
        queue.append(identity)
        return queue[0] is identity

    def _stays_parked(self, stored: StoredRun) -> bool:
        """Whether a recovered run waits for something that brings it back by itself."""
        state = stored.snapshot
        if state is None or stored.snapshot_sequence != stored.last_sequence:
            return False
        if any(call.state is CallState.LEASED or call.probing for call in state.calls):
            return False
        if state.run is RunState.PAUSED:
            return self._watch_wall_time(stored, state)
        if state.run is not RunState.WAITING:
            return False
        waits_for_host = any(call.state is CallState.QUEUED for call in state.calls)
        if waits_for_host or state.not_before_ms:
            return False
        return self._watch_wall_time(stored, state)

    def _watch_wall_time(self, stored: StoredRun, state: State) -> bool:
        if state.started and state.started.deadline_ms:
            self.watch_deadline(stored.run.identity, state.started.deadline_ms)
        return True

    def _start(self, driver: Driver) -> None:
        identity = driver.identity
        self._drivers[identity.key] = driver
        self._names[identity.namespace, identity.id] = driver
        if self._active >= self._limits.max_active_runs:
            self._queue.append(driver)
        else:
            self._activate(driver)

    def _activate(self, driver: Driver) -> None:
        self._active += 1
        assert self._group is not None
        self._group.create_task(self._drive(driver))

    async def _drive(self, driver: Driver) -> None:
        """Drive a run until it is parked or has ended. A fault in one run hurts no other."""
        identity = driver.identity
        with structlog.contextvars.bound_contextvars(run=identity.id):
            try:
                await driver.drive()
                while driver.pending:
                    await driver.drive()
            except* AgentdError as group:
                self._fail(driver, _first(group))
            except* Exception as group:
                self._fail(driver, _first(group))
            else:
                self._leave(driver)
        if self._queue:
            self._activate(self._queue.popleft())

    def _leave(self, driver: Driver) -> None:
        """Forget a run that has ended or is parked."""
        identity = driver.identity
        self._active -= 1
        del self._drivers[identity.key]
        del self._names[identity.namespace, identity.id]
        if not driver.state.run.ended:
            return
        self._unfinished.pop(identity.key, None)
        self._around.hosts.forget(identity)
        self._on_ended(driver)
        if identity.session:
            self._next_of_session(identity)

    def _next_of_session(self, identity: RunIdentity) -> None:
        assert identity.session is not None
        place = (identity.namespace, identity.session)
        queue = self._sessions.get(place)
        if not queue or identity not in queue:
            return
        queue.remove(identity)
        if not queue:
            del self._sessions[place]
            return
        driver = self._drivers.get(queue[0].key)
        if driver is None:
            self._start(self.driver(queue[0]))
        else:
            driver.held = False
            driver.wake()

    def driver(self, identity: RunIdentity) -> Driver:
        """Return a new driver for a run."""
        driver = Driver(self._around, identity)
        if identity.session:
            queue = self._sessions.get((identity.namespace, identity.session))
            driver.held = bool(queue) and queue is not None and identity in list(queue)[1:]
        return driver

    def _fail(self, driver: Driver, error: BaseException) -> None:
        """Take a run off its broken driver. After a journal fault it is read back and goes on;
        after a fault of ours it is stopped with an incident id."""
        identity = driver.identity
        driver.refuse_all(error)
        self._active -= 1
        del self._drivers[identity.key]
        del self._names[identity.namespace, identity.id]
        if isinstance(error, Unavailable) or _disk_full(error):
            _log.warning("run_rests", run=identity.id, error=str(error))
            due = self._clock.now_ms() + int(self._limits.retry_s * 1000)
            self.wake_at(identity, due)
            return
        incident = self._entropy.id("i")
        _log.error("run_broke", run=identity.id, incident=incident, exc_info=error)
        if driver.broken or not driver.loaded:
            return
        failure = RunFailure(FailureReason.INTERNAL, f"a fault of the daemon: incident {incident}")
        stop = RunCancelling(RunState.FAILED, "a fault of the daemon", failure=failure)
        successor = self.driver(identity)
        successor.broken = True
        successor.post(Posting(stop))
        self._start(successor)

    async def _keep_time(self) -> None:
        """Wake runs and stop overdue ones at their times."""
        while True:
            self._timer_changed.clear()
            now = self._clock.now_ms()
            while self._timers and self._timers[0][0] <= now:
                identity = self._unfinished.get(heapq.heappop(self._timers)[1])
                if identity:
                    self.wake(identity)
            while self._deadlines and self._deadlines[0][0] <= now:
                identity = self._unfinished.get(heapq.heappop(self._deadlines)[1])
                if identity:
                    self.post(identity, Posting(_overdue()))
            due = [heap[0][0] for heap in (self._timers, self._deadlines) if heap]
            delay_s = max(min(due) - now, 1) / 1000 if due else None
            try:
                async with asyncio.timeout(delay_s):
                    await self._timer_changed.wait()
            except TimeoutError:
                pass

    async def _evict_idle(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._limits.sweep_s)
            threshold = loop.time() - self._limits.idle_eviction_s
            for driver in list(self._drivers.values()):
                if driver.idle_since and driver.idle_since < threshold and not driver.local_work:
                    driver.evict()


def _overdue() -> Event:
    message = "the budget's max_wall_time is used up"
    failure = RunFailure(FailureReason.BUDGET_WALL_TIME, message)
    return RunCancelling(RunState.FAILED, message, failure=failure)


def _disk_full(error: BaseException) -> bool:
    return isinstance(error, AgentdError) and error.reason is Reason.DISK_FULL


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
