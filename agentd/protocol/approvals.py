"""Fold what people are asked and what they decide about calls. Pure."""

from msgspec.structs import replace

from agentd.agent.approval import ApprovalScope, ApprovalState
from agentd.agent.events import ApprovalDecided, ApprovalRequested, CallEnded
from agentd.agent.permission import NO_LABELS, Grant, Judgement, Labels
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallError, CallErrorReason, CallState
from agentd.protocol.folding import IllegalEvent, changed, with_call

MAX_GRANTS = 256
"""Grants of one run; the oldest are forgotten, and then asked for again."""


def evolve_approval(state: State, event: ApprovalRequested | ApprovalDecided) -> State:
    """Fold one fact about an approval, or raise IllegalEvent for one that cannot follow."""
    call = state.call(event.call)
    if call is None or call.state is not CallState.AWAITING_APPROVAL:
        raise IllegalEvent(state, event, f"call {event.call} does not await an approval")
    if isinstance(event, ApprovalRequested):
        if call.approval is not None or state.stopping:
            raise IllegalEvent(state, event, f"call {call.id} is asked about already")
        asked = replace(call, approval=event.approval)
        return replace(state, calls=with_call(state.calls, asked))
    if call.approval != event.approval or state.stopping:
        raise IllegalEvent(state, event, f"call {call.id} does not await {event.approval}")
    match event.decision:
        case ApprovalState.ALLOWED:
            judgement = event.judgement or call.judgement
            allowed = replace(call, state=CallState.QUEUED, judgement=judgement)
            return _grant(changed(state, allowed), allowed, event)
        case ApprovalState.DENIED:
            refused = replace(call, state=CallState.REQUESTED, refusal=_refusal(event.reason))
            return changed(state, refused)
        case _:
            raise IllegalEvent(state, event, f"{event.decision.name} decides nothing")


def brought(state: State, call: OpenCall, event: CallEnded) -> Labels:
    """Return what a run has seen after the end of a call: whatever an attempted call ends with may
    hold words of its tool, an error too."""
    seen = state.labels if event.labels == NO_LABELS else state.labels | event.labels
    if call.labels == NO_LABELS or not event.attempt or event.state is CallState.CANCELLED:
        return seen
    return seen | call.labels


def granted(grants: tuple[Grant, ...], judgement: Judgement | None, seen: Labels) -> bool:
    """Whether a person has answered for such a call before."""
    needs = judgement.needs if judgement else ()
    return bool(needs) and any(grant.covers(needs, seen) for grant in grants)


def _grant(state: State, call: OpenCall, event: ApprovalDecided) -> State:
    if event.scope is ApprovalScope.ONCE or call.judgement is None:
        return state
    grant = Grant(call.judgement.needs, call.seen)
    if grant in state.grants:
        return state
    return replace(state, grants=(*state.grants, grant)[-MAX_GRANTS:])


def _refusal(reason: str) -> CallError:
    said = f": {reason}" if reason else "."
    message = f"A person refused this call, and it was not executed{said}"
    return CallError(CallErrorReason.PERMISSION, message)
