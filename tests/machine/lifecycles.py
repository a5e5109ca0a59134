"""Histories of runs of the protocol `lifecycle`: what may happen, as it is chosen."""

from collections.abc import Iterator, Sequence

from agentd.agent.approval import ApprovalId, ApprovalState
from agentd.agent.budget import Budget, ModelUsage
from agentd.agent.effects import (
    AskModel,
    AskPlanApproval,
    Begin,
    Effect,
    Note,
    Recall,
    Remember,
)
from agentd.agent.events import (
    CallEnded,
    Event,
    MessagePosted,
    ModelFailed,
    ModelLost,
    ModelReplied,
    ModelRequested,
    RunCreated,
    RunResumed,
    RunStarted,
    RunState,
    RunWaiting,
)
from agentd.agent.ids import DEFAULT_AGENT
from agentd.agent.lifecycle import (
    Answer,
    Choice,
    Judged,
    Learned,
    NewMemory,
    Plan,
    RecalledMemory,
    Reflected,
    Route,
    RoutedModel,
    Simulated,
    TaskId,
    TaskSpec,
    TaskState,
    Terms,
    Verdict,
)
from agentd.agent.lifecycle_events import (
    MemoriesKept,
    MemoriesRecalled,
    PhaseAnswered,
    PlanApprovalDecided,
    PlanApprovalRequested,
    TaskEnded,
    TaskRetried,
    TaskStopping,
)
from agentd.agent.message import ModelErrorKind, Purpose, StopReason
from agentd.agent.state import State
from agentd.agent.threads import Lifecycle, Thread
from agentd.agent.tool import CallState
from agentd.protocol.direct import decide
from agentd.protocol.lifecycle.answers import faults_of
from agentd.protocol.machine import evolve, interrupted
from tests.machine.test_properties import TOOLS, Chooser, answers, decisions, outside
from tests.machine.test_properties import come_of as come_of_direct

MODELS = (
    RoutedModel("scripted/first", max_output_tokens=100),
    RoutedModel("scripted/second", max_output_tokens=100),
)


def histories(budget: Budget, chooser: Chooser) -> Iterator[tuple[Event, State]]:
    """Yield a history and the states it folds to."""
    event: Event = RunCreated(DEFAULT_AGENT, 1, "g" * 40, budget)
    state = evolve(State(), event)
    yield event, state
    while not state.run.ended and chooser.left > 0:
        chooser.left -= 1
        possible = list(owed(state, chooser))
        if not possible or chooser.below(6) == 5:
            possible = list(interference(state))
        facts: Sequence[Event] = possible[chooser.below(len(possible)) :][:1]
        if chooser.below(15) == 14:
            facts = interrupted(state)
        for event in facts:
            state = evolve(state, event)
            yield event, state


def owed(state: State, chooser: Chooser) -> Iterator[Event]:
    """Yield what may come of each effect that is owed."""
    effects = decide(state)
    for effect in effects:
        yield from come_of(state, effect, chooser)
    if state.lifecycle is None:
        return
    asked = {effect.turn for effect in effects if isinstance(effect, AskModel)}
    for thread in state.lifecycle.threads:
        if thread.in_flight and thread.in_flight.turn not in asked:
            yield from answered(state, state.lifecycle, thread, thread.in_flight, chooser)


def come_of(state: State, effect: Effect, chooser: Chooser) -> Iterator[Event]:
    lifecycle = state.lifecycle
    match effect:
        case Begin():
            terms = Terms(
                "g" * 40,
                routes=(Route(Purpose.EXECUTION, MODELS[: 1 + chooser.below(2)]),),
                simulate_only=chooser.below(12) == 11,
                require_plan_approval=chooser.below(4) == 3,
                max_parallel_tasks=1 + chooser.below(3),
            )
            for event in come_of_direct(state, effect, chooser):
                assert isinstance(event, RunStarted)
                yield RunStarted(
                    event.model,
                    tools=TOOLS,
                    max_output_tokens=100,
                    max_parallel_calls=event.max_parallel_calls,
                    on_unknown=event.on_unknown,
                    lifecycle=terms,
                )
        case AskModel(thread=name):
            assert lifecycle is not None
            thread = lifecycle.thread(name)
            assert thread is not None
            if thread.in_flight:
                yield from answered(state, lifecycle, thread, thread.in_flight, chooser)
            else:
                yield ModelRequested(
                    effect.turn, effect.attempt, effect.model, effect.reservation, name
                )
        case Note(event=event):
            yield event
        case Recall(query=query):
            yield MemoriesRecalled(query, (RecalledMemory("m", "lesson", "measure twice"),))
            yield MemoriesRecalled(query, error="gone")
        case Remember(phase=phase, memories=memories):
            yield MemoriesKept(phase, tuple(f"m{index}" for index in range(len(memories))))
            yield MemoriesKept(phase, error="gone")
        case AskPlanApproval(plan_json=plan_json):
            assert lifecycle is not None
            yield PlanApprovalRequested(ApprovalId(f"p-plan-{lifecycle.plans}"), plan_json, "abc")
        case _:
            yield from come_of_direct(state, effect, chooser)


def answered(
    state: State, lifecycle: Lifecycle, thread: Thread, flight: ModelRequested, chooser: Chooser
) -> Iterator[Event]:
    """Yield what may come of a model request of a thread."""
    turn, attempt, reserved = flight.turn, flight.attempt, flight.reservation
    if thread.purpose is Purpose.EXECUTION:
        for event in answers(flight, chooser):
            if isinstance(event, ModelReplied) and chooser.below(3) != 2:
                event = ModelReplied(  # noqa: PLW2901 - most turns of a task are its last
                    turn, attempt, event.message.__class__("a result"), StopReason.END_TURN
                )
            yield event
        return
    usage = ModelUsage(reserved.tokens - reserved.max_output_tokens, 1)
    end = StopReason.END_TURN
    for _ in range(4):
        answer = answer_of(lifecycle, thread, chooser)
        tools = {tool.alias: tool.effect for tool in state.started.tools} if state.started else {}
        faults = tuple(faults_of(answer, lifecycle, tools, task=thread.task, left=Budget()))
        yield PhaseAnswered(turn, attempt, "{}", end, None if faults else answer, faults, usage)
    yield PhaseAnswered(turn, attempt, "", end, None, ("it is empty",), usage)
    yield ModelFailed(turn, attempt, ModelErrorKind.OVERLOADED, "busy", retry_at_ms=5)
    yield ModelLost(turn, attempt, "gone")
    if chooser.below(8) == 7:
        yield ModelFailed(turn, attempt, ModelErrorKind.OVERLOADED, "down")


def answer_of(lifecycle: Lifecycle, thread: Thread, chooser: Chooser) -> Answer:
    match thread.purpose:
        case Purpose.PLANNING:
            return plan_of(lifecycle, chooser)
        case Purpose.SIMULATION:
            return Simulated((*[Verdict.PROCEED] * 4, *Verdict)[chooser.below(7)], "so it seems")
        case Purpose.FEEDBACK:
            choice = (*[Choice.ACCEPT] * 4, *Choice)[chooser.below(9)]
            node = lifecycle.task(thread.task)
            if choice is Choice.ACCEPT and node and node.failure:
                choice = Choice.ABANDON
            return Judged(choice, "because", "do it so")
        case Purpose.MEMORY:
            return Learned("it was", (NewMemory("fact", "it is"),)[: chooser.below(2)])
        case _:
            return Reflected(chooser.below(3) != 2, "the answer", ("measure twice",))


def plan_of(lifecycle: Lifecycle, chooser: Chooser) -> Plan:
    names = [TaskId(f"p{lifecycle.plans}-{index}") for index in range(1 + chooser.below(5))]
    tasks = []
    for index, name in enumerate(names):
        needs = tuple(need for need in names[:index] if chooser.below(3) == 2)
        tasks.append(TaskSpec(name, f"do {name}", "it is done", needs))
    return Plan(tuple(tasks), "a plan")


def interference(state: State) -> Iterator[Event]:
    """Yield what people and late hosts may do."""
    yield from outside(state)
    lifecycle = state.lifecycle
    if lifecycle is None or state.stopping or state.run.ended:
        return
    if lifecycle.approval and lifecycle.approved is ApprovalState.PENDING:
        for decision in (ApprovalState.ALLOWED, ApprovalState.DENIED):
            yield PlanApprovalDecided(lifecycle.approval, decision, "it is said")
    if lifecycle.phase is not Purpose.EXECUTION or not lifecycle.begun:
        return
    for node in lifecycle.tasks:
        name = node.spec.id
        if node.state is TaskState.RUNNING and node.stopping is None:
            yield TaskStopping(name, "given up")
        elif node.state is TaskState.FAILED and node.judged is None:
            yield TaskRetried(name, node.attempt + 1, "once more")
        elif node.state is TaskState.PENDING:
            yield TaskEnded(name, node.attempt, TaskState.ABANDONED, reason="given up")


def friendly(state: State) -> Event:
    """Return the next fact of a run for which everything goes well from here on."""
    lifecycle = state.lifecycle
    if state.run is RunState.PAUSED:
        return RunResumed()
    if not state.stopping:
        for call in state.calls:
            if call.state is CallState.UNKNOWN and not call.reconcile:
                return CallEnded(call.id, call.attempt, CallState.RECONCILED, "{}")
            if call.approval and call.state is CallState.AWAITING_APPROVAL:
                return next(decisions(call, call.approval))
    for event in owed(state, Chooser()):
        if not isinstance(event, RunWaiting):
            return event
    for call in state.calls:
        if call.state is CallState.UNKNOWN:
            return CallEnded(call.id, call.attempt, CallState.RECONCILED, "{}")
    assert lifecycle is not None
    if lifecycle.approval and lifecycle.approved is ApprovalState.PENDING:
        return PlanApprovalDecided(lifecycle.approval, ApprovalState.ALLOWED)
    return MessagePosted("go on")
