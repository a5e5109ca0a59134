"""Facts of the protocol `lifecycle`: phases, tasks, and what is remembered.

Their classes and fields are those of the messages in `agentd/v1/lifecycle.proto`.
"""

import msgspec

from agentd.agent.approval import ApprovalId, ApprovalState
from agentd.agent.budget import NO_USAGE, ModelUsage
from agentd.agent.lifecycle import (
    Answer,
    Plan,
    RecalledMemory,
    TaskId,
    TaskState,
    ThreadId,
)
from agentd.agent.message import Purpose, StopReason


class PhaseStarted(msgspec.Struct, frozen=True):
    """A phase began. FEEDBACK begins once for each attempt of a task."""

    phase: Purpose
    thread: ThreadId = ThreadId("")
    """The line of model turns that answers for it; empty for EXECUTION."""
    prompt: str = ""
    """What the model is asked, word for word."""
    task: TaskId = TaskId("")


class PhaseAnswered(msgspec.Struct, frozen=True):
    """A model request of a phase was answered."""

    turn: int
    attempt: int
    text: str
    """The answer as it was given: JSON when it is valid."""
    stop_reason: StopReason
    answer: Answer | None = None
    """None when it breaks the schema or the rules, or a tool was called instead."""
    faults: tuple[str, ...] = ()
    """What is wrong with it, for the model."""
    usage: ModelUsage = NO_USAGE


class PhaseEnded(msgspec.Struct, frozen=True):
    """A phase is over."""

    phase: Purpose
    outcome: str
    """In one word, such as `proceed` or `failed`."""
    detail: str = ""
    task: TaskId = TaskId("")


class PlanAdopted(msgspec.Struct, frozen=True):
    """The tasks of a plan take the place of every task that was not begun."""

    plan: Plan
    number: int
    """Of the plan in its run, counted from 1."""


class PlanApprovalRequested(msgspec.Struct, frozen=True):
    """A person is asked whether a plan may be executed. The question is stored with it."""

    approval: ApprovalId
    plan_json: str
    """What is asked about: exactly what was simulated."""
    plan_sha256: str


class PlanApprovalDecided(msgspec.Struct, frozen=True):
    """A person has decided whether a plan may be executed."""

    approval: ApprovalId
    decision: ApprovalState
    reason: str = ""
    decided_by: str = ""
    request_id: str = ""
    """What makes the request that brought it repeatable."""


class TaskStarted(msgspec.Struct, frozen=True):
    """An attempt of a task began."""

    task: TaskId
    attempt: int
    thread: ThreadId
    prompt: str
    """What the model is asked, word for word."""


class TaskEnded(msgspec.Struct, frozen=True):
    """An attempt of a task is over, or a task was given up."""

    task: TaskId
    attempt: int
    state: TaskState
    result: str = ""
    reason: str = ""


class TaskRetried(msgspec.Struct, frozen=True):
    """A failed task is to be attempted once more."""

    task: TaskId
    attempt: int
    """The attempt that is to be made, counted from 1."""
    reason: str = ""
    guidance: str = ""
    """What the next attempt is told."""


class TaskSkipped(msgspec.Struct, frozen=True):
    """A task is not attempted."""

    task: TaskId
    reason: str


class TaskStopping(msgspec.Struct, frozen=True):
    """Somebody gave a running task up: what is in progress for it is being stopped."""

    task: TaskId
    reason: str = ""


class MemoriesRecalled(msgspec.Struct, frozen=True):
    """What was remembered that may help with the goal."""

    query: str
    memories: tuple[RecalledMemory, ...] = ()
    error: str = ""
    """Why nothing could be recalled; empty when that went well."""


class MemoriesKept(msgspec.Struct, frozen=True):
    """What the run has learned was stored."""

    phase: Purpose
    names: tuple[str, ...] = ()
    error: str = ""
    """Why it could not be stored; empty when that went well."""


class ModelRerouted(msgspec.Struct, frozen=True):
    """A model stays down, and the next one of its route takes over."""

    thread: ThreadId
    purpose: Purpose
    failed: str
    model: str
    reason: str = ""


LifecycleEvent = (
    PhaseStarted
    | PhaseAnswered
    | PhaseEnded
    | PlanAdopted
    | PlanApprovalRequested
    | PlanApprovalDecided
    | TaskStarted
    | TaskEnded
    | TaskRetried
    | TaskSkipped
    | TaskStopping
    | MemoriesRecalled
    | MemoriesKept
    | ModelRerouted
)
