"""What a run of the protocol `direct` wants, state by state."""

import pytest

from agentd.agent.budget import Budget, ModelUsage
from agentd.agent.effects import (
    AskModel,
    Begin,
    CloseCall,
    End,
    ProbeCall,
    StartCall,
    StopCall,
    Wait,
)
from agentd.agent.events import (
    CallEnded,
    CallLost,
    CallProbed,
    CallRetried,
    CallUnknown,
    CancelEntry,
    CancelOutcome,
    FailureReason,
    MessagePosted,
    ModelFailed,
    ModelLost,
    RunCancelling,
    RunEnded,
    RunFailure,
    RunPaused,
    RunResumed,
    RunState,
    RunWaiting,
    WaitReason,
)
from agentd.agent.ids import LOCAL_HOST, CallId
from agentd.agent.message import ModelErrorKind, StopReason
from agentd.agent.spec import OnUnknown
from agentd.agent.tool import CallError, CallErrorReason, CallState, EffectClass
from agentd.protocol.direct import decide
from agentd.protocol.folding import IllegalEvent
from agentd.protocol.machine import evolve, interrupted
from tests.machine.build import HOST, created, fold, leased, replied, requested, started

C1, C2 = CallId("c1-1"), CallId("c1-2")
ONCE, SAFE = EffectClass.NON_IDEMPOTENT, EffectClass.READ_ONLY


def done(call: CallId, attempt: int = 1, state: CallState = CallState.SUCCEEDED) -> CallEnded:
    return CallEnded(call, attempt, state, result_json="{}")


def test_a_created_run_is_begun() -> None:
    assert decide(fold(created())) == (Begin(),)


def test_a_started_run_asks_the_model_within_its_budget() -> None:
    (effect,) = decide(fold(created(Budget(max_tokens=200)), started()))
    assert isinstance(effect, AskModel)
    assert effect.key == "turn-1.1"
    # The goal of 40 bytes is estimated at 11 tokens of input.
    assert effect.reservation.tokens == 200
    assert effect.reservation.max_output_tokens == 189


def test_a_request_in_flight_is_still_owed_under_its_key() -> None:
    state = fold(created(), started(), requested())
    assert [effect.key for effect in decide(state)] == ["turn-1.1"]


def test_an_answer_without_calls_ends_the_run() -> None:
    state = fold(created(), started(), requested(), replied(text="Paris"))
    assert decide(state) == (End("end", RunState.SUCCEEDED, "Paris"),)


def test_a_message_posted_during_the_last_turn_is_answered_first() -> None:
    state = fold(created(), started(), requested(), MessagePosted("and Rome?"), replied(text="a"))
    (effect,) = decide(state)
    assert isinstance(effect, AskModel)
    assert effect.turn == 2


def test_calls_run_in_parallel_up_to_the_limit() -> None:
    state = fold(created(), started(parallel=2), requested(), replied(calls=[SAFE] * 3))
    assert [effect.key for effect in decide(state)] == ["call-c1-1.1", "call-c1-2.1"]
    state = fold(leased("c1-1"), done(C1), state=state)
    assert [effect.key for effect in decide(state)] == ["call-c1-2.1", "call-c1-3.1"]


def test_the_turn_is_over_when_the_last_call_has_ended() -> None:
    state = fold(created(), started(), requested(), replied(calls=[SAFE, SAFE]))
    state = fold(leased("c1-1"), leased("c1-2"), done(C2), state=state)
    assert [effect.key for effect in decide(state)] == ["call-c1-1.1"]
    (effect,) = decide(fold(done(C1), state=state))
    assert isinstance(effect, AskModel)
    assert effect.key == "turn-2.1"


def test_a_refused_call_is_closed_and_the_model_is_told() -> None:
    error = CallError(CallErrorReason.UNKNOWN_TOOL, "There is no tool 'x'.")
    reply = replied(calls=[SAFE])
    refused = type(reply)(
        reply.turn,
        reply.attempt,
        reply.message,
        reply.stop_reason,
        (type(reply.calls[0])(C1, refusal=error),),
        reply.usage,
    )
    state = fold(created(), started(), requested(), refused)
    assert decide(state) == (CloseCall("close-c1-1", C1, 0, CallState.FAILED, error),)


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        (Budget(max_turns=1), FailureReason.BUDGET_TURNS),
        (Budget(max_turns=9, max_tokens=40), FailureReason.BUDGET_TOKENS),
    ],
)
def test_a_used_up_budget_refuses_the_next_request(budget: Budget, limit: FailureReason) -> None:
    state = fold(created(budget), started(), requested(), replied(calls=[SAFE]))
    state = fold(leased(), done(C1), state=state)
    (effect,) = decide(state)
    assert isinstance(effect, End)
    assert effect.failure
    assert (effect.state, effect.failure.reason) == (RunState.FAILED, limit)


def test_calls_beyond_the_budget_are_denied_and_the_run_fails_with_a_closed_history() -> None:
    state = fold(created(Budget(max_turns=9, max_tool_calls=1)), started(), requested())
    state = fold(replied(calls=[SAFE, SAFE]), state=state)
    start, close = decide(state)
    assert isinstance(start, StartCall)
    assert isinstance(close, CloseCall)
    assert close.state is CallState.DENIED
    denied = CallEnded(C2, 0, CallState.DENIED, error=close.error)
    state = fold(leased(), denied, done(C1), state=state)
    (effect,) = decide(state)
    assert isinstance(effect, End)
    assert effect.failure
    assert effect.failure.reason is FailureReason.BUDGET_TOOL_CALLS


def test_a_retryable_failure_is_asked_again_at_its_time() -> None:
    failed = ModelFailed(1, 1, ModelErrorKind.OVERLOADED, "busy", retry_at_ms=5_000)
    (effect,) = decide(fold(created(), started(), requested(), failed))
    assert isinstance(effect, AskModel)
    assert (effect.key, effect.not_before_ms) == ("turn-1.2", 5_000)


def test_a_final_failure_ends_the_run() -> None:
    failed = ModelFailed(1, 1, ModelErrorKind.AUTHENTICATION, "bad key")
    (effect,) = decide(fold(created(), started(), requested(), failed))
    failure = RunFailure(FailureReason.MODEL_AUTHENTICATION, "bad key")
    assert effect == End("end", RunState.FAILED, "", failure)


def test_a_lost_request_keeps_its_reservation_spent() -> None:
    state = fold(created(), started(), requested(tokens=500), ModelLost(1, 1, "gone"))
    assert state.usage.unknown_tokens == 500
    assert [effect.key for effect in decide(state)] == ["turn-1.2"]


def test_a_cut_answer_says_whose_limit_it_was() -> None:
    cut = replied(text="half", stop=StopReason.MAX_TOKENS)
    (effect,) = decide(fold(created(), started(), requested(), cut))
    assert isinstance(effect, End)
    assert effect.failure
    assert effect.failure.reason is FailureReason.MODEL_OUTPUT_TRUNCATED
    state = fold(created(Budget(max_tokens=900)), started(max_output_tokens=4000), requested(), cut)
    assert state.failure
    assert state.failure.reason is FailureReason.BUDGET_TOKENS


def test_a_repeatable_call_is_attempted_again_and_then_given_up() -> None:
    state = fold(created(), started(attempts=2), requested(), replied(calls=[SAFE]))
    state = fold(leased(), CallLost(C1, 1, CallErrorReason.HOST_LOST), state=state)
    assert [effect.key for effect in decide(state)] == ["call-c1-1.2"]
    state = fold(leased(attempt=2), CallLost(C1, 2, CallErrorReason.HOST_LOST), state=state)
    (effect,) = decide(state)
    assert isinstance(effect, CloseCall)
    assert effect.error.reason is CallErrorReason.ATTEMPTS


def unknown(on_unknown: OnUnknown = OnUnknown.ASK) -> tuple[object, ...]:
    return (
        created(),
        started(on_unknown=on_unknown),
        requested(),
        replied(calls=[ONCE]),
        leased(),
        CallUnknown(C1, 1, CallErrorReason.HOST_LOST, "host lost"),
    )


def test_an_unknown_call_waits_for_a_person() -> None:
    (effect,) = decide(fold(*unknown()))  # type: ignore[arg-type]
    assert isinstance(effect, Wait)
    assert effect.reason is WaitReason.INPUT


def test_an_unknown_call_may_be_told_to_the_model() -> None:
    (effect,) = decide(fold(*unknown(OnUnknown.TELL_MODEL)))  # type: ignore[arg-type]
    assert isinstance(effect, CloseCall)
    assert effect.state is CallState.ABANDONED


def test_a_retry_of_an_unknown_call_is_a_new_attempt() -> None:
    state = fold(*unknown(), CallRetried(C1, "did not happen"))  # type: ignore[arg-type]
    assert [effect.key for effect in decide(state)] == ["call-c1-1.2"]


def test_a_probe_comes_before_a_person_and_is_not_repeated() -> None:
    reply = replied(calls=[ONCE])
    asked = type(reply.calls[0])(C1, path="t/x", effect=ONCE, reconcile=True)
    reply = type(reply)(1, 1, reply.message, reply.stop_reason, (asked,), reply.usage)
    state = fold(created(), started(), requested(), reply, leased())
    lost = CallUnknown(C1, 1, CallErrorReason.HOST_LOST, "host lost")
    state = fold(lost, state=state)
    (effect,) = decide(state)
    assert effect == ProbeCall("probe-c1-1.1", C1, 1)
    state = fold(CallProbed(C1, 1, HOST, "probe-token"), state=state)
    assert [probe.key for probe in decide(state)] == ["probe-c1-1.1"]
    state = fold(CallUnknown(C1, 1, CallErrorReason.HOST_LOST, "cannot say"), state=state)
    (effect,) = decide(state)
    assert isinstance(effect, Wait)


def test_a_probe_that_finds_a_call_not_executed_has_it_attempted_again() -> None:
    state = fold(*unknown(), CallProbed(C1, 1, HOST, "probe-token"))  # type: ignore[arg-type]
    state = fold(CallRetried(C1, "it had not been executed"), state=state)
    assert [effect.key for effect in decide(state)] == ["call-c1-1.2"]


def test_a_pause_starts_nothing_new_and_lets_work_go_on() -> None:
    state = fold(created(), started(parallel=1), requested(), replied(calls=[SAFE, SAFE]))
    state = fold(leased(), RunPaused(), state=state)
    assert [effect.key for effect in decide(state)] == ["call-c1-1.1"]
    state = fold(done(C1), state=state)
    assert decide(state) == ()
    state = fold(RunResumed(), state=state)
    assert [effect.key for effect in decide(state)] == ["call-c1-2.1"]


def test_waiting_ends_with_the_next_work() -> None:
    state = fold(created(), started(), requested(), replied(calls=[SAFE]))
    state = fold(RunWaiting(WaitReason.HOST, "t/x"), state=state)
    assert state.run is RunState.WAITING
    assert fold(leased(), state=state).run is RunState.RUNNING


def test_a_cancel_closes_the_history_before_it_ends() -> None:
    state = fold(created(), started(parallel=1), requested(), replied(calls=[ONCE, SAFE]))
    state = fold(leased(), RunCancelling(RunState.CANCELLED, "enough"), state=state)
    stop, close = decide(state)
    assert stop == StopCall("stop-c1-1.1", C1, 1)
    assert isinstance(close, CloseCall)
    assert close.state is CallState.CANCELLED
    state = fold(CallEnded(C2, 0, CallState.CANCELLED, error=close.error), state=state)
    stopped = CallError(CallErrorReason.CANCELLED, "stopped")
    state = fold(CallEnded(C1, 1, CallState.CANCELLED, error=stopped), state=state)
    (end,) = decide(state)
    assert isinstance(end, End)
    assert end.state is RunState.CANCELLED
    entry = CancelEntry("calls/c1-1", CancelOutcome.STOPPED, "it ended as CANCELLED")
    assert end.cancel_entries == (entry,)


def test_a_cancel_reports_a_call_that_finished_and_one_that_still_runs() -> None:
    state = fold(created(), started(), requested(), replied(calls=[ONCE, ONCE]))
    state = fold(leased("c1-1"), leased("c1-2"), RunCancelling(RunState.CANCELLED), state=state)
    late = CallUnknown(C2, 1, CallErrorReason.TIMEOUT, "it did not stop in time")
    state = fold(done(C1), late, state=state)
    outcomes = {entry.name: entry.outcome for entry in state.cancel_entries}
    assert outcomes == {
        "calls/c1-1": CancelOutcome.REFUSED,
        "calls/c1-2": CancelOutcome.STILL_RUNNING,
    }
    (close,) = decide(state)
    assert isinstance(close, CloseCall)
    assert close.state is CallState.ABANDONED


def test_a_cancel_stops_a_model_request() -> None:
    state = fold(created(), started(), requested(), RunCancelling(RunState.CANCELLED))
    assert decide(state) == ()
    state = fold(ModelLost(1, 1, "the run was cancelled"), state=state)
    assert state.cancel_entries[0].outcome is CancelOutcome.STOPPED
    (end,) = decide(state)
    assert isinstance(end, End)


def test_a_cancel_reports_a_request_that_was_answered_by_the_turn_it_was_of() -> None:
    state = fold(created(), started(), requested(), RunCancelling(RunState.CANCELLED))
    state = fold(replied(text="too late"), state=state)
    assert [entry.name for entry in state.cancel_entries] == ["requests/1"]


def test_a_pending_run_is_cancelled_at_once() -> None:
    (end,) = decide(fold(created(), RunCancelling(RunState.CANCELLED)))
    assert isinstance(end, End)


def test_a_restart_loses_what_was_in_this_process_and_nothing_else() -> None:
    state = fold(created(), started(), requested())
    assert interrupted(state) == (ModelLost(1, 1, "the daemon stopped"),)
    state = fold(replied(calls=[SAFE, ONCE, ONCE]), state=state)
    state = fold(
        leased("c1-1", host=LOCAL_HOST),
        leased("c1-2", host=LOCAL_HOST),
        leased("c1-3"),
        state=state,
    )
    lost, unknown_fact = interrupted(state)
    assert lost == CallLost(C1, 1, CallErrorReason.INTERRUPTED)
    assert isinstance(unknown_fact, CallUnknown)
    assert unknown_fact.call == C2


@pytest.mark.parametrize(
    "event",
    [
        created(),
        requested(2),
        replied(),
        leased(),
        done(C1),
        RunResumed(),
        CallRetried(C1),
        ModelLost(1, 1, "x"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_fact_that_cannot_follow_is_refused(event: object) -> None:
    with pytest.raises(IllegalEvent):
        evolve(fold(created(), started()), event)  # type: ignore[arg-type]


def test_nothing_follows_an_end() -> None:
    state = fold(created(), started(), requested(), replied(text="a"), RunEnded(RunState.SUCCEEDED))
    assert decide(state) == ()
    with pytest.raises(IllegalEvent):
        evolve(state, MessagePosted("more"))


def test_an_end_with_an_open_call_is_refused() -> None:
    state = fold(created(), started(), requested(), replied(calls=[SAFE]))
    with pytest.raises(IllegalEvent):
        evolve(state, RunEnded(RunState.FAILED))


def test_usage_is_charged_as_the_provider_says() -> None:
    usage = ModelUsage(100, 20, 50, 10, 7)
    state = fold(created(), started(), requested(), replied(text="a", usage=usage))
    assert (state.usage.turns, state.usage.input_tokens, state.usage.cost_nanos) == (1, 100, 7)
