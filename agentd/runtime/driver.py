"""Drive one run: fold facts, record them, and carry out what the machine wants done.

The order is the law of the house: a fact that cannot follow is refused before it is recorded, is
recorded before it is believed, and is believed before it is acted on. What is in progress inside this
process is a task of the driver's own group; cancelling the driver records nothing, so that a restart
resumes the run, while a user's cancel is a fact like any other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import structlog

from agentd.agent.effects import (
    AskModel,
    Begin,
    CloseCall,
    Effect,
    End,
    ProbeCall,
    StartCall,
    StopCall,
    Wait,
)
from agentd.agent.events import (
    CallEnded,
    CallLeased,
    CallLost,
    CallProbed,
    CallRetried,
    CallUnknown,
    Event,
    ModelLost,
    ModelRequested,
    RunCancelling,
    RunEnded,
    RunFailure,
    RunPaused,
    RunResumed,
    RunStarted,
    RunState,
    RunWaiting,
    WaitReason,
    FailureReason,
)
from agentd.agent.hosting import Invocation, InvocationKind, Outcome
from agentd.agent.ids import LOCAL_HOST, HostId, RunId, RunIdentity
from agentd.agent.run import RunView
from agentd.agent.spec import RunSpec
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallErrorReason, CallState, Tool
from agentd.context.transcript import Transcript
from agentd.errors import AgentdError
from agentd.protocol.calls import fact_of
from agentd.protocol.direct import decide
from agentd.protocol.machine import evolve, interrupted, without_outcome
from agentd.runtime.asking import Asking
from agentd.runtime.hosts import Hosts
from agentd.runtime.ports import Checkpoint, Clock, Journal, StoredRun
from agentd.tools.registry import Registry

SNAPSHOT_EVERY = 256
"""Events after which a run's state is stored again, so that recovery reads a bounded stretch."""
MAX_PLANS = 1_000
"""Rounds of immediate effects in one turn of a driver; more means that the machine is wrong."""

_LIFE_CYCLE = (RunStarted, RunWaiting, RunPaused, RunResumed, RunCancelling, RunEnded)
_LEASE_ENDS = (CallEnded, CallLost, CallUnknown, CallRetried)

_log = structlog.get_logger()

LocalTool = Callable[[Invocation], Awaitable[Outcome]]
"""A tool that runs in the daemon's own process."""


class Posting:
    """A fact on its way to a run: an event, or a function that makes one of the present state."""

    __slots__ = ("ack", "arguments", "build", "event")

    def __init__(
        self,
        event: Event | None = None,
        build: Callable[..., Event] | None = None,
        arguments: tuple[object, ...] = (),
        ack: asyncio.Future[int] | None = None,
    ) -> None:
        self.event = event
        self.build = build
        self.arguments = arguments
        self.ack = ack
        """Resolved with the event's revision once it is durable, or with why it was refused."""

    def make(self, state: State) -> Event:
        """Return the event for the present state. Raises what `build` raises."""
        if self.event is not None:
            return self.event
        assert self.build is not None
        return self.build(state, *self.arguments)

    def refuse(self, error: BaseException) -> None:
        """Say why the fact was not recorded."""
        if self.ack and not self.ack.done():
            self.ack.set_exception(error)

    def accept(self, revision: int) -> None:
        """Say that the fact is durable."""
        if self.ack and not self.ack.done():
            self.ack.set_result(revision)


class Surroundings:
    """What every driver of a daemon shares."""

    __slots__ = (
        "asking",
        "boundary",
        "clock",
        "delay_wake",
        "draining",
        "watch_deadline",
        "hosts",
        "journal",
        "load_transcript",
        "local_tools",
        "registry",
        "resolve_start",
    )

    def __init__(
        self,
        *,
        journal: Journal,
        asking: Asking,
        hosts: Hosts,
        registry: Registry,
        clock: Clock,
        local_tools: dict[str, LocalTool],
        load_transcript: Callable[[RunIdentity, RunId | None], Awaitable[Transcript]],
        resolve_start: Callable[[RunIdentity, RunSpec], Awaitable[RunStarted]],
        boundary: Callable[[str], None] | None = None,
    ) -> None:
        self.journal = journal
        self.asking = asking
        self.hosts = hosts
        self.registry = registry
        self.clock = clock
        self.local_tools = local_tools
        """By `toolset/tool`."""
        self.load_transcript = load_transcript
        """Of a run, given the run of its session that it continues."""
        self.resolve_start = resolve_start
        self.boundary = boundary
        """Called at the points where a crash is tested."""
        self.delay_wake: Callable[[RunIdentity, int], None]
        """Has a run woken at a time in milliseconds since the epoch."""
        self.watch_deadline: Callable[[RunIdentity, int], None]
        """Has a run stopped at a time in milliseconds since the epoch."""
        self.draining = False
        """Whether nothing new may start."""

    def connect(
        self,
        delay_wake: Callable[[RunIdentity, int], None],
        watch_deadline: Callable[[RunIdentity, int], None],
    ) -> None:
        """Join the timers, which need the drivers themselves."""
        self.delay_wake = delay_wake
        self.watch_deadline = watch_deadline


@dataclass(slots=True)
class _Start:
    """An effect whose intent is being recorded, with what was taken for it."""

    effect: AskModel | StartCall | ProbeCall | StopCall | Begin
    host: HostId | None = None


class Driver:
    """One run while it is in memory."""

    __slots__ = (
        "_around",
        "_group",
        "_inbox",
        "_stopping",
        "_tasks",
        "_wakeup",
        "_woken",
        "broken",
        "held",
        "idle_since",
        "identity",
        "loaded",
        "sequence",
        "snapshot_sequence",
        "spec",
        "state",
        "transcript",
        "view",
    )

    def __init__(self, around: Surroundings, identity: RunIdentity) -> None:
        self._around = around
        self.identity = identity
        self.spec: RunSpec
        self.state = State()
        self.view = RunView()
        self.sequence = 0
        self.snapshot_sequence = 0
        self.transcript: Transcript | None = None
        self.idle_since = 0.0
        """When the driver last had nothing to do, in the loop's time; 0 before, negative when it
        was asked to leave."""
        self.loaded = False
        self.held = False
        """Whether an earlier run of its session comes first."""
        self.broken = False
        """Whether it takes over from a driver that hit a fault of ours."""
        self._inbox: list[Posting] = []
        self._wakeup: asyncio.Future[None] | None = None
        self._woken = False
        """Whether something has changed since the last turn began."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[str] = set()
        self._group: asyncio.TaskGroup

    # What others call, on the event loop.

    def fresh(self, stored: StoredRun, state: State, transcript: Transcript) -> None:
        """Take a run that was just created, so that nothing has to be read back."""
        self.spec = stored.run.spec
        self.view = stored.run.view
        self.state = state
        self.sequence = stored.last_sequence
        self.transcript = transcript
        self.loaded = True

    def post(self, posting: Posting) -> None:
        """Hand a fact to the run."""
        if self._around.boundary:
            self._around.boundary("received")
        self._inbox.append(posting)
        self.wake()

    def wake(self) -> None:
        """Have the run look again at what it is owed."""
        self._woken = True
        if self._wakeup and not self._wakeup.done():
            self._wakeup.set_result(None)

    @property
    def pending(self) -> bool:
        """Whether facts wait for the run."""
        return bool(self._inbox)

    @property
    def local_work(self) -> bool:
        """Whether something is in progress inside this process."""
        return bool(self._tasks)

    def refuse_all(self, error: BaseException) -> None:
        """Tell everybody who waits that their facts were not recorded."""
        inbox, self._inbox = self._inbox, []
        for posting in inbox:
            posting.refuse(error)

    # The life of a driver.

    async def drive(self) -> None:
        """Drive the run until it has ended or can be parked."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            recovered = [] if self.loaded else await self._load()
            self._woken = False
            await self._turn([Posting(event) for event in recovered])
            while self._woken or self._inbox or not self._parkable():
                if not self._woken and not self._inbox:
                    await self._sleep()
                self._woken = False
                postings, self._inbox = self._inbox, []
                await self._turn(postings)

    def evict(self) -> None:
        """End `drive` although calls are still leased: their outcomes bring the run back."""
        self.idle_since = -1.0
        self.wake()

    async def _sleep(self) -> None:
        loop = asyncio.get_running_loop()
        self.idle_since = loop.time()
        self._wakeup = loop.create_future()
        try:
            await self._wakeup
        finally:
            self._wakeup = None

    def _parkable(self) -> bool:
        if self._tasks:
            return False
        state = self.state
        if state.run is RunState.PENDING and self.held:
            return True
        if state.run.ended or state.run in (RunState.WAITING, RunState.PAUSED):
            return not any(call.state is CallState.LEASED for call in state.calls)
        return self.idle_since < 0 or self._around.draining

    async def _load(self) -> tuple[Event, ...]:
        """Fold the run from its snapshot and the events after it; return what a restart records."""
        journal = self._around.journal
        stored = await journal.get_run(self.identity.namespace, self.identity.id)
        assert stored is not None
        state = stored.snapshot or State()
        entries = await journal.read_run(
            self.identity, after_sequence=stored.snapshot_sequence if stored.snapshot else 0
        )
        for entry in entries:
            state = evolve(state, entry.event)
        self.spec = stored.run.spec
        self.view = stored.run.view
        self.state = state
        self.sequence = entries[-1].sequence if entries else stored.last_sequence
        self.snapshot_sequence = stored.snapshot_sequence
        self.loaded = True
        self.idle_since = 0.0
        if state.started and state.started.deadline_ms and not state.run.ended:
            self._around.watch_deadline(self.identity, state.started.deadline_ms)
        if any(self._hosted(call) for call in state.calls):
            await self._need_transcript(state)
            self._adopt_leases()
        return interrupted(state)

    @staticmethod
    def _hosted(call: OpenCall) -> bool:
        in_progress = call.state is CallState.LEASED or call.probing
        return in_progress and call.host != LOCAL_HOST

    def _adopt_leases(self) -> None:
        for call in self.state.calls:
            if self._hosted(call) and call.host:
                kind = InvocationKind.RECONCILE if call.probing else InvocationKind.EXECUTE
                tool = self._tool(call)
                invocation = self._invocation(call, kind, call.deadline_ms)
                self._around.hosts.adopt(self.identity, call.host, tool, invocation)

    async def _need_transcript(self, state: State) -> None:
        """Load the transcript as of the newest recorded event, unless it is there."""
        if self.transcript is None:
            previous = state.started.previous_run if state.started else None
            self.transcript = await self._around.load_transcript(self.identity, previous)

    # One turn: facts in, facts recorded, effects started.

    async def _turn(self, postings: Sequence[Posting]) -> None:
        state = self.state
        events: list[Event] = []
        accepted: list[Posting] = []
        for posting in postings:
            try:
                event = posting.make(state)
                state = evolve(state, event)
            except AgentdError as error:
                posting.refuse(error)
            else:
                events.append(event)
                accepted.append(posting)
        starts: list[_Start] = []
        try:
            state = self._plan(state, events, starts)
            if any(isinstance(event, RunStarted) and event.previous_run for event in events):
                self.transcript = None
            if any(not isinstance(start.effect, Begin | StopCall) for start in starts):
                await self._need_transcript(state)
            if events:
                await self._record(state, events, starts, accepted)
        except BaseException as error:
            self._give_back(starts)
            for posting in accepted:
                posting.refuse(error)
            raise
        self._stop_unowed()
        for start in starts:
            self._begin(start)

    def _plan(self, state: State, events: list[Event], starts: list[_Start]) -> State:
        """Add the events that the owed effects begin with, until none is owed that can begin."""
        blocked: RunWaiting | None = None
        for _ in range(MAX_PLANS):
            before = len(events)
            blocked = None
            for effect in decide(state):
                event, start, wait = self._intent(state, effect)
                blocked = blocked or wait
                if start:
                    starts.append(start)
                if event:
                    state = evolve(state, event)
                    events.append(event)
            if len(events) == before:
                break
        else:
            raise RuntimeError("the machine never comes to rest")
        if blocked and not self._busy(state, starts) and state.waiting != blocked:
            state = evolve(state, blocked)
            events.append(blocked)
        return state

    def _busy(self, state: State, starts: Sequence[_Start]) -> bool:
        """Whether something is in progress, here or at a host."""
        if self._tasks or starts or state.in_flight:
            return True
        return any(call.state is CallState.LEASED or call.probing for call in state.calls)

    def _intent(
        self, state: State, effect: Effect
    ) -> tuple[Event | None, _Start | None, RunWaiting | None]:
        """Return the event that an effect begins with, what is started once it is durable, and what
        keeps it from beginning."""
        if self._around.draining and not isinstance(effect, CloseCall | StopCall | End | Wait):
            return None, None, None
        match effect:
            case AskModel():
                return self._intend_request(state, effect)
            case StartCall():
                return self._intend_call(state, effect)
            case CloseCall(call=call, attempt=attempt):
                ended = CallEnded(call, attempt, effect.state, error=effect.error)
                return ended, None, None
            case End():
                return self._intend_end(state, effect), None, None
            case ProbeCall():
                return self._intend_probe(state, effect)
            case Wait(reason=reason, detail=detail):
                return None, None, RunWaiting(reason, detail)
            case Begin() if self.held:
                return None, None, None
            case Begin() | StopCall():
                started = effect.key in self._tasks or effect.key in self._stopping
                return None, None if started else _Start(effect), None
            case _:
                assert_never(effect)

    def _intend_request(
        self, state: State, effect: AskModel
    ) -> tuple[Event | None, _Start | None, RunWaiting | None]:
        if state.in_flight:
            return None, None, None
        if effect.not_before_ms > self._around.clock.now_ms():
            self._around.delay_wake(self.identity, effect.not_before_ms)
            return None, None, RunWaiting(WaitReason.TIMER, f"attempt {effect.attempt}")
        event = ModelRequested(effect.turn, effect.attempt, effect.model, effect.reservation)
        return event, _Start(effect), None

    def _intend_call(
        self, state: State, effect: StartCall
    ) -> tuple[Event | None, _Start | None, RunWaiting | None]:
        call = state.call(effect.call)
        if call is None or call.state is CallState.LEASED:
            return None, None, None
        host = self._host_for(call)
        if host is None:
            return None, None, RunWaiting(WaitReason.HOST, call.path)
        token = "" if host == LOCAL_HOST else self._around.hosts.new_token(host)
        deadline_ms = self._around.clock.now_ms() + self._tool(call, state).timeout_ms
        event = CallLeased(call.id, effect.attempt, host, token, deadline_ms)
        return event, _Start(effect, host), None

    def _intend_probe(
        self, state: State, effect: ProbeCall
    ) -> tuple[Event | None, _Start | None, RunWaiting | None]:
        call = state.call(effect.call)
        if call is None or call.probing:
            return None, None, None
        host = self._host_for(call)
        if host is None:
            return None, None, RunWaiting(WaitReason.HOST, call.path)
        token = "" if host == LOCAL_HOST else self._around.hosts.new_token(host)
        deadline_ms = self._around.clock.now_ms() + self._tool(call, state).timeout_ms
        event = CallProbed(call.id, effect.attempt, host, token, deadline_ms)
        return event, _Start(effect, host), None

    def _intend_end(self, state: State, effect: End) -> Event:
        return RunEnded(
            effect.state, effect.output, effect.failure, state.usage, effect.cancel_entries
        )

    def _host_for(self, call: OpenCall) -> HostId | None:
        if call.path in self._around.local_tools:
            return LOCAL_HOST
        return self._around.hosts.acquire(self.identity, call.path)

    async def _record(
        self,
        state: State,
        events: Sequence[Event],
        starts: Sequence[_Start],
        accepted: Sequence[Posting],
    ) -> None:
        now = self._around.clock.now_ms()
        view = self._view_after(state, events, now)
        checkpoint = None
        sequence = self.sequence + len(events)
        if any(isinstance(event, _LIFE_CYCLE) for event in events):
            parked = state.run in (RunState.WAITING, RunState.PAUSED)
            checkpoint = Checkpoint(view, state if parked else None)
        if sequence - self.snapshot_sequence >= SNAPSHOT_EVERY and not state.run.ended:
            checkpoint = Checkpoint(view, state)
        entries = await self._around.journal.append(
            self.identity, self.sequence, events, checkpoint
        )
        self.sequence = sequence
        self.state = state
        self.view = view
        if checkpoint and checkpoint.state:
            self.snapshot_sequence = sequence
        if self.transcript:
            for event in events:
                self.transcript.add(event)
        for posting, entry in zip(accepted, entries, strict=False):
            posting.accept(entry.revision)
        for event in events:
            if isinstance(event, _LEASE_ENDS):
                self._around.hosts.release(self.identity, event.call)
            elif isinstance(event, RunStarted) and event.deadline_ms:
                self._around.watch_deadline(self.identity, event.deadline_ms)

    def _view_after(self, state: State, events: Sequence[Event], now: int) -> RunView:
        """Return how the run stands after life-cycle events."""
        view = self.view
        flight = state.in_flight.reservation if state.in_flight else None
        changed = view.state is not state.run
        ended = next((event for event in events if isinstance(event, RunEnded)), None)
        starts = any(isinstance(event, RunStarted) for event in events)
        return RunView(
            state=state.run,
            last_sequence=self.sequence + len(events),
            wait_reason=state.waiting.reason if state.waiting else None,
            wait_detail=state.waiting.detail if state.waiting else "",
            output=ended.output if ended else view.output,
            failure=ended.failure if ended else view.failure,
            usage=state.usage,
            reserved_tokens=flight.tokens if flight else 0,
            reserved_cost_nanos=flight.cost_nanos if flight else 0,
            start_time_ms=now if starts else view.start_time_ms,
            end_time_ms=now if ended else view.end_time_ms,
            update_time_ms=now if changed else view.update_time_ms,
        )

    def _give_back(self, starts: Sequence[_Start]) -> None:
        for start in starts:
            if start.host and start.host != LOCAL_HOST:
                self._around.hosts.give_back(self.identity, start.host)

    # Effects in progress.

    def _begin(self, start: _Start) -> None:
        effect = start.effect
        boundary = self._around.boundary
        if boundary:
            boundary("recorded")
        match effect:
            case AskModel():
                self._spawn(effect.key, self._ask(effect))
            case Begin():
                self._spawn(effect.key, self._resolve())
            case StopCall():
                self._stop_call(effect)
            case StartCall() | ProbeCall():
                self._spawn_call(effect, start.host)
            case _:
                assert_never(effect)
        if boundary:
            boundary("dispatched")

    def _spawn_call(self, effect: StartCall | ProbeCall, host: HostId | None) -> None:
        call = self.state.call(effect.call)
        assert call is not None
        assert host is not None
        probe = isinstance(effect, ProbeCall)
        kind = InvocationKind.RECONCILE if probe else InvocationKind.EXECUTE
        if host == LOCAL_HOST:
            self._spawn(effect.key, self._execute(call, kind))
        else:
            invocation = self._invocation(call, kind, call.deadline_ms)
            self._around.hosts.lease(self.identity, host, self._tool(call), invocation)

    def _spawn(self, key: str, work: Any) -> None:
        task = self._group.create_task(self._perform(key, work))
        self._tasks[key] = task

    async def _perform(self, key: str, work: Awaitable[Event | None]) -> None:
        """Turn work into exactly one fact. Stopped by the machine, it is a fact that nobody knows
        its outcome; stopped by a shutdown, it is none."""
        event: Event | None = None
        try:
            event = await work
        except asyncio.CancelledError:
            if key in self._stopping:
                event = self._stopped(key)
            raise
        finally:
            self._tasks.pop(key, None)
            self._stopping.discard(key)
            if event is not None:
                self.post(Posting(event))
            else:
                self.wake()

    def _stop_unowed(self) -> None:
        """Cancel what the machine no longer wants."""
        if not self._tasks:
            return
        owed = {effect.key for effect in decide(self.state)}
        for key, task in self._tasks.items():
            if key not in owed and key not in self._stopping:
                self._stopping.add(key)
                task.cancel()

    def _stopped(self, key: str) -> Event | None:
        """Return the fact for work that was stopped because the machine no longer wants it."""
        flight = self.state.in_flight
        if flight and key == f"turn-{flight.turn}.{flight.attempt}":
            return ModelLost(flight.turn, flight.attempt, "the run was cancelled")
        for call in self.state.calls:
            if key in (f"call-{call.id}.{call.attempt}", f"probe-{call.id}.{call.attempt}"):
                reason = CallErrorReason.CANCELLED
                return without_outcome(call, reason, "the run was cancelled")
        return None

    def _stop_call(self, effect: StopCall) -> None:
        call = self.state.call(effect.call)
        assert call is not None
        assert self.state.stopping is not None
        self._stopping.add(effect.key)
        if call.host != LOCAL_HOST:
            stopping = self.state.stopping
            self._around.hosts.stop(
                self.identity,
                call.id,
                stopping.reason or "the run was cancelled",
                stopping.timeout_ms,
            )

    async def _ask(self, effect: AskModel) -> Event:
        assert self.transcript is not None
        return await self._around.asking.ask(self, effect, self.transcript)

    async def _resolve(self) -> Event:
        try:
            return await self._around.resolve_start(self.identity, self.spec)
        except AgentdError as error:
            failure = RunFailure(FailureReason.NOT_FOUND, error.message)
            return RunEnded(RunState.FAILED, failure=failure)

    async def _execute(self, call: OpenCall, kind: InvocationKind) -> Event:
        """Run a tool of the daemon's own process."""
        invocation = self._invocation(call, kind, call.deadline_ms)
        tool = self._around.local_tools[call.path]
        try:
            async with asyncio.timeout(self._tool(call).timeout_ms / 1000):
                outcome = await tool(invocation)
        except TimeoutError:
            return without_outcome(call, CallErrorReason.TIMEOUT, "the tool did not end in time")
        present = self.state.call(call.id) or call
        return fact_of(present, outcome, stopping=self.state.stopping is not None)

    def _tool(self, call: OpenCall, state: State | None = None) -> Tool:
        started = (state or self.state).started
        assert started is not None
        granted = next(tool for tool in started.tools if tool.path == call.path)
        return self._around.registry.by_digest(granted.digest)

    def _invocation(self, call: OpenCall, kind: InvocationKind, deadline_ms: int) -> Invocation:
        assert self.transcript is not None
        run = self.identity
        return Invocation(
            run=run.id,
            call=call.id,
            kind=kind,
            tool=call.path,
            arguments_json=self.transcript.arguments(call.id),
            attempt=call.attempt,
            token=call.token,
            idempotency_key=f"runs/{run.id}/calls/{call.id}",
            deadline_ms=deadline_ms,
            lease_expire_time_ms=0,
        )
