"""What holds for every history of a run of the protocol `lifecycle`."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.agent.budget import Budget
from agentd.agent.ids import HostId
from agentd.agent.lifecycle_events import PhaseEnded, TaskEnded, TaskStarted
from agentd.agent.state import State
from agentd.protocol.direct import decide
from agentd.protocol.folding import IllegalEvent
from agentd.protocol.machine import evolve, interrupted
from agentd.runtime.codec import decode_event, decode_state, encode_event, encode_state
from tests.invariants import check_run
from tests.machine.lifecycles import friendly, histories
from tests.machine.test_properties import HOST, Chooser, entries_of, seeds

LONG = 250

budgets = st.builds(
    Budget,
    max_turns=st.sampled_from((0, 0, 12)),
    max_tokens=st.sampled_from((0, 0, 3_000, 5_000, 8_000)),
    max_tool_calls=st.sampled_from((0, 0, 1, 3)),
)


def chooser(seed: int) -> Chooser:
    chosen = Chooser(seed)
    chosen.left = 20 + chosen.below(LONG)
    return chosen


@given(budgets, seeds)
@settings(max_examples=100, deadline=None)
def test_every_history_holds_what_must_hold(budget: Budget, seed: int) -> None:
    events = [event for event, _ in histories(budget, chooser(seed))]
    check_run(entries_of(events))
    assert [decode_event(*encode_event(event)) for event in events] == events


@given(budgets, seeds)
@settings(max_examples=40, deadline=None)
def test_effects_have_keys_of_their_own_and_survive_a_snapshot(budget: Budget, seed: int) -> None:
    for _, state in histories(budget, chooser(seed)):
        effects = decide(state)
        keys = [effect.key for effect in effects]
        assert len(set(keys)) == len(keys), keys
        assert not (state.run.ended and keys)
        assert effects == decide(decode_state(encode_state(state)))


@given(budgets, seeds)
@settings(max_examples=50, deadline=None)
def test_every_run_can_be_brought_to_an_end(budget: Budget, seed: int) -> None:
    *_, (_, state) = histories(budget, chooser(seed))
    history = []
    for _ in range(2_000):
        if state.run.ended:
            return
        event = friendly(state)
        history.append(event)
        state = evolve(state, event)
    raise AssertionError(history[-40:])


@given(budgets, seeds)
@settings(max_examples=30, deadline=None)
def test_a_restart_leaves_nothing_in_this_process(budget: Budget, seed: int) -> None:
    for _, state in histories(budget, chooser(seed)):
        after = state
        for event in interrupted(state):
            after = evolve(after, event)
        assert after.flights == ()
        assert interrupted(after) == ()
        assert held(after, HOST) == held(state, HOST)


def held(state: State, host: HostId) -> set[str]:
    return {call.id for call in state.calls if call.host == host and call.token}


@given(budgets, seeds, seeds)
@settings(max_examples=30, deadline=None)
def test_what_cannot_follow_is_refused_and_changes_nothing(
    budget: Budget, seed: int, other: int
) -> None:
    strange = [event for event, _ in histories(budget, chooser(other))]
    *_, (_, state) = histories(budget, chooser(seed))
    before = encode_state(state)
    for event in strange:
        try:
            decide(evolve(state, event))
        except IllegalEvent:
            assert encode_state(state) == before


def test_histories_reach_every_phase_and_every_end_of_a_task() -> None:
    """Guards the histories themselves: what they never reach is not tested."""
    outcomes, attempts, ends = set(), set(), set()
    for seed in range(120):
        for event, _ in histories(Budget(), chooser(seed)):
            match event:
                case PhaseEnded(phase=phase, outcome=outcome):
                    outcomes.add((phase.name, outcome))
                case TaskStarted(attempt=attempt):
                    attempts.add(attempt)
                case TaskEnded(state=state):
                    ends.add(state.name)
                case _:
                    pass
    assert {name for name, _ in outcomes} == {
        "PLANNING",
        "SIMULATION",
        "EXECUTION",
        "FEEDBACK",
        "MEMORY",
        "REFLECTION",
    }
    wanted = {("SIMULATION", "revise"), ("EXECUTION", "replan"), ("FEEDBACK", "ask")}
    assert wanted <= outcomes
    assert attempts >= {1, 2}
    assert ends == {"SUCCEEDED", "FAILED", "ABANDONED"}
