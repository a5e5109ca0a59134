"""Translate plans, tasks and their events into the contract's messages."""

from collections.abc import Callable, Mapping
from typing import Any

from agentd.agent import lifecycle_events as events
from agentd.agent.events import Event
from agentd.agent.lifecycle import TaskState
from agentd.agent.task import Task
from agentd.services import convert
from agentd.v1 import task_pb2

_Fields = Mapping[str, Any]


def task(value: Task, run: str) -> task_pb2.Task:
    """Return a task of a run, `runs/{run}`."""
    spec = value.spec
    return task_pb2.Task(
        name=_task(run, spec.id),
        objective=spec.objective,
        state=task_pb2.TaskState.Name(value.state.value),
        dependencies=[_task(run, dependency) for dependency in spec.dependencies],
        attempt=value.attempt,
        create_time=convert.timestamp(value.create_time_ms),
        update_time=convert.timestamp(value.update_time_ms),
        criterion=spec.criterion,
        tools=spec.tools,
        permissions=spec.permissions,
        expected=spec.expected,
        effect=convert.effect(spec.effect),
        result=value.result,
        reason=value.reason,
        plan=value.plan,
        estimated_tokens=spec.tokens,
        estimated_calls=spec.calls,
    )


def _task(run: str, task: str) -> str:
    return f"{run}/tasks/{task}" if task else ""


def _phase_started(fact: events.PhaseStarted, run: str, _time_ms: int) -> _Fields:
    return {
        "phase": fact.phase.value,
        "thread": fact.thread,
        "prompt": fact.prompt,
        "task": _task(run, fact.task),
    }


def _phase_answered(fact: events.PhaseAnswered, _run: str, _time_ms: int) -> _Fields:
    return {
        "turn": fact.turn,
        "attempt": fact.attempt,
        "text": fact.text,
        "faults": fact.faults,
        "usage": convert.model_usage(fact.usage, 1),
    }


def _phase_ended(fact: events.PhaseEnded, run: str, _time_ms: int) -> _Fields:
    return {
        "phase": fact.phase.value,
        "outcome": fact.outcome,
        "detail": fact.detail,
        "task": _task(run, fact.task),
    }


def _plan_adopted(fact: events.PlanAdopted, run: str, time_ms: int) -> _Fields:
    tasks = [
        Task(spec, fact.number, TaskState.PENDING, 1, create_time_ms=time_ms)
        for spec in fact.plan.tasks
    ]
    return {
        "summary": fact.plan.summary,
        "tasks": [task(each, run) for each in tasks],
        "number": fact.number,
    }


def _task_started(fact: events.TaskStarted, run: str, _time_ms: int) -> _Fields:
    return {
        "task": _task(run, fact.task),
        "attempt": fact.attempt,
        "thread": fact.thread,
        "prompt": fact.prompt,
    }


def _task_ended(fact: events.TaskEnded, run: str, _time_ms: int) -> _Fields:
    return {
        "task": _task(run, fact.task),
        "attempt": fact.attempt,
        "state": fact.state.value,
        "result": fact.result,
        "reason": fact.reason,
    }


def _task_retried(fact: events.TaskRetried, run: str, _time_ms: int) -> _Fields:
    return {
        "task": _task(run, fact.task),
        "attempt": fact.attempt,
        "reason": fact.reason,
        "guidance": fact.guidance,
    }


def _task_reason(
    fact: events.TaskSkipped | events.TaskStopping, run: str, _time_ms: int
) -> _Fields:
    return {"task": _task(run, fact.task), "reason": fact.reason}


def _memories_recalled(fact: events.MemoriesRecalled, _run: str, _time_ms: int) -> _Fields:
    memories = [
        {"name": f"memories/{each.name}", "kind": each.kind, "text": each.text, "why": each.why}
        for each in fact.memories
    ]
    return {"query": fact.query, "memories": memories, "error": fact.error}


def _memories_kept(fact: events.MemoriesKept, _run: str, _time_ms: int) -> _Fields:
    names = [f"memories/{name}" for name in fact.names]
    return {"phase": fact.phase.value, "memories": names, "error": fact.error}


def _model_rerouted(fact: events.ModelRerouted, _run: str, _time_ms: int) -> _Fields:
    return {
        "thread": fact.thread,
        "purpose": fact.purpose.value,
        "failed_model": fact.failed,
        "model": fact.model,
        "reason": fact.reason,
    }


def _plan_approval_requested(
    fact: events.PlanApprovalRequested, _run: str, _time_ms: int
) -> _Fields:
    return {
        "approval": f"approvals/{fact.approval}",
        "plan_json": fact.plan_json,
        "plan_sha256": fact.plan_sha256,
    }


def _plan_approval_decided(fact: events.PlanApprovalDecided, _run: str, _time_ms: int) -> _Fields:
    return {
        "approval": f"approvals/{fact.approval}",
        "decision": fact.decision.value,
        "reason": fact.reason,
        "decided_by": fact.decided_by,
    }


TRANSLATIONS: dict[type[Event], Callable[[Any, str, int], _Fields]] = {
    events.PhaseStarted: _phase_started,
    events.PhaseAnswered: _phase_answered,
    events.PhaseEnded: _phase_ended,
    events.PlanAdopted: _plan_adopted,
    events.TaskStarted: _task_started,
    events.TaskEnded: _task_ended,
    events.TaskRetried: _task_retried,
    events.TaskSkipped: _task_reason,
    events.TaskStopping: _task_reason,
    events.MemoriesRecalled: _memories_recalled,
    events.MemoriesKept: _memories_kept,
    events.ModelRerouted: _model_rerouted,
    events.PlanApprovalRequested: _plan_approval_requested,
    events.PlanApprovalDecided: _plan_approval_decided,
}
"""The translation of each event of the protocol `lifecycle`."""
