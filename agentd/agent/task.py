"""A task as people and programs see it, folded from its run's events. Pure."""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from agentd.agent.events import Entry
from agentd.agent.lifecycle import TaskId, TaskSpec, TaskState
from agentd.agent.lifecycle_events import (
    PlanAdopted,
    TaskEnded,
    TaskRetried,
    TaskSkipped,
    TaskStarted,
)


class Task(msgspec.Struct, frozen=True):
    """A task."""

    spec: TaskSpec
    plan: int
    """The number of the plan that it is part of, counted from 1."""
    state: TaskState
    attempt: int
    """The attempt that was made last, or is made first, counted from 1."""
    result: str = ""
    reason: str = ""
    create_time_ms: int = 0
    update_time_ms: int = 0


def fold_tasks(entries: Iterable[Entry]) -> dict[TaskId, Task]:
    """Return the tasks of a run, in the order of its plans."""
    tasks: dict[TaskId, Task] = {}
    for entry in entries:
        event, now = entry.event, entry.time_ms
        match event:
            case PlanAdopted(plan=plan, number=number):
                for spec in plan.tasks:
                    state = TaskState.PENDING
                    tasks[spec.id] = Task(
                        spec, number, state, 1, create_time_ms=now, update_time_ms=now
                    )
            case TaskStarted() | TaskEnded() | TaskRetried() | TaskSkipped():
                task = replace(_advance(tasks[event.task], event), update_time_ms=now)
                tasks[event.task] = task
            case _:
                pass
    return tasks


def _advance(task: Task, event: TaskStarted | TaskEnded | TaskRetried | TaskSkipped) -> Task:
    match event:
        case TaskStarted(attempt=attempt):
            return replace(task, state=TaskState.RUNNING, attempt=attempt, reason="")
        case TaskEnded(state=state, result=result, reason=reason):
            return replace(task, state=state, result=result, reason=reason)
        case TaskRetried(attempt=attempt, reason=reason):
            return replace(task, state=TaskState.PENDING, attempt=attempt, reason=reason)
        case TaskSkipped(reason=reason):
            return replace(task, state=TaskState.SKIPPED, reason=reason)
