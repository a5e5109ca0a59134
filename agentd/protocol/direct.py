"""Decide what a run of the protocol `direct` wants: a model turn, its calls, until an answer."""

from agentd.agent.budget import Limit, reserve
from agentd.agent.effects import (
    ApplyGrant,
    AskApproval,
    AskModel,
    Begin,
    CloseCall,
    Effect,
    End,
    Note,
    ProbeCall,
    StartCall,
    StopCall,
    Wait,
)
from agentd.agent.events import RunFailure, RunStarted, RunState, WaitReason
from agentd.agent.lifecycle import RoutedModel, ThreadId
from agentd.agent.lifecycle_events import ModelRerouted
from agentd.agent.message import Purpose
from agentd.agent.spec import OnUnknown
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallError, CallErrorReason, CallState
from agentd.protocol.approvals import granted
from agentd.protocol.lifecycle.deciding import LIMITS, Direct, decide_lifecycle
from agentd.protocol.lifecycle.routes import fallback_of, model_of_run


def decide(state: State) -> tuple[Effect, ...]:
    """List every effect this state still owes, those in progress included; asking twice changes
    nothing. An effect that is no longer listed is to be stopped."""
    if state.run.ended or not state.created:
        return ()
    if state.lifecycle is not None:
        return decide_lifecycle(state, Direct(_serve_calls, _in_progress, _wind_down))
    if state.stopping:
        return _wind_down(state)
    if state.run is RunState.PAUSED:
        return _in_progress(state)
    if state.started is None:
        return (Begin(),)
    if state.calls:
        return _serve_calls(state, state.started)
    if state.in_flight:
        return (_present_request(state),)
    if state.failure:
        if other := fallback_of(state):
            return (_reroute(state, state.started, state.failure, other),)
        return (End("end", RunState.FAILED, state.answer or "", state.failure),)
    if state.answer is not None and not state.unread:
        return (End("end", RunState.SUCCEEDED, state.answer),)
    return (_next_request(state, state.started),)


def _reroute(state: State, started: RunStarted, failure: RunFailure, other: RoutedModel) -> Effect:
    failed = model_of_run(state, started).name
    event = ModelRerouted(ThreadId(""), Purpose.EXECUTION, failed, other.name, failure.message)
    return Note(f"reroute-{state.rerouted}", event)


def _next_request(state: State, started: RunStarted) -> Effect:
    model, prices, max_output_tokens = started.model, started.prices, started.max_output_tokens
    if state.rerouted:
        routed = model_of_run(state, started)
        model, prices, max_output_tokens = routed.name, routed.prices, routed.max_output_tokens
    reservation = reserve(
        state.budget,
        state.usage,
        context_tokens=state.context_tokens,
        max_output_tokens=max_output_tokens,
        prices=prices,
    )
    if isinstance(reservation, Limit):
        message = f"the budget's {reservation.value} is used up"
        return End("end", RunState.FAILED, "", RunFailure(LIMITS[reservation], message))
    attempt = state.attempt + 1
    return AskModel(
        key=f"turn-{state.turn}.{attempt}",
        purpose=Purpose.EXECUTION,
        model=model,
        turn=state.turn,
        attempt=attempt,
        reservation=reservation,
        not_before_ms=state.not_before_ms,
    )


def _present_request(state: State) -> Effect:
    flight = state.in_flight
    assert flight is not None
    return AskModel(
        key=f"turn-{flight.turn}.{flight.attempt}",
        purpose=Purpose.EXECUTION,
        model=flight.model,
        turn=flight.turn,
        attempt=flight.attempt,
        reservation=flight.reservation,
    )


def _in_progress(state: State) -> tuple[Effect, ...]:
    """What goes on although nothing new may start."""
    effects: list[Effect] = [_present_request(state)] if state.in_flight else []
    for call in state.calls:
        if call.state is CallState.LEASED:
            effects.append(_start(call, call.attempt))
        elif call.probing:
            effects.append(ProbeCall(f"probe-{call.id}.{call.attempt}", call.id, call.attempt))
    return tuple(effects)


def _serve_calls(state: State, started: RunStarted) -> tuple[Effect, ...]:
    effects: list[Effect] = []
    room = started.max_parallel_calls
    limit = state.budget.max_tool_calls
    left = limit - state.usage.tool_calls if limit else len(state.calls)
    for call in state.calls:
        match call.state:
            case CallState.LEASED:
                room -= 1
                effects.append(_start(call, call.attempt))
            case CallState.REQUESTED:
                assert call.refusal is not None
                effects.append(_refuse(call, call.refusal))
            case CallState.AWAITING_APPROVAL:
                effects.append(_await(state, call))
            case CallState.UNKNOWN:
                effects.append(_settle(call, started.on_unknown))
            case _:
                pass
    for call in state.calls:
        if call.state is not CallState.QUEUED:
            continue
        if call.attempt == 0 and left <= 0:
            error = CallError(
                CallErrorReason.BUDGET, "not executed: the budget's max_tool_calls is used up"
            )
            effects.append(_close(call, CallState.DENIED, error))
            continue
        left -= 1 if call.attempt == 0 else 0
        if call.effect.repeatable and call.attempt >= started.max_call_attempts:
            error = CallError(CallErrorReason.ATTEMPTS, f"no outcome after {call.attempt} attempts")
            effects.append(_close(call, CallState.FAILED, error))
        elif room > 0:
            room -= 1
            effects.append(_start(call, call.attempt + 1))
    return tuple(effects)


def _refuse(call: OpenCall, refusal: CallError) -> Effect:
    """Close a call that is not executed: as DENIED when it is well formed, and not permitted."""
    denied = refusal.reason is CallErrorReason.PERMISSION
    return _close(call, CallState.DENIED if denied else CallState.FAILED, refusal)


def _await(state: State, call: OpenCall) -> Effect:
    """Ask a person, wait for the answer, or take the one that was given for longer since."""
    if call.approval is None:
        return AskApproval(f"ask-{call.id}", call.id)
    if granted(state.grants, call.judgement, call.seen):
        return ApplyGrant(f"grant-{call.id}", call.id)
    return Wait(f"approval-{call.id}", WaitReason.APPROVAL, f"approvals/{call.approval}")


def _settle(call: OpenCall, on_unknown: OnUnknown) -> Effect:
    """Find out, wait for a person, or tell the model: what is done about an unknown outcome."""
    if call.probing or (call.reconcile and not call.probed):
        return ProbeCall(f"probe-{call.id}.{call.attempt}", call.id, call.attempt)
    if on_unknown is OnUnknown.TELL_MODEL:
        return _close(call, CallState.ABANDONED, _unknown_error(call))
    detail = f"calls/{call.id}: its outcome is unknown ({call.unknown_message})"
    return Wait(f"unknown-{call.id}.{call.attempt}", WaitReason.INPUT, detail)


def _wind_down(state: State) -> tuple[Effect, ...]:
    """Stop what can be stopped and close the history, then end."""
    assert state.stopping is not None
    effects: list[Effect] = []
    for call in state.calls:
        match call.state:
            case CallState.LEASED:
                key = f"stop-{call.id}.{call.attempt}"
                effects.append(StopCall(key, call.id, call.attempt))
            case CallState.UNKNOWN:
                effects.append(_close(call, CallState.ABANDONED, _unknown_error(call)))
            case _:
                error = CallError(CallErrorReason.CANCELLED, "not executed: the run was cancelled")
                effects.append(_close(call, CallState.CANCELLED, call.refusal or error))
    if effects or state.in_flight:
        return tuple(effects)
    stopping = state.stopping
    return (
        End("end", stopping.outcome, "", stopping.failure, cancel_entries=state.cancel_entries),
    )


def _start(call: OpenCall, attempt: int) -> StartCall:
    return StartCall(f"call-{call.id}.{attempt}", call.id, attempt)


def _close(call: OpenCall, state: CallState, error: CallError) -> CloseCall:
    return CloseCall(f"close-{call.id}", call.id, call.attempt, state, error)


def _unknown_error(call: OpenCall) -> CallError:
    reason = call.unknown_reason or CallErrorReason.INTERRUPTED
    message = (
        "The outcome of this call is unknown: it may or may not have had its effect. "
        f"({call.unknown_message or reason.name})"
    )
    return CallError(reason, message)
