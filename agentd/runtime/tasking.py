"""The tasks of runs: read, attempted once more, given up. Knows no protobuf."""

from collections.abc import Sequence

from agentd.agent.events import Event
from agentd.agent.ids import Namespace, RunId
from agentd.agent.lifecycle import TaskId, TaskState
from agentd.agent.lifecycle_events import TaskEnded, TaskRetried, TaskStopping
from agentd.agent.message import Purpose
from agentd.agent.state import State
from agentd.agent.task import Task, fold_tasks
from agentd.agent.threads import Node
from agentd.errors import Conflict, NotFound, Reason
from agentd.runtime.ports import Journal
from agentd.runtime.reading import Reading
from agentd.runtime.scheduler import Scheduler

_OPEN = (TaskState.PENDING, TaskState.RUNNING, TaskState.FAILED)
"""The states of tasks that can be given up."""


class Tasks:
    """The tasks of a daemon's runs."""

    def __init__(self, journal: Journal, reading: Reading, scheduler: Scheduler) -> None:
        self._journal = journal
        self._reading = reading
        self._scheduler = scheduler

    async def list(self, namespace: Namespace, run: RunId) -> Sequence[Task]:
        """Return the tasks of a run, in the order of its plans. Raises NotFound (RUN_NOT_FOUND)."""
        identity = (await self._reading.get_run(namespace, run)).identity
        return list(fold_tasks(await self._journal.read_run(identity)).values())

    async def get(self, namespace: Namespace, run: RunId, task: TaskId) -> Task:
        """Return a task. Raises NotFound (RUN_NOT_FOUND, TASK_NOT_FOUND)."""
        for candidate in await self.list(namespace, run):
            if candidate.spec.id == task:
                return candidate
        raise _unknown(run, task)

    async def retry(self, namespace: Namespace, run: RunId, task: TaskId, reason: str) -> Task:
        """Make a failed task pending again.

        Raises NotFound (RUN_NOT_FOUND, TASK_NOT_FOUND) and Conflict (WRONG_TASK_STATE).
        """
        await self.get(namespace, run, task)
        identity = (await self._reading.get_run(namespace, run)).identity
        await self._scheduler.settle(identity, _retry, run, task, reason)
        return await self.get(namespace, run, task)

    async def abandon(self, namespace: Namespace, run: RunId, task: TaskId, reason: str) -> Task:
        """Give a task up, and have what is in progress for it stopped.

        Raises NotFound (RUN_NOT_FOUND, TASK_NOT_FOUND) and Conflict (WRONG_TASK_STATE).
        """
        await self.get(namespace, run, task)
        identity = (await self._reading.get_run(namespace, run)).identity
        await self._scheduler.settle(identity, _abandon, run, task, reason)
        return await self.get(namespace, run, task)


def _retry(state: State, run: RunId, task: TaskId, reason: str) -> Event:
    node = _changeable(state, run, task)
    if node.state is not TaskState.FAILED or node.judged is not None:
        raise _wrong_state(run, task, node.state.name)
    note = reason or "a person asks for it"
    return TaskRetried(task, node.attempt + 1, note, reason)


def _abandon(state: State, run: RunId, task: TaskId, reason: str) -> Event:
    node = _changeable(state, run, task)
    if node.state not in _OPEN or node.stopping is not None:
        raise _wrong_state(run, task, node.state.name)
    note = reason or "a person gave it up"
    if node.state is TaskState.RUNNING:
        return TaskStopping(task, note)
    return TaskEnded(task, node.attempt, TaskState.ABANDONED, node.result, note)


def _changeable(state: State, run: RunId, task: TaskId) -> Node:
    """Return a task whose run still executes tasks."""
    lifecycle = state.lifecycle
    node = lifecycle.task(task) if lifecycle else None
    executing = lifecycle is not None and lifecycle.phase is Purpose.EXECUTION and lifecycle.begun
    if node is None or state.run.ended or state.stopping or not executing:
        raise _wrong_state(run, task, node.state.name if node else state.run.name)
    return node


def _unknown(run: RunId, task: TaskId) -> NotFound:
    name = f"runs/{run}/tasks/{task}"
    return NotFound(Reason.TASK_NOT_FOUND, f"there is no {name}", metadata={"task": name})


def _wrong_state(run: RunId, task: TaskId, state: str) -> Conflict:
    name = f"runs/{run}/tasks/{task}"
    return Conflict(
        Reason.WRONG_TASK_STATE,
        f"{name} is {state}, and cannot be changed so, or its run executes tasks no more",
        metadata={"task": name, "state": state},
    )
