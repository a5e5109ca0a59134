"""Plans, tasks, and what a model answers about them. Pure data."""

from enum import Enum
from typing import NewType

import msgspec

from agentd.agent.budget import FREE, Prices
from agentd.agent.message import Purpose
from agentd.agent.permission import NO_LABELS, Labels
from agentd.agent.tool import EffectClass

TaskId = NewType("TaskId", str)
"""A task within its run, as its plan names it."""
ThreadId = NewType("ThreadId", str)
"""A line of model turns within its run, such as `planning-1` or `task-build.2`."""


class TaskState(Enum):
    """The state of a task; the values are those of `agentd.v1.TaskState`."""

    PENDING = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    ABANDONED = 5
    SKIPPED = 6

    def __init__(self, value: int) -> None:
        self.ended = value >= 3
        """Whether it goes on only by a deliberate retry."""


class TaskSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node of a plan."""

    id: TaskId
    objective: str
    criterion: str = ""
    """How to tell that it succeeded."""
    dependencies: tuple[TaskId, ...] = ()
    tools: tuple[str, ...] = ()
    """The tools that it needs, by the names that the model sees."""
    permissions: tuple[str, ...] = ()
    """What its calls will need beyond the tools, such as `fs.write:/srv/a.txt`. Empty means not
    said."""
    expected: str = ""
    """The outcome that is expected."""
    effect: EffectClass = EffectClass.READ_ONLY
    """The strongest effect of its calls."""
    tokens: int = 0
    """An estimate of what it will spend."""
    calls: int = 0


class Plan(msgspec.Struct, frozen=True, tag="plan"):
    """What a model wants to do about a goal."""

    tasks: tuple[TaskSpec, ...]
    summary: str = ""


class Verdict(Enum):
    """What is to become of a plan that was simulated."""

    PROCEED = 1
    REVISE = 2
    STOP = 3


class Prediction(msgspec.Struct, frozen=True):
    """What one task of a plan is expected to do."""

    task: TaskId
    outcome: str
    risk: str = ""


class Simulated(msgspec.Struct, frozen=True, tag="simulation"):
    """A critic's judgement of a plan."""

    verdict: Verdict
    reason: str = ""
    predictions: tuple[Prediction, ...] = ()


class Choice(Enum):
    """What follows from the result of a task."""

    ACCEPT = 1
    RETRY = 2
    REPLAN = 3
    ABANDON = 4
    ASK = 5


class Judged(msgspec.Struct, frozen=True, tag="feedback"):
    """The judgement of one task's result."""

    choice: Choice
    reason: str = ""
    guidance: str = ""
    """What the next attempt is told, or what a person is asked."""


class NewMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that a run has learned."""

    kind: str
    """`episode`, `fact` or `lesson`."""
    text: str
    replaces: str = ""
    """The name of a memory that it contradicts, and that holds no more."""


class Learned(msgspec.Struct, frozen=True, tag="memory"):
    """What a run is remembered by."""

    episode: str = ""
    facts: tuple[NewMemory, ...] = ()


class Reflected(msgspec.Struct, frozen=True, tag="reflection"):
    """The look back at a run."""

    achieved: bool
    answer: str = ""
    """What the person who set the goal is told."""
    lessons: tuple[str, ...] = ()


Answer = Plan | Simulated | Judged | Learned | Reflected


class RecalledMemory(msgspec.Struct, frozen=True):
    """A memory that is told to a run."""

    name: str
    kind: str
    """Such as `lesson` or `fact`."""
    text: str
    why: str = ""
    """Why it was chosen, for people."""
    labels: Labels = NO_LABELS
    """What telling it brings into the run."""


class RoutedModel(msgspec.Struct, frozen=True):
    """A model that serves a purpose."""

    name: str
    """`provider/model`."""
    prices: Prices = FREE
    max_output_tokens: int = 0


class Route(msgspec.Struct, frozen=True):
    """The models of one purpose: the first one, and those that follow it while it stays down."""

    purpose: Purpose
    models: tuple[RoutedModel, ...]


class PromptText(msgspec.Struct, frozen=True):
    """An agent's own prompt for a phase, in place of the daemon's."""

    purpose: Purpose
    text: str


class Terms(msgspec.Struct, frozen=True):
    """What the protocol `lifecycle` needs to know of a run, beside what every run starts with."""

    goal: str
    tools: str = ""
    """The tools as a planner reads of them, one a line."""
    simulatable: tuple[str, ...] = ()
    """The names of the tools that can say what they would do."""
    routes: tuple[Route, ...] = ()
    prompts: tuple[PromptText, ...] = ()
    simulate_only: bool = False
    require_plan_approval: bool = False
    max_parallel_tasks: int = 16
    max_task_attempts: int = 3
    max_plans: int = 4
    """Plans of one run: the first, revised ones and new ones."""
    max_faults: int = 3
    """Answers of one phase that may break its schema or its rules."""

    def models(self, purpose: Purpose) -> tuple[RoutedModel, ...]:
        """Return the models of a purpose, best first."""
        found: dict[Purpose, tuple[RoutedModel, ...]] = {
            route.purpose: route.models for route in self.routes
        }
        return found.get(purpose) or found[Purpose.EXECUTION]
