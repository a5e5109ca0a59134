"""A run's work inside this process: one task for each effect, each turned into exactly one fact.

Work that the machine no longer wants is cancelled, and the fact is that nobody knows its outcome.
Work that a shutdown cancels is no fact at all, so that a restart finds it unfinished.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, assert_never

from agentd.agent.effects import (
    AskModel,
    Begin,
    Effect,
    ProbeCall,
    Recall,
    Remember,
    StartCall,
    StopCall,
)
from agentd.agent.events import Event, FailureReason, ModelLost, RunEnded, RunFailure, RunState
from agentd.agent.hosting import Invocation, InvocationKind, NotExecuted, Outcome, OutcomeUnknown
from agentd.agent.ids import LOCAL_HOST, HostId, RunIdentity
from agentd.agent.spec import RunSpec
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallErrorReason, CallState, Tool
from agentd.context.transcript import Transcript
from agentd.errors import AgentdError, Exhausted, Unavailable
from agentd.protocol.calls import fact_of
from agentd.protocol.lifecycle.folding import stopping_call
from agentd.protocol.machine import without_outcome
from agentd.runtime.planning import Start
from agentd.runtime.posting import Posting
from agentd.runtime.surroundings import Surroundings
from agentd.tools.toolkit import Toolkit


class Worker(Protocol):
    """The run that is worked for."""

    identity: RunIdentity
    spec: RunSpec
    state: State
    transcript: Transcript | None

    @property
    def toolkit(self) -> Toolkit:
        """The run's tools."""
        ...

    def post(self, posting: Posting) -> None:
        """Take a fact."""
        ...

    def wake(self) -> None:
        """Look again at what is owed."""
        ...


_Done = AskModel | StartCall | ProbeCall | Begin | Recall | Remember
"""What takes a while inside this process."""


class _Job:
    """One effect in progress."""

    __slots__ = ("effect", "late", "path", "task", "timer", "unwanted")

    def __init__(self, effect: _Done, path: str) -> None:
        self.effect = effect
        self.path = path
        """The tool of this process whose room it has; empty for none."""
        self.task: asyncio.Task[None]
        self.timer: asyncio.TimerHandle | None = None
        self.late = False
        """Whether it was cancelled because its time was up."""
        self.unwanted = False
        """Whether it was cancelled because the machine no longer wants it."""

    def expire(self) -> None:
        """Cancel it because its time is up."""
        self.late = True
        self.task.cancel()

    def abandon(self) -> None:
        """Cancel it because the machine no longer wants it."""
        self.unwanted = True
        self.task.cancel()


class Work:
    """The effects of one run that are in progress inside this process."""

    __slots__ = ("_around", "_asked_to_stop", "_group", "_jobs", "_run")

    def __init__(self, around: Surroundings, run: Worker) -> None:
        self._around = around
        self._run = run
        self._jobs: dict[str, _Job] = {}
        self._asked_to_stop: set[str] = set()
        """The keys of the StopCalls that were sent to hosts."""
        self._group: asyncio.TaskGroup

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def __contains__(self, key: object) -> bool:
        return key in self._jobs or key in self._asked_to_stop

    def enter(self, group: asyncio.TaskGroup) -> None:
        """Put tasks into this group from now on."""
        self._group = group

    def begin(self, start: Start) -> None:
        """Start an effect whose intent is durable."""
        boundary = self._around.boundary
        if boundary:
            boundary("recorded")
        effect = start.effect
        match effect:
            case AskModel():
                asking = self._around.asking
                self._spawn(effect, asking.ask(self._run, effect), asking.timeout_s)
            case StartCall():
                self._begin_call(effect, None, start.host)
            case ProbeCall():
                self._begin_call(effect, InvocationKind.RECONCILE, start.host)
            case StopCall():
                self._stop_call(effect)
            case Begin():
                self._spawn(effect, self._resolve(), None)
            case Recall():
                self._spawn(effect, self._around.minding.recall(self._run.identity, effect), None)
            case Remember():
                labels = self._run.state.labels
                work = self._around.minding.remember(self._run.identity, effect, labels)
                self._spawn(effect, work, None)
            case _:
                assert_never(effect)
        if boundary:
            boundary("dispatched")

    def give_back(self) -> None:
        """Return the room of calls that were cancelled before they began."""
        for job in self._jobs.values():
            if job.path:
                self._around.local_tools.release(job.path)
        self._jobs.clear()

    def stop_unowed(self, owed: Sequence[Effect]) -> None:
        """Cancel what the machine no longer wants."""
        keys = {effect.key for effect in owed}
        for key, job in self._jobs.items():
            if key not in keys and not job.unwanted:
                job.abandon()

    def adopt_leases(self) -> None:
        """Hand the calls that hosts have over to the lease table, after a restart."""
        for call in self._run.state.calls:
            if hosted(call):
                assert call.host is not None
                kind = InvocationKind.RECONCILE if call.probing else _kind(call)
                tool = self._run.toolkit.by_path[call.path]
                invocation = self._invocation(call, kind, tool)
                self._around.hosts.adopt(self._run.identity, call.host, tool, invocation)

    def _begin_call(
        self, effect: StartCall | ProbeCall, kind: InvocationKind | None, host: HostId | None
    ) -> None:
        call = self._run.state.call(effect.call)
        assert call is not None
        assert host is not None
        kind = kind or _kind(call)
        tool = self._run.toolkit.by_path[call.path]
        invocation = self._invocation(call, kind, tool)
        if host == LOCAL_HOST:
            work = self._execute(call, invocation)
            self._spawn(effect, work, tool.timeout_ms / 1000, call.path)
        else:
            self._around.hosts.lease(self._run.identity, host, tool, invocation)

    def _stop_call(self, effect: StopCall) -> None:
        """Ask a host to stop a call. One of this process is a job, and no longer owed."""
        call = self._run.state.call(effect.call)
        stopping = stopping_call(self._run.state, effect.call)
        assert call is not None
        assert stopping is not None
        self._asked_to_stop.add(effect.key)
        if call.host != LOCAL_HOST:
            reason = stopping.reason or "the run was cancelled"
            self._around.hosts.stop(self._run.identity, call.id, reason, stopping.timeout_ms)

    def _spawn(
        self,
        effect: _Done,
        work: Coroutine[Any, Any, Event],
        timeout_s: float | None,
        path: str = "",
    ) -> None:
        job = self._jobs[effect.key] = _Job(effect, path)
        job.task = self._group.create_task(self._perform(job, work))
        if timeout_s is not None:
            # A bare timer: asyncio.timeout costs five times as much.
            job.timer = asyncio.get_running_loop().call_later(timeout_s, job.expire)

    async def _perform(self, job: _Job, work: Coroutine[Any, Any, Event]) -> None:
        event: Event | None = None
        breaks = False
        try:
            event = await work
        except asyncio.CancelledError as error:
            if job.late or job.unwanted:
                event = self._given_up(job, told=_told(error))
            raise
        except BaseException:
            breaks = True  # The group ends, and nothing more may begin in it.
            raise
        finally:
            if job.timer:
                job.timer.cancel()
            del self._jobs[job.effect.key]
            if job.path:
                self._around.local_tools.release(job.path)
            if event is not None:
                self._run.post(Posting(event))
            elif not breaks:
                self._run.wake()

    def _given_up(self, job: _Job, told: Outcome | None) -> Event | None:
        """Return the fact for work that was cancelled; `told` is what it knew of its outcome."""
        effect = job.effect
        match effect:
            case AskModel() if job.late:
                return self._around.asking.timed_out(self._run, effect)
            case AskModel():
                return ModelLost(effect.turn, effect.attempt, "the run was cancelled")
            case StartCall() | ProbeCall():
                call = self._run.state.call(effect.call)
                if call is None:
                    return None
                if told and not isinstance(told, OutcomeUnknown):
                    stopping = stopping_call(self._run.state, call.id) is not None
                    return fact_of(call, told, stopping=stopping)
                if job.late:
                    message = "the tool did not end in time"
                    return without_outcome(call, CallErrorReason.TIMEOUT, message)
                return without_outcome(call, CallErrorReason.CANCELLED, "the run was cancelled")
            case Begin() | Recall() | Remember():
                return None
            case _:
                assert_never(effect)

    async def _resolve(self) -> Event:
        try:
            return await self._around.starting.start(self._run.identity, self._run.spec)
        except (Unavailable, Exhausted):
            raise  # The journal's: the run rests, and begins again.
        except AgentdError as error:
            failure = RunFailure(FailureReason.NOT_FOUND, error.message)
            return RunEnded(RunState.FAILED, failure=failure)

    async def _execute(self, call: OpenCall, invocation: Invocation) -> Event:
        """Run a tool of the daemon's own process."""
        tool = self._around.local_tools.get(call.path)
        # One that has gone since was not executed, and waits until it is back.
        outcome = await tool(invocation) if tool else NotExecuted()
        present = self._run.state.call(call.id)
        stopping = stopping_call(self._run.state, call.id) is not None
        return fact_of(present or call, outcome, stopping=stopping)

    def _invocation(self, call: OpenCall, kind: InvocationKind, tool: Tool) -> Invocation:
        run, started = self._run.identity, self._run.state.started
        assert self._run.transcript is not None
        return Invocation(
            run=run.id,
            call=call.id,
            kind=kind,
            tool=call.path,
            arguments_json=self._run.transcript.arguments(call.id),
            attempt=call.attempt,
            token=call.token,
            idempotency_key=f"runs/{run.id}/calls/{call.id}",
            deadline_ms=call.deadline_ms,
            lease_expire_time_ms=0,
            permissions=call.judgement.needs if call.judgement else tool.permissions,
            workspace=started.workspace if started and call.host == LOCAL_HOST else "",
            namespace=run.namespace,
            seen=self._run.state.labels,
        )


def _kind(call: OpenCall) -> InvocationKind:
    return InvocationKind.SIMULATE if call.simulate else InvocationKind.EXECUTE


def _told(error: asyncio.CancelledError) -> Outcome | None:
    """Return the outcome that a cancelled tool left with its cancellation, if it did."""
    return error.args[0] if error.args and isinstance(error.args[0], Outcome) else None


def hosted(call: OpenCall) -> bool:
    """Whether a connected program, and not this process, has the call."""
    in_progress = call.probing or call.state is CallState.LEASED
    return in_progress and call.host != LOCAL_HOST
