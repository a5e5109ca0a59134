"""Fold facts into a run's state. No clock, no I/O, no chance: a replay gives the same state.

The run's states and the facts that move it:

    PENDING --RunStarted--> RUNNING <--work/RunWaiting--> WAITING
    RUNNING, WAITING --RunPaused--> PAUSED --RunResumed--> RUNNING
    any of these --RunCancelling--> CANCELLING
    any of these --RunEnded--> SUCCEEDED, FAILED, CANCELLED, ABANDONED

and a call's:

    (ModelReplied) --> REQUESTED (refused), AWAITING_APPROVAL or QUEUED --CallLeased--> LEASED
    AWAITING_APPROVAL --ApprovalRequested--> the same, with a question that is stored
    AWAITING_APPROVAL --ApprovalDecided--> QUEUED (allowed) or REQUESTED (refused)
    LEASED --CallLost--> QUEUED, for tools that may be repeated
    LEASED --CallUnknown--> UNKNOWN --CallProbed--> UNKNOWN (probing)
    UNKNOWN --CallRetried--> QUEUED
    any of these --CallEnded--> SUCCEEDED, FAILED, CANCELLED, DENIED, RECONCILED, ABANDONED

A call that has ended is not in the state any more; its outcome is in the journal. A turn is over
when none of its calls is open: so the model's history never has a call without a result.
"""

from typing import assert_never

from msgspec.structs import replace

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
    CancelEntry,
    CancelOutcome,
    Event,
    FailureReason,
    MessagePosted,
    ModelFailed,
    ModelLost,
    ModelReplied,
    ModelRequested,
    RunCancelling,
    RunCreated,
    RunEnded,
    RunFailure,
    RunPaused,
    RunResumed,
    RunStarted,
    RunState,
    RunWaiting,
)
from agentd.agent.ids import LOCAL_HOST, CallId
from agentd.agent.lifecycle_events import ModelRerouted
from agentd.agent.message import ModelErrorKind, StopReason
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallErrorReason, CallState
from agentd.protocol.approvals import brought, evolve_approval
from agentd.protocol.folding import IllegalEvent, at_work, changed, estimate_tokens, with_call
from agentd.protocol.lifecycle.folding import begin, evolve_lifecycle
from agentd.protocol.lifecycle.routes import fallback_of

MESSAGES_SEEN = 64
"""How many request ids of messages a state remembers."""

_FAILURES = {
    ModelErrorKind.RATE_LIMITED: FailureReason.MODEL_UNAVAILABLE,
    ModelErrorKind.OVERLOADED: FailureReason.MODEL_UNAVAILABLE,
    ModelErrorKind.TRANSIENT: FailureReason.MODEL_UNAVAILABLE,
    ModelErrorKind.AUTHENTICATION: FailureReason.MODEL_AUTHENTICATION,
    ModelErrorKind.INVALID_REQUEST: FailureReason.MODEL_INVALID_REQUEST,
    ModelErrorKind.CONTEXT_EXCEEDED: FailureReason.MODEL_CONTEXT_EXCEEDED,
    ModelErrorKind.REFUSED: FailureReason.MODEL_REFUSED,
}


def evolve(state: State, event: Event) -> State:
    """Fold one fact into the state, or raise IllegalEvent for one that cannot follow it."""
    if state.run.ended and not isinstance(event, CallEvidenceKept):
        raise IllegalEvent(state, event, "the run has ended")
    if not state.created and not isinstance(event, RunCreated):
        raise IllegalEvent(state, event, "the run was never created")
    if state.lifecycle is not None:
        return evolve_lifecycle(state, event, evolve)
    match event:
        case ModelRequested() | ModelReplied() | ModelFailed() | ModelLost():
            return _evolve_model(state, event)
        case CallLeased() | CallEnded() | CallLost() | CallUnknown() | CallProbed() | CallRetried():
            return _evolve_call(state, event)
        case ApprovalRequested() | ApprovalDecided():
            return evolve_approval(state, event)
        case MessagePosted():
            return _message_posted(state, event)
        case CallEvidenceKept():
            return replace(state, evidence=state.evidence + 1)
        case (
            RunCreated()
            | RunStarted()
            | RunWaiting()
            | RunPaused()
            | RunResumed()
            | RunCancelling()
            | RunEnded()
        ):
            return _evolve_run(state, event)
        case ModelRerouted():
            return _rerouted(state, event)
        case _:
            raise IllegalEvent(state, event, "the run is not of the protocol `lifecycle`")


def interrupted(state: State) -> tuple[Event, ...]:
    """List the facts that a restart has to record: what was in progress inside the daemon's own
    process has no outcome that anybody knows. Calls leased to hosts are not interrupted."""
    facts: list[Event] = [
        ModelLost(flight.turn, flight.attempt, "the daemon stopped") for flight in state.flights
    ]
    for call in state.calls:
        if call.host != LOCAL_HOST:
            continue
        if call.state is CallState.LEASED or call.probing:
            facts.append(without_outcome(call, CallErrorReason.INTERRUPTED, "the daemon stopped"))
    return tuple(facts)


def without_outcome(
    call: OpenCall, reason: CallErrorReason, message: str
) -> CallLost | CallUnknown:
    """Return the fact for an attempt that ended without an outcome."""
    if call.effect.repeatable and not call.probing:
        return CallLost(call.id, call.attempt, reason)
    return CallUnknown(call.id, call.attempt, reason, message)


def _message_posted(state: State, event: MessagePosted) -> State:
    if state.stopping:
        raise IllegalEvent(state, event, "the run is being cancelled")
    seen = state.messages_seen
    if event.request_id:
        seen = (*seen, event.request_id)[-MESSAGES_SEEN:]
    return replace(
        state,
        unread=state.unread + 1,
        context_tokens=state.context_tokens + estimate_tokens(len(event.text)),
        messages_seen=seen,
    )


def _evolve_run(
    state: State,
    event: RunCreated | RunStarted | RunWaiting | RunPaused | RunResumed | RunCancelling | RunEnded,
) -> State:
    match event:
        case RunCreated(goal=goal, budget=budget):
            if state.created:
                raise IllegalEvent(state, event, "the run exists")
            return replace(
                state, created=True, budget=budget, context_tokens=estimate_tokens(len(goal))
            )
        case RunStarted():
            if state.run is not RunState.PENDING or state.started:
                raise IllegalEvent(state, event, "the run has started")
            tokens = state.context_tokens + event.context_tokens
            return replace(
                state,
                run=RunState.RUNNING,
                started=event,
                context_tokens=tokens,
                labels=event.labels,
                grants=event.grants,
                lifecycle=begin(event.lifecycle) if event.lifecycle else None,
            )
        case RunWaiting():
            if state.run not in (RunState.RUNNING, RunState.WAITING):
                raise IllegalEvent(state, event, "the run is not running")
            return replace(state, run=RunState.WAITING, waiting=event)
        case RunPaused():
            if state.run not in (RunState.PENDING, RunState.RUNNING, RunState.WAITING):
                raise IllegalEvent(state, event, "the run cannot be paused")
            return replace(state, run=RunState.PAUSED, waiting=None)
        case RunResumed():
            if state.run is not RunState.PAUSED:
                raise IllegalEvent(state, event, "the run is not paused")
            return replace(state, run=RunState.RUNNING if state.started else RunState.PENDING)
        case RunCancelling():
            if state.stopping:
                raise IllegalEvent(state, event, "the run is being cancelled")
            return replace(state, run=RunState.CANCELLING, stopping=event, waiting=None)
        case RunEnded():
            if state.calls or state.in_flight:
                raise IllegalEvent(state, event, "something is still in progress")
            return replace(state, run=event.state, waiting=None, ended=event)
        case _:
            assert_never(event)


def _evolve_model(
    state: State, event: ModelRequested | ModelReplied | ModelFailed | ModelLost
) -> State:
    if isinstance(event, ModelRequested):
        return _model_requested(state, event)
    flight = state.in_flight
    if flight is None or (flight.turn, flight.attempt) != (event.turn, event.attempt):
        raise IllegalEvent(state, event, f"no request {event.turn}.{event.attempt} is in flight")
    match event:
        case ModelReplied():
            return _model_replied(state, flight, event)
        case ModelFailed(kind=kind, message=message):
            state = replace(
                state,
                in_flight=None,
                usage=state.usage.charge(event.usage, turns=0),
                not_before_ms=event.retry_at_ms,
            )
            state = _stopped_request(state, event.turn, CancelOutcome.REFUSED, message)
            if event.retry_at_ms or state.stopping:
                return state
            return replace(state, failure=RunFailure(_FAILURES[kind], message))
        case ModelLost(reason=reason, still_running=still_running):
            state = replace(
                state,
                in_flight=None,
                usage=state.usage.lose(flight.reservation),
                not_before_ms=0,
            )
            outcome = CancelOutcome.STILL_RUNNING if still_running else CancelOutcome.STOPPED
            return _stopped_request(state, event.turn, outcome, reason)
        case _:
            assert_never(event)


def _model_requested(state: State, event: ModelRequested) -> State:
    if state.in_flight or state.calls or state.stopping or not state.started:
        raise IllegalEvent(state, event, "a model request is not owed")
    if (event.turn, event.attempt) != (state.turn, state.attempt + 1):
        raise IllegalEvent(state, event, f"{state.turn}.{state.attempt + 1} is next")
    return replace(
        state,
        run=at_work(state),
        waiting=None,
        in_flight=event,
        attempt=event.attempt,
        unread=0,
        answer=None,
    )


def _model_replied(state: State, flight: ModelRequested, event: ModelReplied) -> State:
    calls = tuple(
        OpenCall(
            id=call.call,
            path=call.path,
            state=call.state,
            effect=call.effect,
            reconcile=call.reconcile,
            refusal=call.refusal,
            judgement=call.judgement,
            seen=call.seen,
            labels=call.labels,
            arguments_sha256=call.arguments_sha256,
            simulate=call.simulate,
        )
        for call in event.calls
    )
    text = event.message.text
    state = replace(
        state,
        in_flight=None,
        usage=state.usage.charge(event.usage, turns=1),
        context_tokens=event.usage.tokens or state.context_tokens + estimate_tokens(len(text)),
        calls=calls,
        answer=None if calls else text,
        turn=state.turn if calls else state.turn + 1,
        attempt=state.attempt if calls else 0,
        not_before_ms=0,
    )
    detail = "it had already been answered"
    state = _stopped_request(state, event.turn, CancelOutcome.REFUSED, detail)
    if event.stop_reason is StopReason.REFUSAL:
        failure = RunFailure(FailureReason.MODEL_REFUSED, text or "the model declined to answer")
        return replace(state, failure=failure)
    if event.stop_reason is StopReason.MAX_TOKENS and not calls:
        return replace(state, failure=_truncated(state, flight))
    return state


def _truncated(state: State, flight: ModelRequested) -> RunFailure:
    """Say why an answer was cut off: by the budget, or by the model's own limit."""
    model_limit = state.started.max_output_tokens if state.started else 0
    if flight.reservation.max_output_tokens < model_limit:
        message = "the answer was cut off because the budget is used up"
        tokens_bound = state.budget.max_tokens > 0
        reason = FailureReason.BUDGET_TOKENS if tokens_bound else FailureReason.BUDGET_COST
        return RunFailure(reason, message)
    message = "the answer was cut off at the model's output limit"
    return RunFailure(FailureReason.MODEL_OUTPUT_TRUNCATED, message)


def _evolve_call(
    state: State,
    event: CallLeased | CallEnded | CallLost | CallUnknown | CallProbed | CallRetried,
) -> State:
    call = state.call(event.call)
    if call is None:
        raise IllegalEvent(state, event, f"call {event.call} is not open")
    match event:
        case CallLeased():
            if call.state is not CallState.QUEUED or event.attempt != call.attempt + 1:
                raise IllegalEvent(state, event, f"call {call.id} is {call.state.name}")
            if state.stopping:
                raise IllegalEvent(state, event, "the run is being cancelled")
            usage = state.usage if call.attempt else state.usage.call()
            leased = replace(
                call,
                state=CallState.LEASED,
                attempt=event.attempt,
                host=event.host,
                token=event.token,
                deadline_ms=event.deadline_ms,
            )
            return replace(
                state,
                run=at_work(state),
                waiting=None,
                usage=usage,
                calls=with_call(state.calls, leased),
            )
        case CallEnded():
            return _call_ended(state, call, event)
        case CallLost():
            _require(state, event, call, CallState.LEASED, event.attempt)
            queued = replace(call, state=CallState.QUEUED, host=None, token="")
            state = changed(state, queued)
            if state.stopping:
                return _stopped_call(state, call.id, _outcome_of(event.reason), "it was given up")
            return state
        case CallUnknown():
            return _call_unknown(state, call, event)
        case CallProbed():
            _require(state, event, call, CallState.UNKNOWN, event.attempt)
            probing = replace(
                call,
                probing=True,
                host=event.host,
                token=event.token,
                deadline_ms=event.deadline_ms,
            )
            return changed(state, probing)
        case CallRetried():
            if call.state is not CallState.UNKNOWN:
                raise IllegalEvent(state, event, f"call {call.id} is {call.state.name}")
            queued = replace(
                call, state=CallState.QUEUED, host=None, token="", probing=False, probed=False
            )
            return changed(state, queued)
        case _:
            assert_never(event)


def _call_unknown(state: State, call: OpenCall, event: CallUnknown) -> State:
    if call.state is not CallState.LEASED and not call.probing:
        raise IllegalEvent(state, event, f"call {call.id} is {call.state.name}")
    if event.attempt != call.attempt:
        raise IllegalEvent(state, event, f"call {call.id} is at attempt {call.attempt}")
    unknown = replace(
        call,
        state=CallState.UNKNOWN,
        token="",
        unknown_reason=call.unknown_reason or event.reason,
        unknown_message=call.unknown_message or event.message,
        probing=False,
        probed=call.probing,
    )
    state = changed(state, unknown)
    if state.stopping:
        return _stopped_call(state, call.id, _outcome_of(event.reason), event.message)
    return state


def _call_ended(state: State, call: OpenCall, event: CallEnded) -> State:
    if event.attempt != call.attempt or not event.state.ended:
        raise IllegalEvent(state, event, f"call {call.id} is at attempt {call.attempt}")
    if call.state is CallState.AWAITING_APPROVAL and not state.stopping:
        raise IllegalEvent(state, event, f"call {call.id} awaits {call.approval}")
    calls = tuple(other for other in state.calls if other.id != call.id)
    size = len(event.result_json) + (len(event.error.message) if event.error else 0)
    failure = state.failure
    if event.error and event.error.reason is CallErrorReason.BUDGET:
        failure = RunFailure(FailureReason.BUDGET_TOOL_CALLS, event.error.message)
    state = replace(
        state,
        run=at_work(state),
        waiting=None,
        calls=calls,
        context_tokens=state.context_tokens + estimate_tokens(size),
        turn=state.turn if calls else state.turn + 1,
        attempt=state.attempt if calls else 0,
        failure=failure,
        labels=brought(state, call, event),
    )
    if state.stopping and call.state is CallState.LEASED:
        reason = event.error.reason if event.error else None
        ended_itself = event.state in (CallState.SUCCEEDED, CallState.FAILED)
        outcome = CancelOutcome.REFUSED if ended_itself else _outcome_of(reason)
        return _stopped_call(state, call.id, outcome, f"it ended as {event.state.name}")
    return state


def _outcome_of(reason: CallErrorReason | None) -> CancelOutcome:
    """Say what a report shows for a call that had to be given up for a reason."""
    if reason in (CallErrorReason.TIMEOUT, CallErrorReason.HOST_LOST):
        return CancelOutcome.STILL_RUNNING
    return CancelOutcome.STOPPED


def _require(state: State, event: Event, call: OpenCall, expected: CallState, attempt: int) -> None:
    if call.state is not expected or call.probing or call.attempt != attempt:
        raise IllegalEvent(state, event, f"call {call.id} is {call.state.name}.{call.attempt}")


def _rerouted(state: State, event: ModelRerouted) -> State:
    if state.stopping or fallback_of(state) is None:
        raise IllegalEvent(state, event, "no model takes over")
    # A turn of its own, so that pieces of the other model's answer are not taken for this one's.
    return replace(state, failure=None, rerouted=state.rerouted + 1, turn=state.turn + 1, attempt=0)


def _stopped_request(state: State, turn: int, outcome: CancelOutcome, detail: str) -> State:
    if not state.stopping:
        return state
    entry = CancelEntry(f"requests/{turn}", outcome, detail)
    return replace(state, cancel_entries=(*state.cancel_entries, entry))


def _stopped_call(state: State, call: CallId, outcome: CancelOutcome, detail: str) -> State:
    entry = CancelEntry(f"calls/{call}", outcome, detail)
    return replace(state, cancel_entries=(*state.cancel_entries, entry))
