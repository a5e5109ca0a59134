"""Fold facts into a run of the protocol `lifecycle`. Pure.

A thread is a run of the protocol `direct` in small: what happens to it is folded by the machine of
that protocol, on a state that shows the thread's turns and calls as the run's own.

A task's states, and the facts that move it:

    PENDING --TaskStarted--> RUNNING --TaskEnded--> SUCCEEDED, FAILED, ABANDONED
    FAILED --TaskRetried--> PENDING
    PENDING --TaskSkipped--> SKIPPED
    PENDING, FAILED --TaskEnded--> ABANDONED, when somebody gives it up
"""

from collections.abc import Callable

from msgspec.structs import replace

from agentd.agent.events import (
    CallEvidenceKept,
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
from agentd.agent.ids import CallId
from agentd.agent.lifecycle import (
    Answer,
    Judged,
    Learned,
    Plan,
    Reflected,
    Simulated,
    Terms,
)
from agentd.agent.lifecycle_events import LifecycleEvent, PhaseAnswered
from agentd.agent.message import Purpose, StopReason
from agentd.agent.state import State
from agentd.agent.threads import Lifecycle, Thread
from agentd.protocol.folding import IllegalEvent, at_work, estimate_tokens
from agentd.protocol.lifecycle.facts import evolve_fact, with_node, with_thread, without_thread

MAX_NOTES = 20
"""Messages of the user that later prompts hold."""
NOTE_CHARS = 4_000

Fold = Callable[[State, Event], State]

_RunEvent = (
    RunCreated
    | RunStarted
    | RunWaiting
    | RunPaused
    | RunResumed
    | RunCancelling
    | RunEnded
    | CallEvidenceKept
)


def begin(terms: Terms) -> Lifecycle:
    """Return the state that a run of the protocol starts in."""
    return Lifecycle(terms)


def evolve_lifecycle(state: State, event: Event, fold: Fold) -> State:
    """Fold one fact, or raise IllegalEvent. `fold` is that of the protocol `direct`."""
    lifecycle = state.lifecycle
    assert lifecycle is not None
    match event:
        case ModelRequested():
            return _requested(state, lifecycle, event, fold)
        case ModelReplied() | ModelFailed() | ModelLost():
            thread = _in_flight(state, lifecycle, event, event.turn)
            state = _within(state, lifecycle, thread, event, fold)
            return _departing(state, event) if isinstance(event, ModelReplied) else state
        case PhaseAnswered():
            thread = _in_flight(state, lifecycle, event, event.turn)
            return _answered(state, lifecycle, thread, event)
        case MessagePosted():
            return _posted(state, lifecycle, event, fold)
        case (
            RunCreated()
            | RunStarted()
            | RunWaiting()
            | RunPaused()
            | RunResumed()
            | RunCancelling()
            | RunEnded()
            | CallEvidenceKept()
        ):
            return _of_run(state, lifecycle, event, fold)
        case _ if isinstance(event, LifecycleEvent):
            if state.stopping:
                raise IllegalEvent(state, event, "the run is being cancelled")
            state = evolve_fact(state, lifecycle, event)
            return replace(state, run=at_work(state), waiting=None)
        case _:
            owner = lifecycle.of_turn(turn_of(event.call))
            if owner is None:
                raise IllegalEvent(state, event, f"call {event.call} is not open")
            return _within(state, lifecycle, owner, event, fold)


def turn_of(call: CallId) -> int:
    """Return the turn that asked for a call."""
    digits = call[1:].partition("-")[0]
    return int(digits) if digits.isdecimal() else 0


def focus(state: State, lifecycle: Lifecycle, thread: Thread) -> State:
    """Return the state that shows a thread as a run of the protocol `direct`."""
    prefix = f"c{thread.turn}-"
    return replace(
        state,
        lifecycle=None,
        turn=thread.turn,
        attempt=thread.attempt,
        in_flight=thread.in_flight,
        not_before_ms=thread.not_before_ms,
        context_tokens=thread.context_tokens,
        calls=tuple(call for call in state.calls if call.id.startswith(prefix)),
        unread=thread.unread,
        answer=thread.answer,
        failure=thread.failure,
        stopping=state.stopping or stopping_of(lifecycle, thread),
    )


def stopping_of(lifecycle: Lifecycle, thread: Thread) -> RunCancelling | None:
    """Return why a thread is being stopped although its run goes on."""
    node = lifecycle.task(thread.task) if thread.task else None
    if node is None or node.stopping is None:
        return None
    return RunCancelling(RunState.CANCELLED, node.stopping or "its task was given up")


def stopping_call(state: State, call: CallId) -> RunCancelling | None:
    """Return why a call is being stopped: with its run, or with its task alone."""
    if state.stopping or state.lifecycle is None:
        return state.stopping
    thread = state.lifecycle.of_turn(turn_of(call))
    return stopping_of(state.lifecycle, thread) if thread else None


def _within(state: State, lifecycle: Lifecycle, thread: Thread, event: Event, fold: Fold) -> State:
    """Fold a fact of a thread."""
    focused = focus(state, lifecycle, thread)
    folded = fold(focused, event)
    over = folded.turn != focused.turn
    thread = replace(
        thread,
        turn=0 if over else folded.turn,
        attempt=0 if over else folded.attempt,
        in_flight=folded.in_flight,
        not_before_ms=folded.not_before_ms,
        context_tokens=folded.context_tokens,
        unread=folded.unread,
        answer=folded.answer,
        failure=folded.failure,
    )
    others = state.calls
    if focused.calls:
        own = {call.id for call in focused.calls}
        others = tuple(call for call in state.calls if call.id not in own)
    return replace(
        folded,
        lifecycle=with_thread(lifecycle, thread),
        turn=state.turn,
        attempt=state.attempt,
        in_flight=None,
        not_before_ms=0,
        context_tokens=state.context_tokens,
        calls=(*others, *folded.calls),
        unread=state.unread,
        answer=None,
        failure=None,
        stopping=state.stopping,
        cancel_entries=folded.cancel_entries if state.stopping else state.cancel_entries,
    )


def _requested(state: State, lifecycle: Lifecycle, event: ModelRequested, fold: Fold) -> State:
    thread = lifecycle.thread(event.thread)
    if thread is None:
        raise IllegalEvent(state, event, f"there is no thread {event.thread!r}")
    if not thread.turn:
        if event.turn <= lifecycle.turns:
            raise IllegalEvent(state, event, f"turn {event.turn} has been")
        thread = replace(thread, turn=event.turn)
        lifecycle = replace(lifecycle, turns=event.turn)
    return _within(state, lifecycle, thread, event, fold)


def _in_flight(state: State, lifecycle: Lifecycle, event: Event, turn: int) -> Thread:
    thread = lifecycle.of_turn(turn)
    if thread is None or thread.in_flight is None:
        raise IllegalEvent(state, event, f"no request {turn} is in flight")
    return thread


def _departing(state: State, event: ModelReplied) -> State:
    """Note how an answer departs from a plan that a person has approved."""
    lifecycle = state.lifecycle
    assert lifecycle is not None
    departs = next((call.departs for call in event.calls if call.departs), "")
    if not departs or lifecycle.departure or state.stopping:
        return state
    return replace(state, lifecycle=replace(lifecycle, departure=departs))


def _answered(state: State, lifecycle: Lifecycle, thread: Thread, event: PhaseAnswered) -> State:
    flight = thread.in_flight
    if flight is None or flight.attempt != event.attempt:
        raise IllegalEvent(state, event, f"no request {event.turn}.{event.attempt} is in flight")
    usage = state.usage.charge(event.usage, turns=1)
    thread = replace(
        thread,
        in_flight=None,
        turn=0,
        attempt=0,
        not_before_ms=0,
        context_tokens=event.usage.tokens
        or thread.context_tokens + estimate_tokens(len(event.text)),
    )
    if event.answer is None or state.stopping:
        lifecycle = with_thread(lifecycle, _sent_back(lifecycle, thread, event))
    else:
        lifecycle = _taken(without_thread(lifecycle, thread.id), thread, event.answer)
    entries = state.cancel_entries
    if state.stopping:
        told = CancelEntry(
            f"requests/{event.turn}", CancelOutcome.REFUSED, "it had already been answered"
        )
        entries = (*entries, told)
    return replace(
        state,
        run=at_work(state),
        waiting=None,
        usage=usage,
        cancel_entries=entries,
        lifecycle=lifecycle,
    )


def _sent_back(lifecycle: Lifecycle, thread: Thread, event: PhaseAnswered) -> Thread:
    thread = replace(thread, faults=thread.faults + 1)
    if event.stop_reason is StopReason.REFUSAL:
        message = event.text or "the model declined to answer"
        return replace(thread, failure=RunFailure(FailureReason.MODEL_REFUSED, message))
    if thread.faults < lifecycle.terms.max_faults:
        return thread
    phase = thread.purpose.name.lower()
    why = "; ".join(event.faults)
    message = f"no valid answer for {phase} after {thread.faults}: {why}"
    return replace(thread, failure=RunFailure(FailureReason.ANSWER_INVALID, message))


def _taken(lifecycle: Lifecycle, thread: Thread, answer: Answer) -> Lifecycle:
    match answer:
        case Plan():
            return replace(lifecycle, plan=answer, plans=lifecycle.plans + 1)
        case Simulated():
            return replace(lifecycle, simulated=answer)
        case Learned():
            return replace(lifecycle, learned=answer)
        case Reflected():
            return replace(lifecycle, reflected=answer)
        case Judged():
            node = lifecycle.task(thread.task)
            assert node is not None
            judged = replace(node, judged=answer, told=False, heard=lifecycle.heard)
            return with_node(lifecycle, judged)


def _posted(state: State, lifecycle: Lifecycle, event: MessagePosted, fold: Fold) -> State:
    folded = fold(replace(state, lifecycle=None), event)
    tokens = estimate_tokens(len(event.text))
    threads = tuple(
        replace(thread, unread=thread.unread + 1, context_tokens=thread.context_tokens + tokens)
        if thread.purpose is Purpose.EXECUTION
        else thread
        for thread in lifecycle.threads
    )
    notes = (*lifecycle.notes, event.text[:NOTE_CHARS])[-MAX_NOTES:]
    lifecycle = replace(lifecycle, threads=threads, notes=notes, heard=lifecycle.heard + 1)
    return replace(folded, unread=0, lifecycle=lifecycle)


def _of_run(state: State, lifecycle: Lifecycle, event: _RunEvent, fold: Fold) -> State:
    if isinstance(event, RunEnded) and state.flights:
        raise IllegalEvent(state, event, "something is still in progress")
    if isinstance(event, RunPaused):
        lifecycle = replace(lifecycle, departure="")
    return replace(fold(replace(state, lifecycle=None), event), lifecycle=lifecycle)
