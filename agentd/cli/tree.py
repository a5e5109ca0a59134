"""Fold a run's events into a tree: phases, tasks, model turns, calls, with time and cost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agentd.cli.text import line, lower
from agentd.client.types import CallState, Event, Purpose, RunState, TaskState

LABEL_WIDTH = 60


@dataclass(slots=True)
class Step:
    """A part of a run, and its parts."""

    kind: str
    """`run`, `phase`, `task`, `turn`, `call` or `note`."""
    name: str
    start: datetime
    state: str = "in progress"
    end: datetime | None = None
    detail: str = ""
    input_tokens: int = 0
    """Of this part alone: a turn's."""
    output_tokens: int = 0
    cost_nanos: int = 0
    parts: "list[Step]" = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Input and output, those of the parts included."""
        own = self.input_tokens + self.output_tokens
        return own + sum(part.tokens for part in self.parts)

    @property
    def cost(self) -> int:
        """Billionths of a US dollar, those of the parts included."""
        return self.cost_nanos + sum(part.cost for part in self.parts)

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it goes on."""
        return None if self.end is None else (self.end - self.start).total_seconds()

    def close(self, time: datetime, state: str, detail: str = "") -> None:
        """Note how it ended."""
        self.end, self.state = time, state
        self.detail = detail or self.detail

    def as_json(self) -> Mapping[str, Any]:
        """Return it as plain values, its sums included."""
        return {
            "kind": self.kind,
            "name": self.name,
            "state": self.state,
            "detail": self.detail,
            "start_time": self.start.isoformat(),
            "end_time": self.end.isoformat() if self.end else None,
            "seconds": self.seconds,
            "tokens": self.tokens,
            "cost_nanos": self.cost,
            "parts": [part.as_json() for part in self.parts],
        }


class Tree:
    """The steps of one run, folded from its events in order."""

    def __init__(self) -> None:
        self.root = Step("run", "", datetime.fromtimestamp(0, UTC))
        self._threads: dict[str, Step] = {}
        self._phases: dict[tuple[int, str], Step] = {}
        self._tasks: dict[str, Step] = {}
        self._turns: dict[int, tuple[Step, Step]] = {}
        """The step of each turn, and the one that it is part of."""
        self._calls: dict[str, Step] = {}

    def add(self, event: Event) -> None:
        """Fold one event."""
        kind = event.WhichOneof("payload")
        if kind is None:
            return
        time, fact = event.time.ToDatetime(tzinfo=UTC), getattr(event, kind)
        if kind.startswith("run_"):
            self._of_run(kind, fact, event.run, time)
        elif kind.startswith("model_") or kind == "phase_answered":
            self._of_model(kind, fact, time)
        elif kind.startswith("call_"):
            self._of_call(kind, fact, time)
        elif kind.startswith("phase_"):
            self._of_phase(kind, fact, time)
        elif kind.startswith("task_"):
            self._of_task(kind, fact, time)
        elif kind.startswith("memories_"):
            self._of_memory(kind, fact, time)

    def _of_run(self, kind: str, fact: Any, run: str, time: datetime) -> None:
        match kind:
            case "run_created":
                self.root = Step("run", run, time, detail=line(fact.goal, LABEL_WIDTH))
            case "run_ended":
                state = lower(RunState.Name(fact.state), "RUN_STATE_")
                self.root.close(time, state, line(fact.failure.message, LABEL_WIDTH))
            case _:
                pass

    def _of_phase(self, kind: str, fact: Any, time: datetime) -> None:
        if kind == "phase_started":
            name = lower(Purpose.Name(fact.phase), "PURPOSE_")
            step = Step("phase", name, time)
            self._phases[fact.phase, fact.task] = step
            self._threads[fact.thread] = step
            self._tasks.get(fact.task, self.root).parts.append(step)
        elif phase := self._phases.get((fact.phase, fact.task)):
            phase.close(time, fact.outcome, line(fact.detail, LABEL_WIDTH))

    def _of_task(self, kind: str, fact: Any, time: datetime) -> None:
        name = fact.task.rpartition("/")[2]
        execution = self._phases.get((Purpose.PURPOSE_EXECUTION, ""), self.root)
        match kind:
            case "task_started":
                step = Step("task", f"{name} (attempt {fact.attempt})", time)
                self._tasks[fact.task] = self._threads[fact.thread] = step
                execution.parts.append(step)
            case "task_ended" if fact.task in self._tasks:
                state = lower(TaskState.Name(fact.state), "TASK_STATE_")
                self._tasks[fact.task].close(time, state, line(fact.reason, LABEL_WIDTH))
            case "task_ended" | "task_skipped":
                given_up = "abandoned" if kind == "task_ended" else "skipped"
                step = Step("task", name, time)
                step.close(time, given_up, line(fact.reason, LABEL_WIDTH))
                execution.parts.append(step)
            case _:
                pass

    def _of_model(self, kind: str, fact: Any, time: datetime) -> None:
        if kind == "model_requested":
            step = Step("turn", f"turn {fact.turn}.{fact.attempt} {fact.model}", time)
            parent = self._threads.get(fact.thread, self.root)
            self._turns[fact.turn] = step, parent
            parent.parts.append(step)
            return
        if kind == "model_rerouted":
            self._note(self._threads.get(fact.thread, self.root), time, f"now {fact.model}", "")
            return
        step, parent = self._turns[fact.turn]
        if kind != "model_lost":
            step.input_tokens += fact.usage.input_tokens
            step.output_tokens += fact.usage.output_tokens
            step.cost_nanos += fact.usage.cost_nanos
        match kind:
            case "model_replied":
                step.close(time, "answered")
                for call in fact.calls:
                    self._calls[call.call] = self._asked(call, time)
                    parent.parts.append(self._calls[call.call])
            case "phase_answered":
                faults = line("; ".join(fact.faults), LABEL_WIDTH)
                step.close(time, "sent back" if fact.faults else "answered", faults)
            case "model_failed":
                step.close(time, "failed", line(fact.message, LABEL_WIDTH))
            case _:
                step.close(time, "lost", line(fact.reason, LABEL_WIDTH))

    def _asked(self, call: Any, time: datetime) -> Step:
        name = f"{call.call.rpartition('/')[2]} {line(call.tool, LABEL_WIDTH)}"
        return Step("call", f"{name} (simulated)" if call.simulate else name, time)

    def _of_call(self, kind: str, fact: Any, time: datetime) -> None:
        step = self._calls.get(fact.call)
        if step is not None and kind == "call_ended":
            state = lower(CallState.Name(fact.state), "CALL_STATE_")
            step.close(time, state, line(fact.error.message, LABEL_WIDTH))

    def _of_memory(self, kind: str, fact: Any, time: datetime) -> None:
        verb = "recalled" if kind == "memories_recalled" else "kept"
        place = self.root
        if kind == "memories_kept":
            place = self._phases.get((fact.phase, ""), self.root)
        if fact.memories or fact.error:
            self._note(place, time, f"{len(fact.memories)} memories {verb}", fact.error)

    def _note(self, place: Step, time: datetime, name: str, fault: str) -> None:
        step = Step("note", name, time)
        step.close(time, "failed" if fault else "", line(fault, LABEL_WIDTH))
        place.parts.append(step)


def tree_of(events: Iterable[Event]) -> Step:
    """Return the tree of a run's events."""
    tree = Tree()
    for event in events:
        tree.add(event)
    return tree.root
