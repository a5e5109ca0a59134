"""Decide what each phase wants next: its beginning, its tasks, its end. Pure."""

from collections.abc import Sequence
from typing import assert_never

from agentd.agent.approval import ApprovalState
from agentd.agent.effects import AskPlanApproval, Effect, End, Note, Recall, Remember, Wait
from agentd.agent.events import FailureReason, RunFailure, RunState, WaitReason
from agentd.agent.lifecycle import (
    Choice,
    Judged,
    NewMemory,
    TaskState,
    ThreadId,
)
from agentd.agent.lifecycle_events import (
    PhaseEnded,
    PhaseStarted,
    PlanAdopted,
    TaskEnded,
    TaskRetried,
    TaskSkipped,
    TaskStarted,
)
from agentd.agent.message import Purpose
from agentd.agent.state import State
from agentd.agent.threads import Lifecycle, Node
from agentd.protocol.lifecycle import prompts
from agentd.protocol.lifecycle.routes import fallback

_DEAD = (TaskState.ABANDONED, TaskState.SKIPPED)


def owed_by_phase(state: State, lifecycle: Lifecycle) -> Sequence[Effect]:
    """List what the present phase wants recorded or done."""
    if lifecycle.over:
        return (_end(lifecycle),)
    phase = lifecycle.phase
    match phase:
        case Purpose.PLANNING:
            return _plan(state, lifecycle)
        case Purpose.SIMULATION:
            return _simulate(state, lifecycle)
        case Purpose.EXECUTION:
            return _execute(state, lifecycle)
        case Purpose.MEMORY:
            return _remember(state, lifecycle)
        case Purpose.REFLECTION:
            return _reflect(state, lifecycle)
        case Purpose.FEEDBACK | Purpose.COMPACTION:
            raise AssertionError(f"{phase.name} is never the phase of a run")
        case _:
            assert_never(phase)


def _plan(state: State, lifecycle: Lifecycle) -> Sequence[Effect]:
    if not lifecycle.recalled:
        return (Recall("recall", lifecycle.terms.goal),)
    if not lifecycle.begun:
        return (_begin(state, lifecycle, f"planning-{lifecycle.plans + 1}"),)
    if lifecycle.plan is not None and not lifecycle.threads:
        return (_finish(lifecycle, "planned", lifecycle.plan.summary),)
    return ()


def _simulate(state: State, lifecycle: Lifecycle) -> Sequence[Effect]:
    if not lifecycle.begun:
        return (_begin(state, lifecycle, f"simulation-{lifecycle.plans}"),)
    if lifecycle.threads or lifecycle.simulated is None:
        return ()
    verdict = lifecycle.simulated
    return (_finish(lifecycle, verdict.verdict.name.lower(), verdict.reason),)


def _execute(state: State, lifecycle: Lifecycle) -> Sequence[Effect]:
    if lifecycle.plan is not None:
        return _adopt(lifecycle)
    if not lifecycle.begun:
        return (Note(f"execute-{lifecycle.plans}", PhaseStarted(Purpose.EXECUTION)),)
    effects: list[Effect] = []
    running = 0
    for node in lifecycle.tasks:
        if node.state is TaskState.RUNNING:
            running += 1
            effects += _serve(state, lifecycle, node)
        elif node.state is TaskState.FAILED and node.judged is not None:
            effects.append(_retry(node, node.judged))
    # What is ready is looked for when nothing above changes first what is ready.
    if not any(isinstance(effect, Note) for effect in effects):
        effects += _dispatch(state, lifecycle, lifecycle.terms.max_parallel_tasks - running)
    if effects or running:
        return effects
    if any(node.state is TaskState.PENDING for node in lifecycle.tasks):
        return ()
    outcome = "replan" if lifecycle.objection else "done"
    return (_finish(lifecycle, outcome, lifecycle.objection),)


def _adopt(lifecycle: Lifecycle) -> Sequence[Effect]:
    """Take a plan that was simulated, once whoever has to has agreed."""
    terms, plan = lifecycle.terms, lifecycle.plan
    assert plan is not None
    if terms.simulate_only:
        return (End("end", RunState.SUCCEEDED, prompts.plan_json(lifecycle)),)
    if terms.require_plan_approval:
        if lifecycle.approval is None:
            key = f"approve-{lifecycle.plans}"
            return (AskPlanApproval(key, prompts.plan_json(lifecycle)),)
        if lifecycle.approved is not ApprovalState.ALLOWED:
            name = f"approvals/{lifecycle.approval}"
            return (Wait(f"approval-{lifecycle.approval}", WaitReason.APPROVAL, name),)
    return (Note(f"adopt-{lifecycle.plans}", PlanAdopted(plan, lifecycle.plans)),)


def _dispatch(state: State, lifecycle: Lifecycle, room: int) -> Sequence[Effect]:
    """Start what can start, and skip what never can."""
    effects: list[Effect] = []
    states = {node.spec.id: node for node in lifecycle.tasks}
    for node in lifecycle.tasks:
        if node.state is not TaskState.PENDING:
            continue
        name = node.spec.id
        needs = [states[dependency] for dependency in node.spec.dependencies]
        dead = next((need for need in needs if _is_dead(need)), None)
        if lifecycle.objection:
            reason = f"another plan is made: {lifecycle.objection}"
            effects.append(Note(f"skip-{name}", TaskSkipped(name, reason)))
        elif dead:
            reason = f"task {dead.spec.id!r}, which it depends on, is {dead.state.name}"
            reason += f": {dead.reason}" if dead.reason else ""
            effects.append(Note(f"skip-{name}", TaskSkipped(name, reason)))
        elif room > 0 and all(need.state is TaskState.SUCCEEDED for need in needs):
            room -= 1
            effects.append(_start(state, lifecycle, node))
    return effects


def _is_dead(node: Node) -> bool:
    """Whether nothing that depends on a task can be done any more."""
    return node.state in _DEAD or (node.state is TaskState.FAILED and node.judged is None)


def _start(state: State, lifecycle: Lifecycle, node: Node) -> Effect:
    name = node.spec.id
    thread = ThreadId(f"task-{name}.{node.attempt}")
    prompt = prompts.of_task(state, lifecycle, node)
    return Note(f"start-{thread}", TaskStarted(name, node.attempt, thread, prompt))


def _serve(state: State, lifecycle: Lifecycle, node: Node) -> Sequence[Effect]:
    """Have the result of a running task judged, and carry the judgement out."""
    if node.stopping is not None:
        return ()
    name = node.spec.id
    judged = node.judged
    if judged is not None:
        if not node.told:
            choice = judged.choice.name.lower()
            ended = PhaseEnded(Purpose.FEEDBACK, choice, judged.reason, name)
            return (Note(f"judged-{name}.{node.attempt}-{node.heard}", ended),)
        return _carry_out(state, lifecycle, node, judged)
    thread = next((each for each in lifecycle.threads if each.task == name), None)
    if thread is None or thread.purpose is not Purpose.EXECUTION or thread.in_flight:
        return ()
    prefix = f"c{thread.turn}-"
    if any(call.id.startswith(prefix) for call in state.calls):
        return ()
    answered = thread.answer is not None and not thread.unread
    if answered or (thread.failure and not fallback(lifecycle, thread)):
        return (_judge(state, lifecycle, node),)
    return ()


def _judge(state: State, lifecycle: Lifecycle, node: Node) -> Effect:
    name = node.spec.id
    thread = ThreadId(f"feedback-{name}.{node.attempt}-{lifecycle.heard}")
    prompt = prompts.of_feedback(state, lifecycle, node)
    started = PhaseStarted(Purpose.FEEDBACK, thread, prompt, name)
    return Note(f"start-{thread}", started)


def _carry_out(state: State, lifecycle: Lifecycle, node: Node, judged: Judged) -> Sequence[Effect]:
    name, attempt = node.spec.id, node.attempt
    if judged.choice is Choice.ASK:
        if lifecycle.heard > node.heard:
            return (_judge(state, lifecycle, node),)
        question = judged.guidance or judged.reason
        detail = f"tasks/{name}: {question}"
        return (Wait(f"ask-{name}.{attempt}-{node.heard}", WaitReason.INPUT, detail),)
    states = {
        Choice.ACCEPT: TaskState.SUCCEEDED,
        Choice.RETRY: TaskState.FAILED,
        Choice.REPLAN: TaskState.FAILED,
        Choice.ABANDON: TaskState.ABANDONED,
    }
    reason = judged.reason or judged.guidance
    ended = TaskEnded(name, attempt, states[judged.choice], node.result, reason)
    return (Note(f"end-{name}.{attempt}", ended),)


def _retry(node: Node, judged: Judged) -> Effect:
    name, attempt = node.spec.id, node.attempt + 1
    retried = TaskRetried(name, attempt, judged.reason, judged.guidance or judged.reason)
    return Note(f"retry-{name}.{attempt}", retried)


def _remember(state: State, lifecycle: Lifecycle) -> Sequence[Effect]:
    learned = lifecycle.learned
    if not lifecycle.begun:
        return (_begin(state, lifecycle, "memory"),)
    if learned is None:
        return ()
    memories = [NewMemory("episode", learned.episode)] if learned.episode else []
    return (_keep(lifecycle, (*memories, *learned.facts)),)


def _reflect(state: State, lifecycle: Lifecycle) -> Sequence[Effect]:
    reflected = lifecycle.reflected
    if not lifecycle.begun:
        return (_begin(state, lifecycle, "reflection"),)
    if reflected is None:
        return ()
    return (_keep(lifecycle, tuple(NewMemory("lesson", text) for text in reflected.lessons)),)


def _keep(lifecycle: Lifecycle, memories: tuple[NewMemory, ...]) -> Effect:
    if memories and not lifecycle.kept:
        phase = lifecycle.phase
        return Remember(f"remember-{phase.name.lower()}", phase, memories)
    return _finish(lifecycle, "done", "")


def _begin(state: State, lifecycle: Lifecycle, thread: str) -> Effect:
    prompt = prompts.of_phase(state, lifecycle)
    started = PhaseStarted(lifecycle.phase, ThreadId(thread), prompt)
    return Note(f"start-{thread}", started)


def _finish(lifecycle: Lifecycle, outcome: str, detail: str) -> Effect:
    key = f"finish-{lifecycle.phase.name.lower()}-{lifecycle.plans}"
    return Note(key, PhaseEnded(lifecycle.phase, outcome, detail))


def _end(lifecycle: Lifecycle) -> Effect:
    reflected = lifecycle.reflected
    if reflected is not None and reflected.achieved:
        return End("end", RunState.SUCCEEDED, reflected.answer)
    output = reflected.answer if reflected else prompts.results_of_last(lifecycle)
    # The tasks of earlier plans were replaced.
    newest = [node for node in lifecycle.tasks if node.plan == lifecycle.plans]
    failed = [node for node in newest if node.state is not TaskState.SUCCEEDED]
    if reflected is None and not failed:
        return End("end", RunState.SUCCEEDED, output)
    message = reflected.answer if reflected else f"{len(failed)} tasks did not succeed"
    failure = RunFailure(FailureReason.GOAL_NOT_REACHED, message[:4096])
    return End("end", RunState.FAILED, output, failure)
