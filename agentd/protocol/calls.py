"""Say which fact an outcome of a call is, from the call's state alone. Pure."""

from typing import assert_never

from agentd.agent.events import CallEnded, CallLost, CallRetried, CallUnknown
from agentd.agent.hosting import (
    Failed,
    NotExecuted,
    Outcome,
    OutcomeUnknown,
    Stopped,
    Succeeded,
)
from agentd.agent.state import OpenCall
from agentd.agent.tool import CallError, CallErrorReason, CallState
from agentd.protocol.machine import without_outcome

CallFact = CallEnded | CallLost | CallRetried | CallUnknown


def fact_of(call: OpenCall, outcome: Outcome, *, stopping: bool) -> CallFact:
    """Return the fact for the outcome of a call's present attempt, or of the probe into it."""
    match outcome:
        case Succeeded(result_json=result, labels=labels):
            state = CallState.RECONCILED if call.probing else CallState.SUCCEEDED
            return CallEnded(call.id, call.attempt, state, result, labels=labels)
        case Failed(message=message):
            error = CallError(CallErrorReason.TOOL_FAILED, message)
            return CallEnded(call.id, call.attempt, CallState.FAILED, error=error)
        case OutcomeUnknown(message=message):
            return without_outcome(call, CallErrorReason.HOST_LOST, message)
        case NotExecuted() if call.probing:
            return CallRetried(call.id, "the tool says that it had not been executed")
        case Stopped() if call.probing:
            return without_outcome(call, CallErrorReason.CANCELLED, "the probe was stopped")
        case Stopped() if stopping:
            error = CallError(CallErrorReason.CANCELLED, "stopped: the run was cancelled")
            return CallEnded(call.id, call.attempt, CallState.CANCELLED, error=error)
        case NotExecuted() | Stopped():
            return CallLost(call.id, call.attempt, CallErrorReason.INTERRUPTED)
        case _:
            assert_never(outcome)


def timed_out(call: OpenCall) -> CallEnded:
    """Return the fact for a call that was stopped at its deadline, or may be repeated."""
    error = CallError(CallErrorReason.TIMEOUT, "the tool did not end in time")
    return CallEnded(call.id, call.attempt, CallState.FAILED, error=error)
