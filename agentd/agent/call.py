"""A call as people and programs see it, folded from its run's events. Pure."""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from agentd.agent.approval import ApprovalId, ApprovalState
from agentd.agent.events import (
    ApprovalDecided,
    ApprovalRequested,
    CallEnded,
    CallEvidenceKept,
    CallLeased,
    CallLost,
    CallProbed,
    CallRetried,
    CallUnknown,
    Entry,
    ModelReplied,
)
from agentd.agent.ids import CallId, HostId, RunId
from agentd.agent.permission import NO_LABELS, Judgement, Labels
from agentd.agent.tool import CallError, CallState, EffectClass


class Evidence(msgspec.Struct, frozen=True):
    """A completion that did not count."""

    host: HostId
    attempt: int
    result_json: str
    error_message: str
    receive_time_ms: int


class Call(msgspec.Struct, frozen=True):
    """A call."""

    run: RunId
    id: CallId
    path: str
    """`toolset/tool`; empty when the run has no such tool."""
    arguments_json: str
    effect: EffectClass
    state: CallState
    create_time_ms: int
    update_time_ms: int
    attempt: int = 0
    host: HostId | None = None
    result_json: str = ""
    error: CallError | None = None
    end_time_ms: int = 0
    lease_expire_time_ms: int = 0
    """Set by the lease table for calls in LEASED; not part of the fold."""
    evidence: tuple[Evidence, ...] = ()
    judgement: Judgement | None = None
    """Whether it may be executed; None when it was refused before that was asked."""
    seen: Labels = NO_LABELS
    """What the run had seen when that was judged."""
    approval: ApprovalId | None = None
    """The question to a person about it."""
    edited_arguments_json: str = ""
    """What it is executed with in place of the model's arguments; empty for those."""
    simulate: bool = False
    """Whether its tool was only to say what it would do."""

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt."""
        return f"runs/{self.run}/calls/{self.id}"


def fold_calls(entries: Iterable[Entry]) -> dict[CallId, Call]:
    """Return the calls of a run, in the order in which the model asked for them."""
    calls: dict[CallId, Call] = {}
    for entry in entries:
        event = entry.event
        if isinstance(event, ModelReplied):
            for request, use in zip(event.calls, event.message.calls, strict=True):
                calls[request.call] = Call(
                    run=entry.run.id,
                    id=request.call,
                    path=request.path,
                    arguments_json=use.arguments_json,
                    effect=request.effect,
                    state=request.state,
                    create_time_ms=entry.time_ms,
                    update_time_ms=entry.time_ms,
                    judgement=request.judgement,
                    seen=request.seen,
                    simulate=request.simulate,
                )
        elif isinstance(event, _CALL_EVENTS) and event.call in calls:
            calls[event.call] = _advance(calls[event.call], event, entry.time_ms)
    return calls


_CallEvent = (
    CallLeased
    | CallLost
    | CallUnknown
    | CallProbed
    | CallEnded
    | CallRetried
    | CallEvidenceKept
    | ApprovalRequested
    | ApprovalDecided
)
_CALL_EVENTS = (
    CallLeased,
    CallLost,
    CallUnknown,
    CallProbed,
    CallEnded,
    CallRetried,
    CallEvidenceKept,
    ApprovalRequested,
    ApprovalDecided,
)


def _advance(call: Call, event: _CallEvent, time_ms: int) -> Call:
    match event:
        case CallLeased():
            return replace(
                call,
                state=CallState.LEASED,
                attempt=event.attempt,
                host=event.host,
                update_time_ms=time_ms,
            )
        case CallLost() | CallRetried():
            return replace(call, state=CallState.QUEUED, error=None, update_time_ms=time_ms)
        case CallUnknown():
            error = call.error or CallError(event.reason, event.message)
            return replace(call, state=CallState.UNKNOWN, error=error, update_time_ms=time_ms)
        case CallProbed():
            return replace(call, host=event.host, update_time_ms=time_ms)
        case CallEnded():
            return replace(
                call,
                state=event.state,
                result_json=event.result_json,
                error=event.error,
                update_time_ms=time_ms,
                end_time_ms=time_ms,
            )
        case ApprovalRequested():
            return replace(call, approval=event.approval, update_time_ms=time_ms)
        case ApprovalDecided():
            allowed = event.decision is ApprovalState.ALLOWED
            return replace(
                call,
                state=CallState.QUEUED if allowed else CallState.REQUESTED,
                judgement=event.judgement or call.judgement,
                edited_arguments_json=event.edited_arguments_json,
                update_time_ms=time_ms,
            )
        case CallEvidenceKept():
            kept = Evidence(
                event.host, event.attempt, event.result_json, event.error_message, time_ms
            )
            return replace(call, evidence=(*call.evidence, kept))
