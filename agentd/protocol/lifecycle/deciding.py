"""Decide what a run of the protocol `lifecycle` wants. Pure.

Its threads want what runs of the protocol `direct` want; its phases and tasks want facts that
follow from the others, which are recorded without anything being done outside.
"""

from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from agentd.agent.budget import Limit, Reservation, Usage, reserve
from agentd.agent.effects import AskModel, Effect, End, Note
from agentd.agent.events import (
    FailureReason,
    RunCancelling,
    RunFailure,
    RunPaused,
    RunStarted,
    RunState,
)
from agentd.agent.lifecycle import RoutedModel, TaskState
from agentd.agent.lifecycle_events import ModelRerouted, PhaseEnded, TaskEnded
from agentd.agent.message import Purpose
from agentd.agent.state import State
from agentd.agent.threads import Lifecycle, Node, Thread
from agentd.protocol.lifecycle.folding import focus, turn_of
from agentd.protocol.lifecycle.phases import owed_by_phase
from agentd.protocol.lifecycle.routes import fallback, model_of

LIMITS = {
    Limit.TURNS: FailureReason.BUDGET_TURNS,
    Limit.TOKENS: FailureReason.BUDGET_TOKENS,
    Limit.COST: FailureReason.BUDGET_COST,
    Limit.TOOL_CALLS: FailureReason.BUDGET_TOOL_CALLS,
    Limit.WALL_TIME: FailureReason.BUDGET_WALL_TIME,
}
"""How a run fails that has reached a limit."""

_BUDGET = frozenset(LIMITS.values())
_LATE = (Purpose.MEMORY, Purpose.REFLECTION)
"""Phases whose failure does not undo what a run has reached."""


class Direct(msgspec.Struct, frozen=True):
    """What is taken over from the protocol `direct`."""

    serve: Callable[[State, RunStarted], Sequence[Effect]]
    """Lists what open calls want."""
    keep: Callable[[State], Sequence[Effect]]
    """Lists what is in progress."""
    wind_down: Callable[[State], Sequence[Effect]]
    """Lists what is left to be stopped, and then the end."""


def decide_lifecycle(state: State, direct: Direct) -> tuple[Effect, ...]:
    """List every effect that this state still owes, those in progress included."""
    lifecycle, started = state.lifecycle, state.started
    assert lifecycle is not None
    assert started is not None
    if state.stopping:
        flights = state.flights
        return tuple(direct.wind_down(replace(state, in_flight=flights[0] if flights else None)))
    if state.run is RunState.PAUSED or lifecycle.departure:
        present = [_present(thread) for thread in lifecycle.threads if thread.in_flight]
        effects = (*direct.keep(state), *present)
        if state.run is RunState.PAUSED:
            return effects
        return (Note("depart", RunPaused(lifecycle.departure)), *effects)
    failure = lifecycle.failure or _fatal(lifecycle)
    if failure:
        return (_stop(failure),)
    stopping = [node for node in lifecycle.tasks if node.stopping is not None]
    calls = [*_stopped(state, lifecycle, stopping, direct)]
    calls += direct.serve(_without(state, lifecycle, stopping), started)
    requests = _requests(state, lifecycle)
    if isinstance(requests, RunFailure):
        return (_stop(requests),)
    return (*calls, *requests, *owed_by_phase(state, lifecycle))


def _stop(failure: RunFailure) -> Effect:
    reason = failure.message[:1024]
    return Note("stop", RunCancelling(RunState.FAILED, reason, failure=failure))


def _fatal(lifecycle: Lifecycle) -> RunFailure | None:
    """Return the failure of a thread without which the run cannot go on."""
    for thread in lifecycle.threads:
        failure = thread.failure
        if failure is None or thread.purpose in _LATE or fallback(lifecycle, thread):
            continue
        if thread.purpose is not Purpose.EXECUTION or failure.reason in _BUDGET:
            return failure
    return None


def _without(state: State, lifecycle: Lifecycle, stopping: Sequence[Node]) -> State:
    """Return the state without the calls of tasks that are being stopped."""
    if not stopping:
        return state
    names = {node.spec.id for node in stopping}
    turns = {thread.turn for thread in lifecycle.threads if thread.task in names}
    return replace(
        state, calls=tuple(call for call in state.calls if turn_of(call.id) not in turns)
    )


def _stopped(
    state: State, lifecycle: Lifecycle, stopping: Sequence[Node], direct: Direct
) -> Sequence[Effect]:
    """List what is left to be stopped of tasks that were given up."""
    effects: list[Effect] = []
    for node in stopping:
        over = True
        for thread in lifecycle.threads:
            if thread.task == node.spec.id:
                owed = direct.wind_down(focus(state, lifecycle, thread))
                rest = [effect for effect in owed if not isinstance(effect, End)]
                over = over and thread.in_flight is None and not rest
                effects += rest
        if over:
            name, reason = node.spec.id, node.stopping or ""
            ended = TaskEnded(name, node.attempt, TaskState.ABANDONED, node.result, reason)
            effects.append(Note(f"abandon-{name}", ended))
    return effects


def _requests(state: State, lifecycle: Lifecycle) -> Sequence[Effect] | RunFailure:
    """List the model requests that are owed, each within what the others leave of the budget."""
    at_work = {turn_of(call.id) for call in state.calls}
    held = _Held(state.usage, lifecycle.turns)
    effects: list[Effect] = []
    refused: tuple[Thread, RunFailure] | None = None
    for flight in state.flights:
        held.take(flight.reservation)
    for thread in lifecycle.threads:
        node = lifecycle.task(thread.task) if thread.task else None
        if node and node.stopping is not None:
            continue
        if thread.in_flight:
            effects.append(_present(thread))
        elif thread.failure:
            effects += _after_failure(lifecycle, thread)
        elif thread.turn not in at_work and (thread.answer is None or thread.unread):
            request = _next(state, thread, model_of(lifecycle, thread), held)
            if isinstance(request, AskModel):
                effects.append(request)
            else:
                refused = refused or (thread, request)
    # What is in progress may leave more of the budget than it holds.
    if refused is None or effects or state.calls:
        return effects
    thread, failure = refused
    return (_failed(thread, failure),) if thread.purpose in _LATE else failure


class _Held:
    """What requests hold back from a budget, added up, and the numbers of their turns."""

    __slots__ = ("_turn", "usage")

    def __init__(self, usage: Usage, turn: int) -> None:
        self.usage = usage
        self._turn = turn

    def take(self, reservation: Reservation) -> None:
        """Hold back what a request reserves."""
        self.usage = replace(self.usage.lose(reservation), turns=self.usage.turns + 1)

    def next_turn(self) -> int:
        """Return the number of a turn that has none yet."""
        self._turn += 1
        return self._turn


def _failed(thread: Thread, failure: RunFailure) -> Effect:
    return Note(f"end-{thread.id}", PhaseEnded(thread.purpose, "failed", failure.message))


def _next(state: State, thread: Thread, model: RoutedModel, held: _Held) -> AskModel | RunFailure:
    reservation = reserve(
        state.budget,
        held.usage,
        context_tokens=thread.context_tokens,
        max_output_tokens=model.max_output_tokens,
        prices=model.prices,
    )
    if isinstance(reservation, Limit):
        message = f"the budget's {reservation.value} is used up"
        return RunFailure(LIMITS[reservation], message)
    held.take(reservation)
    turn = thread.turn or held.next_turn()
    attempt = thread.attempt + 1
    return AskModel(
        key=f"turn-{turn}.{attempt}",
        purpose=thread.purpose,
        model=model.name,
        turn=turn,
        attempt=attempt,
        reservation=reservation,
        not_before_ms=thread.not_before_ms,
        thread=thread.id,
    )


def _present(thread: Thread) -> AskModel:
    flight = thread.in_flight
    assert flight is not None
    return AskModel(
        key=f"turn-{flight.turn}.{flight.attempt}",
        purpose=thread.purpose,
        model=flight.model,
        turn=flight.turn,
        attempt=flight.attempt,
        reservation=flight.reservation,
        thread=thread.id,
    )


def _after_failure(lifecycle: Lifecycle, thread: Thread) -> Sequence[Effect]:
    """List what follows from the failure of a thread that does not end the run."""
    failure = thread.failure
    assert failure is not None
    other = fallback(lifecycle, thread)
    if other:
        failed = model_of(lifecycle, thread).name
        event = ModelRerouted(thread.id, thread.purpose, failed, other.name, failure.message)
        return (Note(f"reroute-{thread.id}.{thread.model}", event),)
    if thread.purpose in _LATE:
        return (_failed(thread, failure),)
    return ()  # A failed attempt of a task is judged like any other.
