"""A run's work inside this process: one task for each effect, each turned into exactly one fact.

Work that the machine no longer wants is cancelled, and the fact is that nobody knows its outcome.
Work that a shutdown cancels is no fact at all, so that a restart finds it unfinished.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol, assert_never

from agentd.agent.effects import AskModel, Begin, Effect, ProbeCall, StartCall, StopCall
from agentd.agent.events import Event, FailureReason, ModelLost, RunEnded, RunFailure, RunState
from agentd.agent.hosting import Invocation, InvocationKind
from agentd.agent.ids import LOCAL_HOST, HostId, RunIdentity
from agentd.agent.spec import RunSpec
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallErrorReason, CallState, Tool
from agentd.context.transcript import Transcript
from agentd.errors import AgentdError
from agentd.protocol.calls import fact_of
from agentd.protocol.machine import without_outcome
from agentd.runtime.planning import Start, tool_of
from agentd.runtime.posting import Posting
from agentd.runtime.surroundings import Surroundings


class Worker(Protocol):
    """The run that is worked for."""

    identity: RunIdentity
    spec: RunSpec
    state: State
    transcript: Transcript | None

    def post(self, posting: Posting) -> None:
        """Take a fact."""
        ...

    def wake(self) -> None:
        """Look again at what is owed."""
        ...


class Work:
    """The effects of one run that are in progress inside this process."""

    __slots__ = ("_around", "_group", "_run", "_stopping", "_tasks")

    def __init__(self, around: Surroundings, run: Worker) -> None:
        self._around = around
        self._run = run
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[str] = set()
        """The keys of tasks that were cancelled, and of hosts' calls that were asked to stop."""
        self._group: asyncio.TaskGroup

    def __bool__(self) -> bool:
        return bool(self._tasks)

    @property
    def keys(self) -> set[str]:
        """The keys of the effects in progress, those being stopped included."""
        return self._stopping.union(self._tasks)

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
                self._spawn(effect.key, self._ask(effect))
            case StartCall():
                self._begin_call(effect, InvocationKind.EXECUTE, start.host)
            case ProbeCall():
                self._begin_call(effect, InvocationKind.RECONCILE, start.host)
            case StopCall():
                self._stop_call(effect)
            case Begin():
                self._spawn(effect.key, self._resolve())
            case _:
                assert_never(effect)
        if boundary:
            boundary("dispatched")

    def stop_unowed(self, owed: Mapping[str, Effect]) -> None:
        """Cancel what the machine no longer wants."""
        for key, task in self._tasks.items():
            if key not in owed and key not in self._stopping:
                self._stopping.add(key)
                task.cancel()

    def adopt_leases(self) -> None:
        """Hand the calls that hosts have over to the lease table, after a restart."""
        for call in self._run.state.calls:
            if hosted(call):
                assert call.host is not None
                kind = InvocationKind.RECONCILE if call.probing else InvocationKind.EXECUTE
                tool = tool_of(self._around.registry, self._run.state, call)
                invocation = self._invocation(call, kind, tool)
                self._around.hosts.adopt(self._run.identity, call.host, tool, invocation)

    def _begin_call(
        self, effect: StartCall | ProbeCall, kind: InvocationKind, host: HostId | None
    ) -> None:
        call = self._run.state.call(effect.call)
        assert call is not None
        assert host is not None
        tool = tool_of(self._around.registry, self._run.state, call)
        invocation = self._invocation(call, kind, tool)
        if host == LOCAL_HOST:
            self._spawn(effect.key, self._execute(call, invocation, tool.timeout_ms))
        else:
            self._around.hosts.lease(self._run.identity, host, tool, invocation)

    def _stop_call(self, effect: StopCall) -> None:
        """Ask a host to stop a call. One of this process is a task, and no longer owed."""
        call = self._run.state.call(effect.call)
        stopping = self._run.state.stopping
        assert call is not None
        assert stopping is not None
        self._stopping.add(effect.key)
        if call.host != LOCAL_HOST:
            reason = stopping.reason or "the run was cancelled"
            self._around.hosts.stop(self._run.identity, call.id, reason, stopping.timeout_ms)

    def _spawn(self, key: str, work: Coroutine[Any, Any, Event]) -> None:
        self._tasks[key] = self._group.create_task(self._perform(key, work))

    async def _perform(self, key: str, work: Coroutine[Any, Any, Event]) -> None:
        event: Event | None = None
        try:
            event = await work
        except asyncio.CancelledError:
            if key in self._stopping:
                event = self._given_up(key)
            raise
        finally:
            del self._tasks[key]
            self._stopping.discard(key)
            if event is None:
                self._run.wake()
            else:
                self._run.post(Posting(event))

    def _given_up(self, key: str) -> Event | None:
        """Return the fact for work that was cancelled because the machine no longer wants it."""
        flight = self._run.state.in_flight
        if flight and key == f"turn-{flight.turn}.{flight.attempt}":
            return ModelLost(flight.turn, flight.attempt, "the run was cancelled")
        for call in self._run.state.calls:
            if key in (f"call-{call.id}.{call.attempt}", f"probe-{call.id}.{call.attempt}"):
                return without_outcome(call, CallErrorReason.CANCELLED, "the run was cancelled")
        return None

    async def _ask(self, effect: AskModel) -> Event:
        assert self._run.transcript is not None
        return await self._around.asking.ask(self._run, effect, self._run.transcript)

    async def _resolve(self) -> Event:
        try:
            return await self._around.starting.start(self._run.identity, self._run.spec)
        except AgentdError as error:
            failure = RunFailure(FailureReason.NOT_FOUND, error.message)
            return RunEnded(RunState.FAILED, failure=failure)

    async def _execute(self, call: OpenCall, invocation: Invocation, timeout_ms: int) -> Event:
        """Run a tool of the daemon's own process."""
        tool = self._around.local_tools[call.path]
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                outcome = await tool(invocation)
        except TimeoutError:
            message = "the tool did not end in time"
            return without_outcome(call, CallErrorReason.TIMEOUT, message)
        present = self._run.state.call(call.id)
        stopping = self._run.state.stopping is not None
        return fact_of(present or call, outcome, stopping=stopping)

    def _invocation(self, call: OpenCall, kind: InvocationKind, tool: Tool) -> Invocation:
        run = self._run.identity
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
            permissions=tool.permissions,
        )


def hosted(call: OpenCall) -> bool:
    """Whether a connected program, and not this process, has the call."""
    in_progress = call.probing or call.state is CallState.LEASED
    return in_progress and call.host != LOCAL_HOST
