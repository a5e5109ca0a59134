"""What holds for the tasks and phases of every run, checked on its history without the machine."""

from collections.abc import Sequence

from agentd.agent.approval import ApprovalState
from agentd.agent.events import (
    Entry,
    ModelRequested,
    RunCancelling,
    RunEnded,
    RunStarted,
)
from agentd.agent.lifecycle import TaskId, TaskSpec, TaskState, Terms
from agentd.agent.lifecycle_events import (
    PhaseEnded,
    PhaseStarted,
    PlanAdopted,
    PlanApprovalDecided,
    PlanApprovalRequested,
    TaskEnded,
    TaskRetried,
    TaskSkipped,
    TaskStarted,
)
from agentd.agent.message import Purpose

_AFTER_STOP = (PhaseStarted, PlanAdopted, TaskStarted, TaskRetried, ModelRequested)


class Tasks:
    """The tasks of one history, as their own events tell them."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.specs: dict[TaskId, TaskSpec] = {}
        self.states: dict[TaskId, TaskState] = {}
        self.attempts: dict[TaskId, int] = {}

    def move(self, event: object) -> None:
        """Follow one event, or say which rule it breaks."""
        match event:
            case PlanAdopted(plan=plan):
                for spec in plan.tasks:
                    assert spec.id not in self.specs, f"task {spec.id} is planned twice"
                    self.specs[spec.id] = spec
                    self.states[spec.id] = TaskState.PENDING
                    self.attempts[spec.id] = 1
            case TaskStarted(task=task, attempt=attempt):
                self._from(task, TaskState.PENDING)
                assert attempt == self.attempts[task], f"{task} skips to attempt {attempt}"
                for need in self.specs[task].dependencies:
                    done = self.states[need] is TaskState.SUCCEEDED
                    assert done, f"{task} starts, and {need} is {self.states[need].name}"
                self.states[task] = TaskState.RUNNING
                running = list(self.states.values()).count(TaskState.RUNNING)
                assert running <= self.terms.max_parallel_tasks, f"{running} tasks run at once"
            case TaskEnded(task=task, state=state):
                before = [TaskState.RUNNING]
                if state is TaskState.ABANDONED:
                    before += [TaskState.PENDING, TaskState.FAILED]
                self._from(task, *before)
                assert state.ended, f"{task} ends as {state.name}"
                self.states[task] = state
            case TaskRetried(task=task, attempt=attempt):
                self._from(task, TaskState.FAILED)
                self.attempts[task] += 1
                assert attempt == self.attempts[task], f"{task} skips to attempt {attempt}"
                self.states[task] = TaskState.PENDING
            case TaskSkipped(task=task):
                self._from(task, TaskState.PENDING)
                self.states[task] = TaskState.SKIPPED
            case _:
                pass

    def _from(self, task: TaskId, *states: TaskState) -> None:
        assert self.states[task] in states, f"{task} is {self.states[task].name}"


def check_tasks(entries: Sequence[Entry]) -> None:
    """Tasks follow their state machine and their dependencies, phases come in pairs, no plan is
    adopted that a person was to approve and did not, and nothing begins in a run that stops."""
    started = [entry.event for entry in entries if isinstance(entry.event, RunStarted)]
    terms = started[0].lifecycle if started else None
    if terms is None:
        return
    tasks, open_phases = Tasks(terms), set[tuple[Purpose, TaskId]]()
    stopping = ended = False
    approved = not terms.require_plan_approval
    for entry in entries:
        event = entry.event
        tasks.move(event)
        late = stopping and isinstance(event, _AFTER_STOP)
        assert not late, f"{type(event).__name__} in a run that stops"
        match event:
            case PhaseStarted(phase=phase, task=task):
                assert (phase, task) not in open_phases, f"{phase.name} {task} begins twice"
                open_phases.add((phase, task))
            case PhaseEnded(phase=phase, task=task):
                assert (phase, task) in open_phases, f"{phase.name} {task} ends, and never began"
                open_phases.remove((phase, task))
            case TaskEnded(task=task, state=TaskState.ABANDONED):
                open_phases.discard((Purpose.FEEDBACK, task))
            case PlanApprovalRequested():
                approved = False
            case PlanApprovalDecided(decision=decision):
                approved = decision is ApprovalState.ALLOWED
            case PlanAdopted():
                assert approved, "a plan is adopted that nobody has approved"
                assert not terms.simulate_only, "a plan is adopted that was only to be simulated"
            case RunCancelling():
                stopping = True
            case RunEnded():
                ended = True
            case _:
                pass
    if ended and not stopping:
        assert not open_phases, f"the run has ended in {open_phases}"
        left = {task: state.name for task, state in tasks.states.items() if not state.ended}
        assert not left, f"the run has ended with {left}"
