"""Read what models submit, and say what is wrong with it. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, assert_never

import msgspec

from agentd.agent.budget import Budget, Usage
from agentd.agent.lifecycle import (
    Answer,
    Choice,
    Judged,
    Learned,
    NewMemory,
    Plan,
    Prediction,
    Reflected,
    Simulated,
    TaskId,
    TaskSpec,
    TaskState,
    Verdict,
)
from agentd.agent.message import Purpose
from agentd.agent.threads import Lifecycle
from agentd.agent.tool import EffectClass

MAX_FAULTS = 8
"""Faults that are told at once."""


def read_answer(purpose: Purpose, answer_json: str) -> Answer:
    """Return an answer whose JSON fits the schema of its phase."""
    value = msgspec.json.decode(answer_json)
    match purpose:
        case Purpose.PLANNING:
            return Plan(tuple(map(_task, value["tasks"])), value.get("summary", ""))
        case Purpose.SIMULATION:
            predictions = tuple(
                Prediction(TaskId(each["task"]), each["outcome"], each.get("risk", ""))
                for each in value.get("predictions", ())
            )
            return Simulated(Verdict[value["verdict"]], value["reason"], predictions)
        case Purpose.FEEDBACK:
            return Judged(Choice[value["choice"]], value["reason"], value.get("guidance", ""))
        case Purpose.MEMORY:
            facts = tuple(
                NewMemory("fact", each["text"], each.get("replaces", ""))
                for each in value.get("facts", ())
            )
            return Learned(value["episode"], facts)
        case Purpose.REFLECTION:
            lessons = tuple(value.get("lessons", ()))
            return Reflected(value["achieved"], value["answer"], lessons)
        case Purpose.EXECUTION | Purpose.COMPACTION:
            raise AssertionError(f"{purpose.name} has no form")
        case _:
            assert_never(purpose)


def faults_of(
    answer: Answer,
    lifecycle: Lifecycle,
    tools: Mapping[str, EffectClass],
    *,
    task: TaskId,
    left: Budget,
) -> list[str]:
    """Return what an answer may not say, for the model. `tools` are those of the run by the names
    that the model sees; `left` is what is left of the budget, 0 for no limit."""
    match answer:
        case Plan():
            return _plan_faults(answer, lifecycle, tools, left)[:MAX_FAULTS]
        case Simulated(verdict=Verdict.REVISE) if lifecycle.plans >= lifecycle.terms.max_plans:
            return ["verdict: no further plan can be made; choose PROCEED or STOP"]
        case Judged(choice=choice):
            return _feedback_faults(choice, answer, lifecycle, task)
        case Simulated() | Learned() | Reflected():
            return []
        case _:
            assert_never(answer)


def left_of(budget: Budget, usage: Usage) -> Budget:
    """Return what is left of a budget; 0 where there is no limit, and at least 1 elsewhere."""

    def left(limit: int, used: int) -> int:
        return max(limit - used, 1) if limit else 0

    return Budget(
        left(budget.max_turns, usage.turns),
        left(budget.max_tokens, usage.tokens),
        left(budget.max_cost_nanos, usage.cost),
        left(budget.max_tool_calls, usage.tool_calls),
    )


def _task(value: Mapping[str, Any]) -> TaskSpec:
    return TaskSpec(
        id=TaskId(value["id"]),
        objective=value["objective"],
        criterion=value["criterion"],
        dependencies=tuple(dict.fromkeys(map(TaskId, value.get("dependencies", ())))),
        tools=tuple(dict.fromkeys(value.get("tools", ()))),
        permissions=tuple(value.get("permissions", ())),
        expected=value.get("expected", ""),
        effect=EffectClass[value.get("effect", EffectClass.READ_ONLY.name)],
        tokens=value.get("tokens", 0),
        calls=value.get("calls", 0),
    )


def _plan_faults(
    plan: Plan, lifecycle: Lifecycle, tools: Mapping[str, EffectClass], left: Budget
) -> list[str]:
    faults = []
    taken = {node.spec.id for node in lifecycle.tasks}
    counts = Counter(task.id for task in plan.tasks)
    known = {node.spec.id for node in lifecycle.tasks if node.state is TaskState.SUCCEEDED}
    known |= counts.keys()
    for task in plan.tasks:
        place = f"task {task.id!r}"
        if task.id in taken:
            faults.append(f"{place}: an earlier plan has a task of this id; choose another")
        if counts[task.id] > 1:
            faults.append(f"{place}: the id is used more than once")
        faults += [
            f"{place}: it depends on {dependency!r}, which is no task"
            for dependency in task.dependencies
            if dependency not in known
        ]
        faults += _tool_faults(task, place, tools)
    if not faults and (circle := _circle(plan.tasks)):
        faults.append(f"the tasks {', '.join(circle)} depend on each other in a circle")
    return faults + _cost_faults(plan, left)


def _tool_faults(task: TaskSpec, place: str, tools: Mapping[str, EffectClass]) -> Iterator[str]:
    for tool in task.tools:
        if tool not in tools:
            names = ", ".join(sorted(tools)) or "none"
            yield f"{place}: there is no tool {tool!r}; the tools are: {names}"
        elif tools[tool].value > task.effect.value:
            yield f"{place}: {tool!r} is {tools[tool].name}, so its effect is at least that"


def _cost_faults(plan: Plan, left: Budget) -> list[str]:
    faults = []
    tokens = sum(task.tokens for task in plan.tasks)
    calls = sum(task.calls for task in plan.tasks)
    if left.max_tokens and tokens > left.max_tokens:
        faults.append(f"the tasks would spend {tokens} tokens, and {left.max_tokens} are left")
    if left.max_tool_calls and calls > left.max_tool_calls:
        faults.append(f"the tasks would make {calls} calls, and {left.max_tool_calls} are left")
    if left.max_turns and len(plan.tasks) > left.max_turns:
        count = len(plan.tasks)
        faults.append(f"{count} tasks need more turns than the {left.max_turns} that are left")
    return faults


def _circle(tasks: Iterable[TaskSpec]) -> list[TaskId]:
    """Return the tasks that wait for each other, in the plan's order; none in a sound plan."""
    waiting = {task.id: set(task.dependencies) for task in tasks}
    while True:
        free = [task for task, needs in waiting.items() if not needs & waiting.keys()]
        if not free:
            return list(waiting)
        for task in free:
            del waiting[task]


def _feedback_faults(
    choice: Choice, judged: Judged, lifecycle: Lifecycle, task: TaskId
) -> list[str]:
    node = lifecycle.task(task)
    assert node is not None
    terms = lifecycle.terms
    if choice is Choice.RETRY and node.attempt >= terms.max_task_attempts:
        return [f"choice: attempt {node.attempt} was the last one; choose something else"]
    if choice is Choice.REPLAN and lifecycle.plans >= terms.max_plans:
        return ["choice: no further plan can be made; choose something else"]
    if choice is Choice.ACCEPT and node.failure:
        return ["choice: the attempt has no result, so there is nothing to accept"]
    if choice is Choice.ASK and not (judged.guidance or judged.reason):
        return ["guidance: a person can only answer a question; say which"]
    return []
