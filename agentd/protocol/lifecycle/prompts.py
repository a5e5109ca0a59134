"""Write what models are asked, from the state of a run alone. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from agentd.agent.lifecycle import TaskState
from agentd.agent.message import Purpose
from agentd.agent.state import State
from agentd.agent.threads import Lifecycle, Node
from agentd.protocol.lifecycle.answers import left_of
from agentd.protocol.lifecycle.facts import shorten
from agentd.protocol.lifecycle.forms import fill, form

DONE_CHARS = 40_000
"""How much of what was done a prompt tells in all."""


def of_phase(state: State, lifecycle: Lifecycle) -> str:
    """Return what the present phase asks."""
    left = lifecycle.terms.max_plans - lifecycle.plans
    return _written(
        lifecycle,
        lifecycle.phase,
        {
            "tools": lifecycle.terms.tools,
            "memories": _memories(lifecycle),
            "done": _done(lifecycle.tasks),
            "objection": lifecycle.objection,
            "budget": _budget(state),
            "plan": plan_json(lifecycle) if lifecycle.plan else "",
            "revisions": f"plans that may still be made: {max(left, 0)}",
        },
    )


def of_task(state: State, lifecycle: Lifecycle, node: Node) -> str:
    """Return what an attempt of a task asks."""
    del state
    results = [lifecycle.task(dependency) for dependency in node.spec.dependencies]
    return _written(
        lifecycle,
        Purpose.EXECUTION,
        {
            "objective": node.spec.objective,
            "criterion": node.spec.criterion,
            "expected": node.spec.expected,
            "results": "\n\n".join(
                f"## {need.spec.id}: {need.spec.objective}\n{need.result}"
                for need in results
                if need
            ),
            "guidance": node.guidance,
            "attempt": str(node.attempt),
        },
    )


def of_feedback(state: State, lifecycle: Lifecycle, node: Node) -> str:
    """Return what the judgement of a task asks."""
    del state
    terms = lifecycle.terms
    thread = next((each for each in lifecycle.threads if each.task == node.spec.id), None)
    result, failure = node.result, node.failure
    if thread is not None:
        result = shorten(thread.answer or "", DONE_CHARS)
        failure = thread.failure.message if thread.failure else ""
    limits = []
    if node.attempt >= terms.max_task_attempts:
        limits.append("This was the last attempt: RETRY cannot be chosen.")
    if lifecycle.plans >= terms.max_plans:
        limits.append("No further plan can be made: REPLAN cannot be chosen.")
    return _written(
        lifecycle,
        Purpose.FEEDBACK,
        {
            "objective": node.spec.objective,
            "criterion": node.spec.criterion,
            "result": f"[The attempt failed: {failure}]" if failure else result,
            "attempt": str(node.attempt),
            "attempts": str(terms.max_task_attempts),
            "limits": "\n".join(limits),
        },
    )


def plan_json(lifecycle: Lifecycle) -> str:
    """Return the present plan with what was predicted of it, as canonical JSON."""
    plan = lifecycle.plan
    assert plan is not None
    predicted = {}
    if lifecycle.simulated and lifecycle.phase is Purpose.EXECUTION:
        predicted = {each.task: each for each in lifecycle.simulated.predictions}
    tasks = []
    for spec in plan.tasks:
        task = msgspec.to_builtins(spec)
        task["effect"] = spec.effect.name
        if spec.id in predicted:
            told = predicted[spec.id]
            task["predicted"] = {"outcome": told.outcome, "risk": told.risk}
        tasks.append(task)
    document = {"summary": plan.summary, "tasks": tasks}
    return msgspec.json.encode(document, order="sorted").decode()


def results_of_last(lifecycle: Lifecycle) -> str:
    """Return the results that no other task builds on: what the work has come to."""
    used = {need for node in lifecycle.tasks for need in node.spec.dependencies}
    last = [
        node.result
        for node in lifecycle.tasks
        if node.spec.id not in used and node.state is TaskState.SUCCEEDED
    ]
    return "\n\n".join(last)


def _written(lifecycle: Lifecycle, purpose: Purpose, values: Mapping[str, str]) -> str:
    own = {prompt.purpose: prompt.text for prompt in lifecycle.terms.prompts}
    prompt = own.get(purpose) or form(purpose).prompt
    shared = {"goal": lifecycle.terms.goal, "notes": "\n\n".join(lifecycle.notes)}
    return fill(prompt, {**shared, **values})


def _memories(lifecycle: Lifecycle) -> str:
    return "\n".join(
        f"- ({memory.kind} {memory.name}) {memory.text}" for memory in lifecycle.memories
    )


def _done(nodes: Iterable[Node]) -> str:
    told = [node for node in nodes if node.state.ended]
    room = DONE_CHARS // len(told) if told else 0
    return "\n\n".join(_told(node, room) for node in told)


def _told(node: Node, room: int) -> str:
    spec = node.spec
    text = f"## {spec.id} ({node.state.name}): {spec.objective}"
    text += f"\n[{node.reason}]" if node.reason else ""
    text += f"\n{shorten(node.result, max(room, 400))}" if node.result else ""
    return text


def _budget(state: State) -> str:
    left = left_of(state.budget, state.usage)
    parts = [
        f"{amount} {unit}"
        for amount, unit in (
            (left.max_turns, "model turns"),
            (left.max_tokens, "tokens"),
            (left.max_tool_calls, "tool calls"),
        )
        if amount
    ]
    return ", ".join(parts) or "no limit was set"
