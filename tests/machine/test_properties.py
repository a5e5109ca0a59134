"""What holds for every history of a run, whatever happens in whatever order."""

from collections.abc import Iterator, Sequence
from itertools import product
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.agent.approval import ApprovalId, ApprovalScope, ApprovalState
from agentd.agent.budget import Budget, ModelUsage, Prices
from agentd.agent.effects import (
    ApplyGrant,
    AskApproval,
    AskModel,
    Begin,
    CloseCall,
    Effect,
    End,
    ProbeCall,
    StartCall,
    StopCall,
    Wait,
)
from agentd.agent.events import (
    ApprovalDecided,
    ApprovalRequested,
    CallEnded,
    CallEvidenceKept,
    CallLeased,
    CallProbed,
    CallRetried,
    Entry,
    Event,
    GrantedTool,
    MessagePosted,
    ModelFailed,
    ModelLost,
    ModelReplied,
    ModelRequested,
    RequestedCall,
    RunCancelling,
    RunCreated,
    RunEnded,
    RunPaused,
    RunResumed,
    RunStarted,
    RunState,
    RunWaiting,
)
from agentd.agent.hosting import (
    Failed,
    NotExecuted,
    Outcome,
    OutcomeUnknown,
    Stopped,
    Succeeded,
)
from agentd.agent.ids import (
    DEFAULT_AGENT,
    DEFAULT_NAMESPACE,
    LOCAL_HOST,
    CallId,
    HostId,
    RunId,
    RunIdentity,
    RunKey,
)
from agentd.agent.message import AssistantMessage, ModelErrorKind, StopReason, ToolUse
from agentd.agent.permission import Decision, Grant, Judgement, Labels
from agentd.agent.spec import OnUnknown
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallError, CallErrorReason, CallState, EffectClass
from agentd.protocol.calls import fact_of, timed_out
from agentd.protocol.direct import decide
from agentd.protocol.folding import IllegalEvent
from agentd.protocol.machine import evolve, interrupted, without_outcome
from agentd.runtime.codec import decode_state, encode_state
from tests.invariants import check_run

HOST = HostId("host-1")
RUN = RunIdentity(RunKey(1), DEFAULT_NAMESPACE, RunId("r1"), DEFAULT_AGENT)
OUTCOMES: Sequence[Outcome] = (
    Succeeded("{}"),
    Failed("no"),
    Stopped(),
    OutcomeUnknown("?"),
    NotExecuted(),
)
TOOLS = tuple(
    GrantedTool(
        f"t/{effect.name}",
        effect.name,
        "digest",
        effect,
        reconcile=effect is EffectClass.IRREVERSIBLE,
    )
    for effect in EffectClass
)

LABELS = tuple(Labels(*pair) for pair in product((False, True), repeat=2))
VERDICTS = (
    None,
    Judgement(Decision.ALLOW, ("tool.use:t/x",), "tool.use:t/x", "allow tool.use:*"),
    Judgement(Decision.ASK, ("tool.use:t/x",), "tool.use:t/x", "ask tool.use:*"),
    Judgement(Decision.ASK, ("tool.use:t/x", "fs.read:/a"), "fs.read:/a", "ask fs.read:**"),
)

budgets = st.builds(
    Budget,
    max_turns=st.sampled_from((0, 0, 3)),
    max_tokens=st.sampled_from((0, 0, 0, 400)),
    max_cost_nanos=st.sampled_from((0, 0, 0, 900)),
    max_tool_calls=st.sampled_from((0, 0, 1, 3)),
)
seeds = st.integers(0, 2**32)


class Chooser:
    """Chooses by a seed, for so many events; without one it always takes the first."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = Random(seed)
        self._fixed = seed is None
        self.left = 0 if self._fixed else 10 + self.below(60)

    def below(self, bound: int) -> int:
        return 0 if self._fixed else self._random.randrange(bound)


def histories(budget: Budget, chooser: Chooser) -> Iterator[tuple[Event, State]]:
    """Yield a history and the states it folds to: what may happen, as it is chosen."""
    event: Event = RunCreated(DEFAULT_AGENT, 1, "g" * 40, budget)
    state = evolve(State(), event)
    yield event, state
    while not state.run.ended and chooser.left > 0:
        chooser.left -= 1
        possible = list(owed(state, chooser))
        if not possible or chooser.below(5) == 4:
            possible = list(outside(state))
        facts: Sequence[Event] = possible[chooser.below(len(possible)) :][:1]
        if chooser.below(12) == 11:
            facts = interrupted(state)
        for event in facts:
            state = evolve(state, event)
            yield event, state


def owed(state: State, chooser: Chooser) -> Iterator[Event]:
    """Yield what may come of each effect that is owed."""
    for effect in decide(state):
        yield from come_of(state, effect, chooser)
    if state.stopping and state.in_flight:
        yield from answers(state.in_flight, chooser)


def come_of(state: State, effect: Effect, chooser: Chooser) -> Iterator[Event]:
    match effect:
        case Begin():
            yield RunStarted(
                "scripted/demo",
                tools=TOOLS,
                prices=Prices(1, 2, 1, 1),
                max_output_tokens=100,
                max_parallel_calls=1 + chooser.below(3),
                max_attempts=1 + chooser.below(3),
                on_unknown=OnUnknown(1 + chooser.below(2)),
                labels=LABELS[chooser.below(4)],
                grants=(Grant(("tool.use:t/x",)),) if chooser.below(2) else (),
            )
        case AskModel(turn=turn, attempt=attempt, model=model, reservation=reservation):
            if state.in_flight:
                yield from answers(state.in_flight, chooser)
            else:
                yield ModelRequested(turn, attempt, model, reservation)
        case StartCall(call=call, attempt=attempt):
            present = called(state, call)
            if present.state is CallState.LEASED:
                yield from outcomes(state, present)
            else:
                host = LOCAL_HOST if chooser.below(2) else HOST
                yield CallLeased(call, attempt, host, f"token-{call}-{attempt}", 1_000)
        case ProbeCall(call=call, attempt=attempt):
            present = called(state, call)
            if present.probing:
                yield from outcomes(state, present)
            else:
                yield CallProbed(call, attempt, HOST, "probe")
        case StopCall(call=call):
            yield from outcomes(state, called(state, call))
        case CloseCall(call=call, attempt=attempt):
            yield CallEnded(call, attempt, effect.state, error=effect.error)
        case AskApproval(call=call):
            yield ApprovalRequested(ApprovalId(f"p-{call}"), call, "abc")
        case ApplyGrant(call=call):
            yield ApprovalDecided(ApprovalId(f"p-{call}"), call, ApprovalState.ALLOWED)
        case End():
            ended = (effect.state, effect.output, effect.failure)
            yield RunEnded(*ended, state.usage, effect.cancel_entries)
        case Wait(reason=reason, detail=detail):
            yield RunWaiting(reason, detail)


def answers(flight: ModelRequested, chooser: Chooser) -> Iterator[Event]:
    """Yield what may come of a model request, within its reservation."""
    turn, attempt, reserved = flight.turn, flight.attempt, flight.reservation
    usage = ModelUsage(
        reserved.tokens - reserved.max_output_tokens, chooser.below(reserved.max_output_tokens)
    )
    usage = usage.priced(Prices(1, 2, 1, 1))
    effects = [list(EffectClass)[chooser.below(4)] for _ in range(chooser.below(4))]
    uses = tuple(
        ToolUse(f"ref-{turn}-{index}", effect.name, "{}") for index, effect in enumerate(effects)
    )
    refusal = CallError(CallErrorReason.UNKNOWN_TOOL, "There is no such tool.")
    calls = tuple(
        RequestedCall(
            CallId(f"c{turn}-{index + 1}"),
            refusal if chooser.below(5) == 4 else None,
            f"t/{effect.name}",
            effect,
            effect is EffectClass.IRREVERSIBLE,
            VERDICTS[chooser.below(4)],
            LABELS[chooser.below(4)],
            LABELS[chooser.below(4)],
            "abc",
        )
        for index, effect in enumerate(effects)
    )
    message = AssistantMessage("text", uses)
    rare = chooser.below(10)
    stop = StopReason.TOOL_USE if rare < 8 else StopReason(rare - 5)
    for _ in range(3):
        yield ModelReplied(turn, attempt, message, stop, calls, usage)
    yield ModelFailed(turn, attempt, ModelErrorKind.OVERLOADED, "busy", retry_at_ms=5)
    yield ModelLost(turn, attempt, "gone")
    if rare == 7:
        yield ModelFailed(turn, attempt, ModelErrorKind.REFUSED, "no", usage=usage)


def outcomes(state: State, call: OpenCall) -> Iterator[Event]:
    """Yield what may become of an attempt, or of a probe into it."""
    for outcome in OUTCOMES:
        yield fact_of(call, outcome, stopping=state.stopping is not None)
    yield without_outcome(call, CallErrorReason.TIMEOUT, "too late")
    if call.effect.repeatable and not call.probing:
        yield timed_out(call)


def outside(state: State) -> Iterator[Event]:
    """Yield what people and late hosts may do."""
    if state.stopping or not state.calls:
        yield CallEvidenceKept(CallId("c1-1"), HOST, 1)
    if state.stopping:
        return
    yield MessagePosted("more")
    yield MessagePosted("and more")
    yield RunCancelling(RunState.CANCELLED)
    yield RunResumed() if state.run is RunState.PAUSED else RunPaused()
    for call in state.calls:
        if call.state is CallState.UNKNOWN:
            yield CallRetried(call.id, "a person says so")
            yield CallEnded(call.id, call.attempt, CallState.ABANDONED)
        elif call.approval and call.state is CallState.AWAITING_APPROVAL:
            yield from decisions(call, call.approval)


def decisions(call: OpenCall, approval: ApprovalId) -> Iterator[Event]:
    """Yield what a person may decide about a call."""
    edited = Judgement(Decision.ALLOW, ("tool.use:t/x", "net.connect:x"))
    allowed, denied = ApprovalState.ALLOWED, ApprovalState.DENIED
    yield ApprovalDecided(approval, call.id, allowed)
    yield ApprovalDecided(approval, call.id, allowed, scope=ApprovalScope.RUN)
    yield ApprovalDecided(approval, call.id, allowed, scope=ApprovalScope.AGENT, judgement=edited)
    yield ApprovalDecided(approval, call.id, denied, "no")


def called(state: State, call: CallId) -> OpenCall:
    found = state.call(call)
    assert found is not None
    return found


def entries_of(events: Sequence[Event]) -> list[Entry]:
    return [Entry(number * 3, RUN, number, number, event) for number, event in enumerate(events, 1)]


@given(budgets, seeds)
@settings(max_examples=200)
def test_every_history_holds_what_must_hold(budget: Budget, seed: int) -> None:
    events = [event for event, _ in histories(budget, Chooser(seed))]
    check_run(entries_of(events))


@given(budgets, seeds)
@settings(max_examples=80)
def test_effects_have_keys_of_their_own_and_none_follow_an_end(budget: Budget, seed: int) -> None:
    for _, state in histories(budget, Chooser(seed)):
        keys = [effect.key for effect in decide(state)]
        assert len(set(keys)) == len(keys)
        assert not (state.run.ended and keys)
        assert decide(state) == decide(decode_state(encode_state(state)))


@given(budgets, seeds)
@settings(max_examples=80)
def test_every_run_can_be_brought_to_an_end(budget: Budget, seed: int) -> None:
    *_, (_, state) = histories(budget, Chooser(seed))
    for _ in range(500):
        if state.run.ended:
            return
        state = evolve(state, friendly(state))
    raise AssertionError(state)


def friendly(state: State) -> Event:
    """Return the next fact of a run for which everything goes well from here on."""
    if state.run is RunState.PAUSED:
        return RunResumed()
    for call in state.calls:
        if call.state is CallState.UNKNOWN and not state.stopping and not call.reconcile:
            return CallEnded(call.id, call.attempt, CallState.RECONCILED, "{}")
        if call.approval and call.state is CallState.AWAITING_APPROVAL and not state.stopping:
            return next(decisions(call, call.approval))
    for event in owed(state, Chooser()):
        if not isinstance(event, RunWaiting):
            return event
    waits = [call for call in state.calls if call.state is CallState.UNKNOWN]
    return CallEnded(waits[0].id, waits[0].attempt, CallState.RECONCILED, "{}")


@given(budgets, seeds)
@settings(max_examples=80)
def test_a_restart_leaves_nothing_in_this_process(budget: Budget, seed: int) -> None:
    for _, state in histories(budget, Chooser(seed)):
        after = state
        for event in interrupted(state):
            after = evolve(after, event)
        assert after.in_flight is None
        assert interrupted(after) == ()
        held = {call.id for call in state.calls if call.host == HOST and call.token}
        assert held == {call.id for call in after.calls if call.host == HOST and call.token}


@given(budgets, seeds, seeds)
@settings(max_examples=80)
def test_what_cannot_follow_is_refused_and_changes_nothing(
    budget: Budget, seed: int, other: int
) -> None:
    strange = [event for event, _ in histories(budget, Chooser(other))]
    *_, (_, state) = histories(budget, Chooser(seed))
    before = encode_state(state)
    for event in strange:
        try:
            decide(evolve(state, event))
        except IllegalEvent:
            assert encode_state(state) == before


@given(budgets, seeds)
@settings(max_examples=120)
def test_nothing_that_a_rule_asks_about_runs_without_an_answer(budget: Budget, seed: int) -> None:
    asked: set[CallId] = set()
    allowed: set[CallId] = set()
    for event, _ in histories(budget, Chooser(seed)):
        match event:
            case ModelReplied(calls=calls):
                asked |= {call.call for call in calls if call.state is CallState.AWAITING_APPROVAL}
            case ApprovalDecided(call=call, decision=ApprovalState.ALLOWED):
                allowed.add(call)
            case CallLeased(call=call):
                assert call not in asked - allowed
            case _:
                pass


@given(budgets, seeds)
@settings(max_examples=80)
def test_what_a_run_has_seen_is_never_forgotten(budget: Budget, seed: int) -> None:
    before = Labels()
    for _, state in histories(budget, Chooser(seed)):
        assert state.labels | before == state.labels
        before = state.labels
