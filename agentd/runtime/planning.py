"""Plan a run's next step: which events the owed effects begin with, and what is started after them.

Nothing is started here. A plan takes room at a host for each call it would lease; whoever drops the
plan gives that back.
"""

from collections.abc import Container, Sequence
from typing import Protocol, assert_never

import msgspec

from agentd.agent.approval import ApprovalState, approval_id
from agentd.agent.effects import (
    ApplyGrant,
    AskApproval,
    AskModel,
    AskPlanApproval,
    Begin,
    CloseCall,
    Effect,
    End,
    Note,
    ProbeCall,
    Recall,
    Remember,
    StartCall,
    StopCall,
    Wait,
)
from agentd.agent.events import (
    ApprovalDecided,
    ApprovalRequested,
    CallEnded,
    CallLeased,
    CallProbed,
    Event,
    ModelRequested,
    RunEnded,
    RunWaiting,
    WaitReason,
)
from agentd.agent.ids import LOCAL_HOST, CallId, HostId, RunIdentity
from agentd.agent.lifecycle_events import PlanApprovalRequested
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallState
from agentd.protocol.direct import decide
from agentd.protocol.machine import evolve
from agentd.runtime.judging import fingerprint
from agentd.runtime.surroundings import Surroundings
from agentd.tools.toolkit import Toolkit

MAX_ROUNDS = 1_000
"""Rounds of immediate effects in one plan; more means that the machine is wrong."""

_INTENTS = (ModelRequested, CallLeased, CallProbed)
"""Events that put into progress what was owed already, and so never make anything else owed."""


class Planned(Protocol):
    """The run that is planned for."""

    identity: RunIdentity
    held: bool

    @property
    def toolkit(self) -> Toolkit:
        """The run's tools."""
        ...

    @property
    def in_progress(self) -> Container[str]:
        """The keys of the effects that are in progress inside this process, false when none is."""
        ...


class Start(msgspec.Struct):
    """An effect to be started once its intent is durable, and the host whose room was taken."""

    effect: AskModel | StartCall | ProbeCall | StopCall | Begin | Recall | Remember
    host: HostId | None = None
    path: str = ""
    """The tool whose room was taken, as `toolset/tool`."""


class Plan(msgspec.Struct):
    """A run's next step."""

    state: State
    """The state after every event of the step."""
    starts: Sequence[Start]
    owed: Sequence[Effect]
    """Everything owed then; what is in progress and not owed is to be stopped."""


_Intention = tuple[Event | None, Start | None, RunWaiting | None]
"""The event that an effect begins with, what is started once it is durable, and what keeps it from
beginning."""
_NOTHING: _Intention = (None, None, None)


class Planner:
    """Plans for every run."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def plan(self, run: Planned, state: State, events: list[Event]) -> Plan:
        """Add to the events of a step those that the owed effects begin with, until none is owed
        that can begin."""
        starts: list[Start] = []
        for _ in range(MAX_ROUNDS):
            effects = decide(state)
            blocked: RunWaiting | None = None
            settled = True
            for effect in effects:
                event, start, wait = self._intend(run, state, effect)
                blocked = blocked or wait
                if start:
                    starts.append(start)
                if event:
                    state = evolve(state, event)
                    events.append(event)
                    settled = settled and isinstance(event, _INTENTS)
            if settled:
                break
        else:
            raise RuntimeError("the machine never comes to rest")
        if blocked and not starts and blocked != state.waiting and not _busy(run, state):
            state = evolve(state, blocked)
            events.append(blocked)
        self._around.pass_on(run.identity)
        return Plan(state, starts, effects)

    def give_back(self, run: Planned, plan: Plan) -> None:
        """Return the room that a plan took, when it cannot be carried out."""
        for start in plan.starts:
            if start.host == LOCAL_HOST:
                self._around.local_tools.release(start.path)
            elif start.host:
                self._around.hosts.give_back(run.identity, start.host)

    def _intend(self, run: Planned, state: State, effect: Effect) -> _Intention:
        match effect:
            case CloseCall(call=call, attempt=attempt, error=error):
                return CallEnded(call, attempt, effect.state, error=error), None, None
            case End():
                return _end(state, effect), None, None
            case AskApproval():
                return self._ask(run, state, effect), None, None
            case ApplyGrant():
                return _apply(state, effect), None, None
            case Note(event=event):
                return event, None, None
            case AskPlanApproval(plan_json=plan_json):
                return self._ask_plan(run, state, plan_json), None, None
            case Wait(reason=reason, detail=detail):
                return None, None, RunWaiting(reason, detail)
            case StopCall():
                return None, None if effect.key in run.in_progress else Start(effect), None
            case _ if self._around.draining:
                return _NOTHING
            case AskModel():
                return self._intend_request(run, state, effect)
            case StartCall() | ProbeCall():
                return self._intend_call(run, state, effect)
            case Begin() | Recall() | Remember():
                begun = run.held or effect.key in run.in_progress
                return None, None if begun else Start(effect), None
            case _:
                assert_never(effect)

    def _intend_request(self, run: Planned, state: State, effect: AskModel) -> _Intention:
        if any(flight.turn == effect.turn for flight in state.flights):
            return _NOTHING
        if effect.not_before_ms > self._around.clock.now_ms():
            self._around.delay_wake(run.identity, effect.not_before_ms)
            return None, None, RunWaiting(WaitReason.TIMER, f"attempt {effect.attempt}")
        event = ModelRequested(
            effect.turn, effect.attempt, effect.model, effect.reservation, effect.thread
        )
        return event, Start(effect), None

    def _intend_call(self, run: Planned, state: State, effect: StartCall | ProbeCall) -> _Intention:
        call = state.call(effect.call)
        assert call is not None
        if call.state is CallState.LEASED or call.probing:
            return _NOTHING
        host = self._host_for(run, call)
        if host is None:
            return None, None, RunWaiting(WaitReason.HOST, call.path)
        token = "" if host == LOCAL_HOST else self._around.hosts.new_token(host)
        timeout_ms = run.toolkit.by_path[call.path].timeout_ms
        deadline_ms = self._around.clock.now_ms() + timeout_ms
        event: Event
        if isinstance(effect, ProbeCall):
            event = CallProbed(call.id, effect.attempt, host, token, deadline_ms)
        else:
            event = CallLeased(
                call.id, effect.attempt, host, token, deadline_ms, call.path, call.effect
            )
        return event, Start(effect, host, call.path), None

    def _ask(self, run: Planned, state: State, effect: AskApproval) -> Event:
        call = state.call(effect.call)
        assert call is not None
        approval = approval_id(run.identity, call.id, self._around.clock.now_ms())
        return ApprovalRequested(approval, call.id, call.arguments_sha256)

    def _ask_plan(self, run: Planned, state: State, plan_json: str) -> Event:
        assert state.lifecycle is not None
        now_ms = self._around.clock.now_ms()
        about = CallId(f"plan-{state.lifecycle.plans}")
        approval = approval_id(run.identity, about, now_ms)
        return PlanApprovalRequested(approval, plan_json, fingerprint(plan_json))

    def _host_for(self, run: Planned, call: OpenCall) -> HostId | None:
        local = self._around.local_tools
        if call.path in local:
            return LOCAL_HOST if local.acquire(run.identity, call.path) else None
        return self._around.hosts.acquire(run.identity, call.path)


def _busy(run: Planned, state: State) -> bool:
    """Whether something is in progress, here or at a host."""
    if run.in_progress or state.flights:
        return True
    return any(call.state is CallState.LEASED or call.probing for call in state.calls)


def _apply(state: State, effect: ApplyGrant) -> Event:
    call = state.call(effect.call)
    assert call is not None
    assert call.approval is not None
    reason = "covered by what was allowed since"
    return ApprovalDecided(
        call.approval, call.id, ApprovalState.ALLOWED, reason, decided_by=LOCAL_HOST
    )


def _end(state: State, effect: End) -> RunEnded:
    return RunEnded(effect.state, effect.output, effect.failure, state.usage, effect.cancel_entries)
