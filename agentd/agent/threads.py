"""The state of a run of the protocol `lifecycle`: its phase, its tasks, and its threads.

A thread is a line of model turns with calls of its own, as a run of the protocol `direct` is. Turns
are numbered over the whole run, so a turn and the calls that it asked for belong to one thread.
"""

import msgspec

from agentd.agent.approval import ApprovalId, ApprovalState
from agentd.agent.events import ModelRequested, RunFailure
from agentd.agent.lifecycle import (
    Judged,
    Learned,
    Plan,
    RecalledMemory,
    Reflected,
    Simulated,
    TaskId,
    TaskSpec,
    TaskState,
    Terms,
    ThreadId,
)
from agentd.agent.message import Purpose


class Thread(msgspec.Struct, frozen=True):
    """A line of model turns."""

    id: ThreadId
    purpose: Purpose
    task: TaskId = TaskId("")
    turn: int = 0
    """The present turn; 0 before it has a number."""
    attempt: int = 0
    in_flight: ModelRequested | None = None
    not_before_ms: int = 0
    context_tokens: int = 0
    unread: int = 0
    answer: str | None = None
    failure: RunFailure | None = None
    faults: int = 0
    """Answers that were sent back."""
    model: int = 0
    """Which model of its route serves it, counted from 0."""


class Node(msgspec.Struct, frozen=True):
    """A task as it stands."""

    spec: TaskSpec
    plan: int = 1
    """The number of the plan that it is part of."""
    state: TaskState = TaskState.PENDING
    attempt: int = 1
    """The attempt that is being made, or is made next, counted from 1."""
    result: str = ""
    """What its newest attempt has answered, perhaps shortened."""
    failure: str = ""
    """Why its newest attempt has no answer."""
    reason: str = ""
    """Why it is in its state."""
    guidance: str = ""
    """What the next attempt is told."""
    judged: Judged | None = None
    """The judgement that is to be carried out."""
    told: bool = False
    """Whether the phase FEEDBACK that judged it is over."""
    heard: int = 0
    """How many messages of the user there were when its judgement was made."""
    stopping: str | None = None
    """Why somebody gave it up while it ran."""


class Lifecycle(msgspec.Struct, frozen=True):
    """What a run of the protocol `lifecycle` is, beside what every run is."""

    terms: Terms
    phase: Purpose = Purpose.PLANNING
    begun: bool = False
    """Whether the phase has begun."""
    turns: int = 0
    """The newest turn that has a number."""
    threads: tuple[Thread, ...] = ()
    tasks: tuple[Node, ...] = ()
    plans: int = 0
    """Plans that were accepted."""
    plan: Plan | None = None
    """The newest plan that was accepted, until it is adopted or given up."""
    objection: str = ""
    """Why a new plan is wanted."""
    simulated: Simulated | None = None
    recalled: bool = False
    memories: tuple[RecalledMemory, ...] = ()
    notes: tuple[str, ...] = ()
    """The newest messages of the user."""
    heard: int = 0
    """How many messages of the user there were."""
    approval: ApprovalId | None = None
    """The question about the present plan."""
    approved: ApprovalState = ApprovalState.PENDING
    refused: str = ""
    """What a person said who did not approve."""
    departure: str = ""
    """How a call departs from what was approved, until somebody has been told."""
    learned: Learned | None = None
    reflected: Reflected | None = None
    kept: bool = False
    """Whether what the present phase has learned is stored."""
    failure: RunFailure | None = None
    """Why the run is to be stopped."""
    over: bool = False
    """Whether the last phase has ended."""

    def thread(self, thread: ThreadId) -> Thread | None:
        """Return a thread, or None when it has ended or never was."""
        return next((each for each in self.threads if each.id == thread), None)

    def of_turn(self, turn: int) -> Thread | None:
        """Return the thread whose present turn it is."""
        return next((each for each in self.threads if each.turn == turn), None)

    def task(self, task: TaskId) -> Node | None:
        """Return a task of the plan that was adopted."""
        return next((each for each in self.tasks if each.spec.id == task), None)
