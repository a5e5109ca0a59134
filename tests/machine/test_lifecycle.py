"""What a run of the protocol `lifecycle` refuses, and what it wants, state by state."""

import pytest
from msgspec.structs import replace

from agentd.agent.approval import ApprovalId, ApprovalState
from agentd.agent.budget import Budget
from agentd.agent.effects import AskModel, Note, Recall
from agentd.agent.events import (
    Event,
    MessagePosted,
    ModelReplied,
    ModelRequested,
    RunCancelling,
    RunEnded,
    RunPaused,
    RunState,
)
from agentd.agent.lifecycle import (
    Choice,
    Judged,
    Plan,
    Route,
    RoutedModel,
    Simulated,
    TaskId,
    TaskSpec,
    TaskState,
    Terms,
    ThreadId,
    Verdict,
)
from agentd.agent.lifecycle_events import (
    MemoriesKept,
    MemoriesRecalled,
    ModelRerouted,
    PhaseAnswered,
    PhaseEnded,
    PhaseStarted,
    PlanAdopted,
    PlanApprovalDecided,
    TaskEnded,
    TaskRetried,
    TaskSkipped,
    TaskStarted,
    TaskStopping,
)
from agentd.agent.message import Purpose, StopReason
from agentd.agent.state import State
from agentd.agent.tool import EffectClass
from agentd.protocol.direct import decide
from agentd.protocol.folding import IllegalEvent
from agentd.protocol.machine import evolve
from tests.machine.build import created, fold, leased, replied, started

A, B = TaskId("a"), TaskId("b")
TERMS = Terms(
    "goal", routes=(Route(Purpose.EXECUTION, (RoutedModel("m", max_output_tokens=100),)),)
)
PLAN = Plan((TaskSpec(A, "do a"), TaskSpec(B, "do b", dependencies=(A,))))


def begun() -> State:
    return fold(created(Budget()), replace(started(), lifecycle=TERMS))


def settled(state: State, *, stop: type[Event]) -> State:
    """Record what follows by itself, up to an event of a kind."""
    for _ in range(20):
        for effect in decide(state):
            match effect:
                case Note(event=event):
                    state = evolve(state, event)
                case Recall(query=query):
                    state = evolve(state, MemoriesRecalled(query))
                    break
                case AskModel() if not state.flights:
                    flight = (effect.turn, effect.attempt, effect.model, effect.reservation)
                    state = evolve(state, ModelRequested(*flight, effect.thread))
                    break
                case _:
                    continue
            if isinstance(effect, Note) and isinstance(effect.event, stop):
                return state
    return state


def answer(state: State, value: object) -> State:
    (flight,) = state.flights
    end = StopReason.END_TURN
    return evolve(
        state,
        PhaseAnswered(flight.turn, flight.attempt, "{}", end, value),  # type: ignore[arg-type]
    )


def working() -> State:
    """A run whose first task has a request in flight."""
    state = answer(settled(begun(), stop=TaskStarted), PLAN)
    state = answer(settled(state, stop=TaskStarted), Simulated(Verdict.PROCEED))
    return settled(state, stop=TaskEnded)


def calling(reply: ModelReplied | None = None) -> State:
    """A run whose first task has a call at a host."""
    (flight,) = working().flights
    given = replied(flight.turn, flight.attempt, calls=[EffectClass.READ_ONLY])
    return fold(reply or given, leased(f"c{flight.turn}-1"), state=working())


def test_a_run_recalls_before_it_plans() -> None:
    (effect,) = decide(begun())
    assert effect == Recall("recall", "goal")
    state = settled(begun(), stop=PhaseStarted)
    assert [flight.thread for flight in state.flights] in ([], ["planning-1"])


TASK_A, FEEDBACK = ThreadId("task-a.1"), ThreadId("feedback-a.1")
ALLOWED = ApprovalState.ALLOWED
REFUSED: dict[str, Event] = {
    "a task ends while its model is asked": TaskEnded(A, 1, TaskState.SUCCEEDED),
    "a task is judged while at work": PhaseStarted(Purpose.FEEDBACK, FEEDBACK, "?", A),
    "a phase ends while a task is at work": PhaseEnded(Purpose.EXECUTION, "done"),
    "a phase ends that is not the present one": PhaseEnded(Purpose.PLANNING, "planned"),
    "a phase begins out of turn": PhaseStarted(Purpose.MEMORY, ThreadId("memory"), "?"),
    "a phase begins twice": PhaseStarted(Purpose.EXECUTION),
    "a task that was not judged is told": PhaseEnded(Purpose.FEEDBACK, "accept", "", A),
    "a task begins twice": TaskStarted(A, 1, ThreadId("t"), "?"),
    "a task begins at another attempt": TaskStarted(B, 2, ThreadId("t"), "?"),
    "a task that runs is retried": TaskRetried(A, 2),
    "a task that runs is skipped": TaskSkipped(A, "no"),
    "a task that waits is stopped": TaskStopping(B, "no"),
    "a task that waits succeeds": TaskEnded(B, 1, TaskState.SUCCEEDED),
    "another attempt ends": TaskEnded(A, 2, TaskState.FAILED),
    "a task ends as one that goes on": TaskEnded(A, 1, TaskState.PENDING),
    "nobody knows the task": TaskSkipped(TaskId("z"), "no"),
    "a plan is adopted that is not there": PlanAdopted(PLAN, 2),
    "nobody asked about the plan": PlanApprovalDecided(ApprovalId("p"), ALLOWED),
    "what was recalled is recalled again": MemoriesRecalled("goal"),
    "memories are kept too early": MemoriesKept(Purpose.MEMORY),
    "a model that works is given up": ModelRerouted(TASK_A, Purpose.EXECUTION, "m", "n"),
    "an answer that nobody asked for": PhaseAnswered(99, 1, "{}", StopReason.END_TURN),
    "a request of no thread": ModelRequested(9, 1, "m", thread=ThreadId("x")),
    "the run ends while a model is asked": RunEnded(RunState.SUCCEEDED),
}


@pytest.mark.parametrize("event", REFUSED.values(), ids=REFUSED)
def test_what_cannot_follow_is_refused(event: Event) -> None:
    with pytest.raises(IllegalEvent):
        evolve(working(), event)


@pytest.mark.parametrize(
    "event",
    [
        TaskEnded(A, 1, TaskState.ABANDONED),
        PhaseStarted(Purpose.FEEDBACK, ThreadId("f"), "?", A),
        PhaseEnded(Purpose.EXECUTION, "done"),
    ],
    ids=["end", "judge", "finish"],
)
def test_a_task_with_a_call_at_work_goes_on(event: Event) -> None:
    with pytest.raises(IllegalEvent):
        evolve(calling(), event)


def test_nothing_of_a_plan_begins_in_a_run_that_is_cancelled() -> None:
    state = evolve(working(), RunCancelling(RunState.CANCELLED))
    for event in (TaskStopping(A), TaskSkipped(B, "no")):
        with pytest.raises(IllegalEvent):
            evolve(state, event)


def test_a_run_of_direct_has_no_phases() -> None:
    with pytest.raises(IllegalEvent):
        evolve(fold(created(), started()), PhaseStarted(Purpose.PLANNING))


def test_a_turn_is_never_numbered_twice() -> None:
    state = working()
    (flight,) = state.flights
    lost = fold(replied(flight.turn, flight.attempt, text="done"), state=state)
    with pytest.raises(IllegalEvent):
        evolve(lost, ModelRequested(flight.turn, 1, "m", thread=flight.thread))


def test_what_departs_from_an_approved_plan_is_told_once() -> None:
    state = working()
    (flight,) = state.flights
    reply = replied(flight.turn, flight.attempt, calls=[EffectClass.READ_ONLY])
    call = replace(reply.calls[0], departs="it calls what was not planned")
    state = evolve(state, replace(reply, calls=(call,)))
    effects = decide(state)
    assert effects == (Note("depart", RunPaused("it calls what was not planned")),)
    paused = evolve(state, RunPaused("it calls what was not planned"))
    assert decide(paused) == ()
    assert paused.lifecycle is not None
    assert paused.lifecycle.departure == ""


def test_requests_of_tasks_share_what_is_left_of_the_budget() -> None:
    plan = Plan((TaskSpec(A, "do a"), TaskSpec(B, "do b")))
    state = answer(settled(begun(), stop=TaskStarted), plan)
    state = answer(settled(state, stop=TaskStarted), Simulated(Verdict.PROCEED))
    while not [effect for effect in decide(state) if isinstance(effect, AskModel)]:
        for effect in decide(state):
            assert isinstance(effect, Note)
            state = evolve(state, effect.event)
    first, second = [effect for effect in decide(state) if isinstance(effect, AskModel)]
    assert second.turn == first.turn + 1
    tight = state.usage.tokens + first.reservation.tokens + second.reservation.tokens - 90
    state = replace(state, budget=Budget(max_tokens=tight))
    only = [effect for effect in decide(state) if isinstance(effect, AskModel)]
    assert [effect.thread for effect in only] == [first.thread]
    asked = ModelRequested(first.turn, 1, first.model, first.reservation, first.thread)
    again = [effect for effect in decide(evolve(state, asked)) if isinstance(effect, AskModel)]
    assert [effect.thread for effect in again] == [first.thread]


def test_a_judgement_is_told_before_it_is_carried_out() -> None:
    state = working()
    (flight,) = state.flights
    state = evolve(state, replied(flight.turn, flight.attempt, text="done"))
    state = settled(state, stop=TaskEnded)
    state = answer(state, Judged(Choice.ACCEPT, "good"))
    (effect,) = decide(state)
    assert isinstance(effect, Note)
    assert effect.event == PhaseEnded(Purpose.FEEDBACK, "accept", "good", A)
    (effect,) = decide(evolve(state, effect.event))
    assert isinstance(effect, Note)
    assert effect.event == TaskEnded(A, 1, TaskState.SUCCEEDED, "done", "good")


def test_a_task_reads_what_the_user_says_before_it_is_judged() -> None:
    state = working()
    (flight,) = state.flights
    state = evolve(state, MessagePosted("make it blue"))
    state = evolve(state, replied(flight.turn, flight.attempt, text="done"))
    (effect,) = decide(state)
    assert isinstance(effect, AskModel)
    assert effect.thread == flight.thread
    asked = ModelRequested(effect.turn, 1, "m", effect.reservation, effect.thread)
    state = fold(asked, replied(effect.turn, 1, text="blue"), state=state)
    (judged,) = decide(state)
    assert isinstance(judged, Note)
    assert isinstance(judged.event, PhaseStarted)
    assert "make it blue" in judged.event.prompt
