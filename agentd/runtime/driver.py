"""Drive one run: fold facts, record them, and carry out what the machine wants done.

The order is the law of the house: a fact that cannot follow is refused before it is recorded, is
recorded before it is believed, and is believed before it is acted on. Cancelling a driver records
nothing, so that a restart resumes the run; a user's cancel is a fact like any other.
"""

import asyncio
from collections.abc import Sequence

from agentd.agent.effects import Begin, Recall, Remember, StopCall
from agentd.agent.events import (
    CallEnded,
    CallLost,
    CallRetried,
    CallUnknown,
    Event,
    RunStarted,
    RunState,
)
from agentd.agent.ids import RunIdentity
from agentd.agent.run import Run, RunView, view_of
from agentd.agent.spec import RunSpec
from agentd.agent.state import State
from agentd.agent.tool import CallState
from agentd.context.transcript import Transcript
from agentd.errors import AgentdError
from agentd.protocol.machine import evolve, interrupted
from agentd.runtime.loading import load
from agentd.runtime.planning import Plan, Planner
from agentd.runtime.ports import Checkpoint, StoredRun
from agentd.runtime.posting import Posting, going_down
from agentd.runtime.questions import asks, documents_of
from agentd.runtime.redacting import redacted
from agentd.runtime.surroundings import Surroundings
from agentd.runtime.work import Work, hosted
from agentd.tools.toolkit import Toolkit

SNAPSHOT_EVERY = 256
"""Events after which a run's state is stored again, so that recovery reads a bounded stretch."""

_WITHOUT_TRANSCRIPT = (Begin, StopCall, Recall, Remember)
_LEASE_ENDS = (CallEnded, CallLost, CallUnknown, CallRetried)


class Driver:
    """One run while it is in memory."""

    __slots__ = (
        "_around",
        "_evicted",
        "_inbox",
        "_planner",
        "_snapshot_sequence",
        "_stored",
        "_toolkit",
        "_view",
        "_wakeup",
        "_woken",
        "broken",
        "held",
        "identity",
        "idle_since",
        "in_progress",
        "loaded",
        "sequence",
        "spec",
        "state",
        "transcript",
    )

    def __init__(
        self,
        around: Surroundings,
        planner: Planner,
        identity: RunIdentity,
        stored: StoredRun | None = None,
    ) -> None:
        self._stored = stored
        self._around = around
        self._planner = planner
        self.identity = identity
        self.spec: RunSpec
        self.state = State()
        self.sequence = 0
        """The sequence of the newest event that is durable and believed."""
        self.transcript: Transcript | None = None
        """None until a model or a tool needs it."""
        self.loaded = False
        self.held = False
        """Whether an earlier run of its session comes first."""
        self.broken = False
        """Whether it takes over from a driver that hit a fault of ours."""
        self.idle_since = 0.0
        """When the driver last had nothing to do, in the loop's time."""
        self._view = RunView()
        self._snapshot_sequence = 0
        self._evicted = False
        self._inbox: list[Posting] = []
        self._wakeup: asyncio.Future[None] | None = None
        self._woken = False
        """Whether something has changed since the last turn began."""
        self._toolkit: Toolkit | None = None
        self.in_progress = Work(around, self)
        """The effects that are in progress inside this process."""

    def begin_fresh(self, run: Run, state: State, transcript: Transcript) -> None:
        """Take a run that was just created, so that nothing has to be read back."""
        self.spec = run.spec
        self._view = run.view
        self.state = state
        self.sequence = run.view.last_sequence
        self.transcript = transcript
        self.loaded = True

    @property
    def run(self) -> Run:
        """The run as it stands."""
        return Run(self.identity, self.spec, view_of(self.state, self._view, self.sequence))

    @property
    def toolkit(self) -> Toolkit:
        """The run's tools."""
        if self._toolkit is None:
            assert self.state.started is not None
            self._toolkit = self._around.toolkit(self.state.started.tools)
        return self._toolkit

    @property
    def pending(self) -> bool:
        """Whether facts wait for the run."""
        return bool(self._inbox)

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

    def evict(self) -> None:
        """End `drive` although hosts have calls of the run: their outcomes bring it back."""
        self._evicted = True
        self.wake()

    def refuse_all(self, error: BaseException) -> None:
        """Tell everybody who waits that their facts were not recorded."""
        inbox, self._inbox = self._inbox, []
        for posting in inbox:
            posting.refuse(error)

    async def drive(self) -> None:
        """Drive the run until it has ended or can be parked."""
        self._evicted = False
        async with asyncio.TaskGroup() as group:
            self.in_progress.enter(group)
            lost = () if self.loaded else await self._load()
            self._woken = False
            await self._turn([Posting(event) for event in lost])
            while self._woken or self._inbox or not self._parkable():
                if not self._woken and not self._inbox:
                    await self._sleep()
                self._woken = False
                postings, self._inbox = self._inbox, []
                await self._turn(postings)

    async def _sleep(self) -> None:
        loop = asyncio.get_running_loop()
        self.idle_since = loop.time()
        self._wakeup = loop.create_future()
        try:
            await self._wakeup
        finally:
            self._wakeup = None

    def _parkable(self) -> bool:
        """Whether nothing here is lost when the run leaves memory, and something outside brings it
        back."""
        if self.in_progress:
            return False
        state = self.state
        if state.run.ended or self._evicted or self._around.draining:
            return True
        if state.run is RunState.PENDING:
            return self.held
        waits = state.run in (RunState.WAITING, RunState.PAUSED)
        return waits and not any(call.state is CallState.LEASED for call in state.calls)

    async def _load(self) -> tuple[Event, ...]:
        """Bring the run back from the journal; return what a restart records."""
        loaded = await load(self._around.journal, self.identity, self._stored)
        self._stored = None
        state = self.state = loaded.state
        self.spec = loaded.spec
        self.sequence = loaded.sequence
        self._view = loaded.view
        self._snapshot_sequence = loaded.snapshot_sequence
        self.transcript = loaded.transcript
        self.loaded = True
        if state.started and state.started.deadline_ms and not state.run.ended:
            self._around.watch_deadline(self.identity, state.started.deadline_ms)
        if any(hosted(call) for call in state.calls):
            await self._need_transcript(state)
            self.in_progress.adopt_leases()
        return interrupted(state)

    async def _need_transcript(self, state: State) -> None:
        """Load the transcript as of the newest recorded event, unless it is there."""
        if self.transcript is None:
            previous = state.started.previous_run if state.started else None
            self.transcript = await self._around.starting.transcript(self.identity, previous)

    async def _turn(self, postings: Sequence[Posting]) -> None:
        state = self.state
        events: list[Event] = []
        accepted: list[Posting] = []
        for posting in postings:
            try:
                event = posting.make(state)
                if self._around.redact:
                    event = redacted(event, self._around.redact)
                state = evolve(state, event)
            except AgentdError as error:
                posting.refuse(error)
            else:
                events.append(event)
                accepted.append(posting)
        plan = self._planner.plan(self, state, events)
        try:
            if self.transcript is None or self.state.started is None:
                await self._prepare(plan, events)
            if events:
                await self._record(plan, events, accepted)
        except BaseException as error:
            self._planner.give_back(self, plan)
            refusal = going_down() if isinstance(error, asyncio.CancelledError) else error
            for posting in accepted:
                posting.refuse(refusal)
            raise
        if self.in_progress:
            self.in_progress.stop_unowed(plan.owed)
        for start in plan.starts:
            self.in_progress.begin(start)

    async def _prepare(self, plan: Plan, events: Sequence[Event]) -> None:
        """Have the transcript there for what is about to be started or asked."""
        started = plan.state.started
        if started and started.previous_run and self.state.started is None:
            self.transcript = None
        needed = any(not isinstance(start.effect, _WITHOUT_TRANSCRIPT) for start in plan.starts)
        if (needed or asks(events)) and self.transcript is None:
            await self._need_transcript(plan.state)

    async def _record(
        self, plan: Plan, events: Sequence[Event], accepted: Sequence[Posting]
    ) -> None:
        """Make events durable, then believe them."""
        view, checkpoint = self._checkpoint(plan.state, self.sequence + len(events))
        records = documents_of(self, events, self._around.clock)
        entries = await self._around.journal.append(
            self.identity, self.sequence, events, checkpoint, records
        )
        self.sequence += len(events)
        self.state = plan.state
        self._view = view
        if checkpoint and checkpoint.state:
            self._snapshot_sequence = self.sequence
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

    def _checkpoint(self, state: State, sequence: int) -> tuple[RunView, Checkpoint | None]:
        """Return what the index is told, at life-cycle changes and once in a long while."""
        life_cycle = state.run is not self.state.run or state.waiting is not self.state.waiting
        overdue = sequence - self._snapshot_sequence >= SNAPSHOT_EVERY and not state.run.ended
        if not life_cycle and not overdue:
            return self._view, None
        now = self._around.clock.now_ms()
        view = view_of(state, self._view, sequence, now_ms=now)
        parked = state.run in (RunState.WAITING, RunState.PAUSED)
        return view, Checkpoint(view, state if parked or overdue else None)
