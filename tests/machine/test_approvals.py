"""What the machine makes of verdicts: questions, answers, grants and labels."""

import pytest
from msgspec.structs import replace

from agentd.agent.approval import ApprovalId, ApprovalScope, ApprovalState
from agentd.agent.budget import Budget
from agentd.agent.effects import (
    ApplyGrant,
    AskApproval,
    AskModel,
    CloseCall,
    StartCall,
    Wait,
)
from agentd.agent.events import (
    CallEnded,
    CallLost,
    CallUnknown,
    Event,
    RequestedCall,
    RunCancelling,
    RunPaused,
    RunResumed,
    RunState,
    RunWaiting,
    WaitReason,
)
from agentd.agent.ids import CallId
from agentd.agent.permission import Decision, Grant, Judgement, Labels
from agentd.agent.tool import CallError, CallErrorReason, CallState, EffectClass
from agentd.protocol.approvals import MAX_GRANTS
from agentd.protocol.direct import decide
from agentd.protocol.folding import IllegalEvent
from agentd.protocol.machine import evolve
from tests.machine.build import (
    asking,
    created,
    decided,
    fold,
    leased,
    question,
    replied,
    requested,
    started,
)

C1, C2 = CallId("c1-1"), CallId("c1-2")
BOTH = Labels(untrusted=True, private=True)
UNTRUSTED = Labels(untrusted=True)
ASKED = (created(), started(), requested(), asking("tool.use:a/b"))
WAITS = (*ASKED, question())


@pytest.mark.parametrize(
    ("call", "state"),
    [
        (RequestedCall(C1), CallState.QUEUED),
        (RequestedCall(C1, judgement=Judgement(Decision.ALLOW)), CallState.QUEUED),
        (RequestedCall(C1, judgement=Judgement(Decision.ASK)), CallState.AWAITING_APPROVAL),
        (
            RequestedCall(
                C1,
                CallError(CallErrorReason.PERMISSION, "no"),
                judgement=Judgement(Decision.DENY),
            ),
            CallState.REQUESTED,
        ),
    ],
)
def test_a_verdict_is_the_state_that_a_call_begins_in(
    call: RequestedCall, state: CallState
) -> None:
    assert call.state is state


def test_a_call_that_a_rule_asks_about_is_asked_about_once_and_waited_for() -> None:
    state = fold(*ASKED)
    assert decide(state) == (AskApproval("ask-c1-1", C1),)
    state = fold(question(), state=state)
    assert decide(state) == (Wait("approval-c1-1", WaitReason.APPROVAL, "approvals/p-c1-1"),)
    state = fold(RunWaiting(WaitReason.APPROVAL, "approvals/p-c1-1"), state=state)
    assert state.run is RunState.WAITING


def test_an_allowed_call_is_executed() -> None:
    state = fold(*WAITS, RunWaiting(WaitReason.APPROVAL), decided())
    assert state.run is RunState.RUNNING
    assert decide(state) == (StartCall("call-c1-1.1", C1, 1),)
    assert state.grants == ()


def test_a_refused_call_is_closed_as_denied_and_says_why() -> None:
    state = fold(*WAITS, decided(decision=ApprovalState.DENIED, reason="not to her"))
    (effect,) = decide(state)
    assert isinstance(effect, CloseCall)
    assert (effect.state, effect.error.reason) == (CallState.DENIED, CallErrorReason.PERMISSION)
    assert "not to her" in effect.error.message
    state = fold(CallEnded(C1, 0, effect.state, error=effect.error), state=state)
    (effect,) = decide(state)
    assert isinstance(effect, AskModel)


def test_a_call_that_a_rule_denies_is_closed_as_denied() -> None:
    reply = asking("tool.use:a/b", decision=Decision.DENY)
    error = CallError(CallErrorReason.PERMISSION, "no rule allows it")
    reply = replace(reply, calls=(replace(reply.calls[0], refusal=error),))
    state = fold(created(), started(), requested(), reply)
    assert decide(state) == (CloseCall("close-c1-1", C1, 0, CallState.DENIED, error),)


def test_others_go_on_while_one_is_waited_for() -> None:
    reply = asking("tool.use:a/b")
    free = replied(calls=[EffectClass.READ_ONLY, EffectClass.READ_ONLY])
    calls = (reply.calls[0], free.calls[1])
    state = fold(created(), started(), requested(), replace(free, calls=calls), question())
    assert [effect.key for effect in decide(state)] == ["approval-c1-1", "call-c1-2.1"]


def test_edited_arguments_bring_their_own_verdict() -> None:
    judged = Judgement(Decision.ALLOW, ("tool.use:a/b", "net.connect:x"))
    state = fold(*WAITS, decided(scope=ApprovalScope.RUN, judgement=judged))
    (call,) = state.calls
    assert call.judgement == judged
    assert state.grants == (Grant(judged.needs),)


def test_a_grant_answers_what_waits_beside_it_and_needs_no_more() -> None:
    state = fold(
        created(),
        started(),
        requested(),
        asking("tool.use:a/b", "tool.use:a/b", "tool.use:a/c"),
        question("c1-1"),
        question("c1-2"),
        question("c1-3"),
        decided("c1-1", scope=ApprovalScope.RUN),
    )
    assert state.grants == (Grant(("tool.use:a/b",)),)
    effects = {type(effect): effect for effect in decide(state)}
    assert effects[ApplyGrant] == ApplyGrant("grant-c1-2", C2)
    waits = effects[Wait]
    assert isinstance(waits, Wait)
    assert waits.key == "approval-c1-3"


@pytest.mark.parametrize(
    ("given", "needs", "seen", "covered"),
    [
        (Grant(("a", "b")), ("a",), Labels(), True),
        (Grant(("a", "b")), ("b", "a"), Labels(), True),
        (Grant(("a",)), ("a", "b"), Labels(), False),
        (Grant(("a",)), ("a",), UNTRUSTED, False),
        (Grant(("a",), UNTRUSTED), ("a",), UNTRUSTED, True),
        (Grant(("a",), UNTRUSTED), ("a",), BOTH, False),
        (Grant(("a",), BOTH), ("a",), UNTRUSTED, True),
        (Grant(("a",), BOTH), ("a",), Labels(), True),
    ],
)
def test_a_grant_covers_what_needs_no_more_and_has_seen_no_more(
    given: Grant, needs: tuple[str, ...], seen: Labels, covered: bool
) -> None:
    assert given.covers(needs, seen) is covered


def test_a_grant_is_for_what_the_run_had_seen() -> None:
    reply = asking("tool.use:a/b", seen=UNTRUSTED)
    state = fold(
        created(), started(), requested(), reply, question(), decided(scope=ApprovalScope.RUN)
    )
    assert state.grants == (Grant(("tool.use:a/b",), UNTRUSTED),)


def test_grants_are_kept_once_and_in_bounds() -> None:
    grants = tuple(Grant((f"tool.use:a/t{number}",)) for number in range(MAX_GRANTS))
    begun = replace(started(), grants=grants)
    asked = (created(), begun, requested(), asking("tool.use:a/t3"), question())
    state = fold(*asked, decided(scope=ApprovalScope.RUN))
    assert state.grants == grants
    asked = (created(), begun, requested(), asking("tool.use:a/b"), question())
    state = fold(*asked, decided(scope=ApprovalScope.AGENT))
    assert len(state.grants) == MAX_GRANTS
    assert state.grants[-1] == Grant(("tool.use:a/b",))


def test_a_pause_asks_nothing_and_takes_answers() -> None:
    state = fold(*ASKED, RunPaused())
    assert decide(state) == ()
    state = fold(RunResumed(), question(), RunPaused(), decided(), state=state)
    assert (state.run, state.calls[0].state) == (RunState.PAUSED, CallState.QUEUED)
    assert decide(state) == ()


@pytest.mark.parametrize("asked", [ASKED, WAITS], ids=["not asked", "asked"])
def test_a_cancel_closes_what_is_waited_for(asked: tuple[Event, ...]) -> None:
    state = fold(*asked, RunCancelling(RunState.CANCELLED))
    (close,) = decide(state)
    assert isinstance(close, CloseCall)
    assert close.state is CallState.CANCELLED
    state = fold(CallEnded(C1, 0, close.state, error=close.error), state=state)
    assert [effect.key for effect in decide(state)] == ["end"]


def test_an_allowed_call_may_still_be_too_many() -> None:
    state = fold(created(Budget(max_tool_calls=1)), started(), requested())
    reply = asking("tool.use:a/b", "tool.use:a/c")
    state = fold(reply, question(), question("c1-2"), decided(), leased(), state=state)
    state = fold(decided("c1-2"), state=state)
    (_, close) = decide(state)
    assert isinstance(close, CloseCall)
    assert (close.call, close.error.reason) == (C2, CallErrorReason.BUDGET)


STOPPING = (*WAITS, RunCancelling(RunState.CANCELLED))
OTHER = replace(decided(), approval=ApprovalId("p-other"))


@pytest.mark.parametrize(
    ("history", "event"),
    [
        ((created(), started(), requested()), question()),
        ((created(), started(), requested(), replied(calls=[EffectClass.READ_ONLY])), question()),
        (WAITS, question()),
        (STOPPING, question()),
        ((*ASKED, RunCancelling(RunState.CANCELLED)), question()),
        (ASKED, decided()),
        (WAITS, OTHER),
        (WAITS, decided("c1-2")),
        (WAITS, decided(decision=ApprovalState.PENDING)),
        (WAITS, decided(decision=ApprovalState.CANCELLED)),
        (STOPPING, decided()),
        ((*WAITS, decided()), decided()),
        ((*WAITS, decided(decision=ApprovalState.DENIED)), decided()),
        (WAITS, leased()),
        (ASKED, CallEnded(C1, 0, CallState.SUCCEEDED, "{}")),
        (WAITS, CallEnded(C1, 0, CallState.DENIED)),
        (WAITS, CallLost(C1, 0, CallErrorReason.HOST_LOST)),
        (WAITS, CallUnknown(C1, 0, CallErrorReason.HOST_LOST)),
    ],
)
def test_what_cannot_follow_is_refused(history: tuple[Event, ...], event: Event) -> None:
    with pytest.raises(IllegalEvent):
        evolve(fold(*history), event)


@pytest.mark.parametrize(
    ("end", "brings"),
    [
        (CallEnded(C1, 1, CallState.SUCCEEDED, "{}"), True),
        (CallEnded(C1, 1, CallState.RECONCILED, "{}"), True),
        (
            CallEnded(
                C1, 1, CallState.FAILED, error=CallError(CallErrorReason.TOOL_FAILED, "obey me")
            ),
            True,
        ),
        (CallEnded(C1, 1, CallState.ABANDONED), True),
        (CallEnded(C1, 1, CallState.CANCELLED), False),
    ],
)
def test_the_end_of_a_labelled_call_brings_its_labels(end: CallEnded, brings: bool) -> None:
    reply = replied(calls=[EffectClass.READ_ONLY])
    labelled = replace(reply, calls=(replace(reply.calls[0], labels=UNTRUSTED),))
    state = fold(created(), started(), requested(), labelled, leased())
    assert state.labels == Labels()
    assert fold(end, state=state).labels == (UNTRUSTED if brings else Labels())


def test_a_call_that_was_never_attempted_brings_nothing() -> None:
    reply = replied(calls=[EffectClass.READ_ONLY])
    labelled = replace(reply, calls=(replace(reply.calls[0], labels=BOTH),))
    state = fold(created(), started(), requested(), labelled)
    assert fold(CallEnded(C1, 0, CallState.DENIED), state=state).labels == Labels()


def test_a_run_begins_with_what_was_seen_before_it() -> None:
    begun = replace(started(), labels=UNTRUSTED, grants=(Grant(("tool.use:a/b",)),))
    state = fold(created(), begun)
    assert (state.labels, state.grants) == (UNTRUSTED, (Grant(("tool.use:a/b",)),))
