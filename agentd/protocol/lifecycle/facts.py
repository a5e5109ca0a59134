"""Fold the facts that only runs of the protocol `lifecycle` have: phases, tasks, memories. Pure."""

from typing import assert_never

from msgspec.structs import replace

from agentd.agent.approval import ApprovalState
from agentd.agent.events import FailureReason, RunFailure
from agentd.agent.lifecycle import Choice, TaskId, TaskState
from agentd.agent.lifecycle_events import (
    LifecycleEvent,
    MemoriesKept,
    MemoriesRecalled,
    ModelRerouted,
    PhaseAnswered,
    PhaseEnded,
    PhaseStarted,
    PlanAdopted,
    PlanApprovalDecided,
    PlanApprovalRequested,
    TaskEnded,
    TaskRetried,
    TaskSkipped,
    TaskStarted,
    TaskStopping,
)
from agentd.agent.message import Purpose
from agentd.agent.state import State
from agentd.agent.threads import Lifecycle, Node, Thread
from agentd.protocol.folding import IllegalEvent, estimate_tokens

RESULT_CHARS = 8_000
"""How much of a task's result other tasks and phases are told. All of it is in the journal."""

_TaskEvent = TaskStarted | TaskEnded | TaskRetried | TaskSkipped | TaskStopping

_NEXT = {
    (Purpose.PLANNING, "planned"): Purpose.SIMULATION,
    (Purpose.SIMULATION, "proceed"): Purpose.EXECUTION,
    (Purpose.SIMULATION, "revise"): Purpose.PLANNING,
    (Purpose.EXECUTION, "done"): Purpose.MEMORY,
    (Purpose.EXECUTION, "replan"): Purpose.PLANNING,
    (Purpose.MEMORY, "done"): Purpose.REFLECTION,
    (Purpose.MEMORY, "failed"): Purpose.REFLECTION,
}
"""The phase that follows the end of one. After a verdict to stop, and after REFLECTION, none."""


def evolve_fact(state: State, lifecycle: Lifecycle, event: LifecycleEvent) -> State:
    """Fold one fact, or raise IllegalEvent."""
    match event:
        case PhaseStarted() if event.phase is Purpose.FEEDBACK:
            lifecycle = _feedback_started(state, lifecycle, event)
        case PhaseStarted():
            _require(state, event, lifecycle.phase is event.phase, "it is not the next phase")
            _require(state, event, not lifecycle.begun, "the phase has begun")
            lifecycle = replace(lifecycle, begun=True)
            if event.thread:
                lifecycle = with_thread(lifecycle, opened(state, event))
        case PhaseEnded() if event.phase is Purpose.FEEDBACK:
            node = _node(state, lifecycle, event.task, event)
            _require(state, event, node.judged is not None, "the task was not judged")
            lifecycle = with_node(lifecycle, replace(node, told=True))
        case PhaseEnded():
            lifecycle = _phase_ended(state, lifecycle, event)
        case TaskStarted() | TaskEnded() | TaskRetried() | TaskSkipped() | TaskStopping():
            lifecycle = _evolve_task(state, lifecycle, event)
        case PlanAdopted() | PlanApprovalRequested() | PlanApprovalDecided():
            lifecycle = _evolve_plan(state, lifecycle, event)
        case MemoriesRecalled():
            _require(state, event, not lifecycle.recalled, "that was recalled already")
            lifecycle = replace(lifecycle, recalled=True, memories=event.memories)
            for memory in event.memories:
                state = replace(state, labels=state.labels | memory.labels)
        case MemoriesKept():
            kept = lifecycle.phase is event.phase and lifecycle.begun and not lifecycle.kept
            _require(state, event, kept, "nothing is to be kept")
            lifecycle = replace(lifecycle, kept=True)
        case ModelRerouted():
            thread = lifecycle.thread(event.thread)
            if thread is None or thread.failure is None:
                raise IllegalEvent(state, event, f"{event.thread!r} has not failed")
            lifecycle = with_thread(lifecycle, _rerouted(thread))
        case PhaseAnswered():
            raise IllegalEvent(state, event, "no request is in flight")
        case _:
            assert_never(event)
    return replace(state, lifecycle=lifecycle)


def opened(state: State, event: PhaseStarted | TaskStarted) -> Thread:
    """Return the thread that a fact opens."""
    phase = event.phase if isinstance(event, PhaseStarted) else Purpose.EXECUTION
    tokens = estimate_tokens(len(event.prompt))
    if state.started:
        tokens += state.started.context_tokens
    return Thread(event.thread, phase, event.task, context_tokens=tokens)


def with_thread(lifecycle: Lifecycle, thread: Thread) -> Lifecycle:
    """Return the state with a thread added or changed."""
    threads = lifecycle.threads
    if all(other.id != thread.id for other in threads):
        return replace(lifecycle, threads=(*threads, thread))
    changed = tuple(thread if other.id == thread.id else other for other in threads)
    return replace(lifecycle, threads=changed)


def without_thread(lifecycle: Lifecycle, thread: str) -> Lifecycle:
    """Return the state without a thread."""
    left = tuple(other for other in lifecycle.threads if other.id != thread)
    return replace(lifecycle, threads=left)


def with_node(lifecycle: Lifecycle, node: Node) -> Lifecycle:
    """Return the state with a task changed."""
    name = node.spec.id
    tasks = tuple(node if other.spec.id == name else other for other in lifecycle.tasks)
    return replace(lifecycle, tasks=tasks)


def shorten(text: str, limit: int) -> str:
    """Return a text, with its middle left out when it is longer than so many characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters are left out]\n{text[-half:]}"


def _rerouted(thread: Thread) -> Thread:
    return replace(thread, failure=None, model=thread.model + 1, turn=0, attempt=0, not_before_ms=0)


def _feedback_started(state: State, lifecycle: Lifecycle, event: PhaseStarted) -> Lifecycle:
    node = _node(state, lifecycle, event.task, event)
    _require(state, event, node.state is TaskState.RUNNING, "the task is not running")
    for thread in lifecycle.threads:
        if thread.task == node.spec.id:
            _require(state, event, thread.purpose is Purpose.EXECUTION, "it is judged already")
            _require_idle(state, event, thread)
            node = replace(
                node,
                result=shorten(thread.answer or "", RESULT_CHARS),
                failure=thread.failure.message if thread.failure else "",
            )
            lifecycle = without_thread(lifecycle, thread.id)
    lifecycle = with_node(lifecycle, replace(node, judged=None, told=False))
    return with_thread(lifecycle, opened(state, event))


def _phase_ended(state: State, lifecycle: Lifecycle, event: PhaseEnded) -> Lifecycle:
    _require(state, event, lifecycle.phase is event.phase, "it is not the present phase")
    _require(state, event, lifecycle.begun, "the phase has not begun")
    for thread in lifecycle.threads:
        _require_idle(state, event, thread)
    lifecycle = replace(lifecycle, begun=False, kept=False, threads=())
    match event.phase, event.outcome:
        case Purpose.SIMULATION, "stop":
            message = f"the simulation says to stop: {event.detail}"
            failure = RunFailure(FailureReason.PLAN_REJECTED, message)
            return replace(lifecycle, failure=failure)
        case Purpose.SIMULATION, "revise":
            lifecycle = replace(lifecycle, plan=None, objection=event.detail)
        case Purpose.REFLECTION, _:
            return replace(lifecycle, over=True)
        case _:
            pass
    following = _NEXT.get((event.phase, event.outcome))
    if following is None:
        raise IllegalEvent(state, event, f"nothing follows {event.outcome!r}")
    return replace(lifecycle, phase=following)


def _evolve_plan(
    state: State,
    lifecycle: Lifecycle,
    event: PlanAdopted | PlanApprovalRequested | PlanApprovalDecided,
) -> Lifecycle:
    ready = lifecycle.phase is Purpose.EXECUTION and not lifecycle.begun
    _require(state, event, ready and lifecycle.plan is not None, "there is no plan to adopt")
    match event:
        case PlanAdopted(plan=plan):
            tasks = (*lifecycle.tasks, *(Node(spec, event.number) for spec in plan.tasks))
            return replace(lifecycle, plan=None, objection="", approval=None, tasks=tasks)
        case PlanApprovalRequested():
            _require(state, event, lifecycle.approval is None, "that was asked already")
            pending = ApprovalState.PENDING
            return replace(lifecycle, approval=event.approval, approved=pending)
        case PlanApprovalDecided():
            awaited = lifecycle.approval == event.approval
            awaited = awaited and lifecycle.approved is ApprovalState.PENDING
            _require(state, event, awaited, f"{event.approval} is not awaited")
            if event.decision is ApprovalState.ALLOWED:
                return replace(lifecycle, approved=event.decision)
            return _refused(lifecycle, event)


def _refused(lifecycle: Lifecycle, event: PlanApprovalDecided) -> Lifecycle:
    """Make another plan for a person who says what is wrong, or give up."""
    said = f": {event.reason}" if event.reason else "."
    message = f"A person did not approve the plan{said}"
    lifecycle = replace(lifecycle, approval=None, approved=event.decision)
    if not event.reason or lifecycle.plans >= lifecycle.terms.max_plans:
        failure = RunFailure(FailureReason.PLAN_REJECTED, message)
        return replace(lifecycle, failure=failure)
    return replace(lifecycle, phase=Purpose.PLANNING, plan=None, objection=message)


def _evolve_task(state: State, lifecycle: Lifecycle, event: _TaskEvent) -> Lifecycle:
    node = _node(state, lifecycle, event.task, event)
    match event:
        case TaskStarted():
            _require_task(state, event, node, TaskState.PENDING)
            _require(state, event, event.attempt == node.attempt, "it is another attempt")
            _require(state, event, lifecycle.begun, "the phase has not begun")
            node = replace(
                node, state=TaskState.RUNNING, result="", failure="", reason="", judged=None
            )
            return with_thread(with_node(lifecycle, node), opened(state, event))
        case TaskEnded():
            return _task_ended(state, lifecycle, node, event)
        case TaskRetried():
            _require_task(state, event, node, TaskState.FAILED)
            _require(state, event, event.attempt == node.attempt + 1, "it is another attempt")
            node = replace(
                node,
                state=TaskState.PENDING,
                attempt=event.attempt,
                reason=event.reason,
                guidance=event.guidance,
                judged=None,
            )
        case TaskSkipped():
            _require_task(state, event, node, TaskState.PENDING)
            node = replace(node, state=TaskState.SKIPPED, reason=event.reason)
        case TaskStopping():
            _require_task(state, event, node, TaskState.RUNNING)
            _require(state, event, node.stopping is None, "it is being stopped")
            node = replace(node, stopping=event.reason)
    return with_node(lifecycle, node)


def _task_ended(state: State, lifecycle: Lifecycle, node: Node, event: TaskEnded) -> Lifecycle:
    given_up = event.state is TaskState.ABANDONED
    begun = node.state is TaskState.RUNNING
    fits = begun or (given_up and node.state in (TaskState.PENDING, TaskState.FAILED))
    _require(state, event, fits and event.state.ended, f"the task is {node.state.name}")
    _require(state, event, event.attempt == node.attempt, "it is another attempt")
    for thread in lifecycle.threads:
        if thread.task == node.spec.id:
            _require_idle(state, event, thread)
            lifecycle = without_thread(lifecycle, thread.id)
    judged = node.judged
    retried = judged is not None and judged.choice is Choice.RETRY and not given_up
    if judged and judged.choice is Choice.REPLAN and event.state is TaskState.FAILED:
        lifecycle = replace(lifecycle, objection=lifecycle.objection or event.reason)
    node = replace(
        node,
        state=event.state,
        reason=event.reason,
        judged=judged if retried else None,
        stopping=None,
    )
    return with_node(lifecycle, node)


def _node(state: State, lifecycle: Lifecycle, task: TaskId, event: LifecycleEvent) -> Node:
    node = lifecycle.task(task)
    if node is None:
        raise IllegalEvent(state, event, f"there is no task {task!r}")
    return node


def _require(state: State, event: LifecycleEvent, fits: bool, why: str) -> None:
    if not fits:
        raise IllegalEvent(state, event, why)


def _require_task(state: State, event: LifecycleEvent, node: Node, expected: TaskState) -> None:
    if node.state is not expected:
        raise IllegalEvent(state, event, f"task {node.spec.id!r} is {node.state.name}")


def _require_idle(state: State, event: LifecycleEvent, thread: Thread) -> None:
    """Refuse to end a thread that has something in progress."""
    prefix = f"c{thread.turn}-"
    busy = thread.in_flight or any(call.id.startswith(prefix) for call in state.calls)
    if busy:
        raise IllegalEvent(state, event, f"{thread.id!r} is at work")
