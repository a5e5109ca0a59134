"""Translate the vocabulary into the contract's messages. Total: every value has a translation.

Enums of both sides have the same numbers, so `.value` translates them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from agentd.agent.budget import Budget, ModelUsage, Usage
from agentd.agent.call import Call, Evidence
from agentd.agent.events import CancelEntry, RunFailure
from agentd.agent.ids import RunId
from agentd.agent.message import ModelInfo
from agentd.agent.run import Run
from agentd.agent.spec import Agent
from agentd.agent.tool import CallError, EffectClass
from agentd.runtime.engine import CancelReport
from agentd.runtime.library import etag_of
from agentd.runtime.sessions import SessionView
from agentd.services import convert_permission
from agentd.tools.registry import Manifest
from agentd.v1 import (
    agent_pb2,
    budget_pb2,
    call_pb2,
    permission_pb2,
    run_pb2,
    session_pb2,
    system_service_pb2,
    tool_pb2,
)

_Fields = Mapping[str, Any]
"""The fields of a message."""


def timestamp(time_ms: int) -> Timestamp | None:
    """Return a time; 0 means that there is none."""
    if not time_ms:
        return None
    return Timestamp(seconds=time_ms // 1000, nanos=time_ms % 1000 * 1_000_000)


def duration(time_ms: int) -> Duration:
    """Return a duration."""
    return Duration(seconds=time_ms // 1000, nanos=time_ms % 1000 * 1_000_000)


def _seconds(time_ms: int) -> _Fields:
    """Return a time or duration as a mapping, which a constructor takes in half the time of a
    message that it would have to copy."""
    return {"seconds": time_ms // 1000, "nanos": time_ms % 1000 * 1_000_000}


def _time(time_ms: int) -> _Fields | None:
    return _seconds(time_ms) if time_ms else None


def tool_name(path: str) -> str:
    """Return the resource name of `toolset/tool`; empty for no tool."""
    if not path:
        return ""
    toolset, _, tool = path.partition("/")
    return f"toolsets/{toolset}/tools/{tool}"


def budget(value: Budget) -> budget_pb2.Budget:
    """Return the limits of a run."""
    return budget_pb2.Budget(**_budget(value))


def _budget(value: Budget) -> _Fields:
    wall_time = value.max_wall_time_ms
    return {
        "max_turns": value.max_turns,
        "max_tokens": value.max_tokens,
        "max_cost_nanos": value.max_cost_nanos,
        "max_tool_calls": value.max_tool_calls,
        "max_wall_time": _seconds(wall_time) if wall_time else None,
    }


def usage(value: Usage) -> budget_pb2.Usage:
    """Return what a run has spent."""
    return budget_pb2.Usage(**_usage(value))


def _usage(value: Usage, reserved_tokens: int = 0, reserved_cost_nanos: int = 0) -> _Fields:
    """Return what a run has spent, with what its requests in flight hold back."""
    return {
        "turns": value.turns,
        "input_tokens": value.input_tokens,
        "output_tokens": value.output_tokens,
        "cache_read_tokens": value.cache_read_tokens,
        "cache_write_tokens": value.cache_write_tokens,
        "cost_nanos": value.cost_nanos,
        "tool_calls": value.tool_calls,
        "reserved_tokens": reserved_tokens,
        "unknown_tokens": value.unknown_tokens,
        "unknown_cost_nanos": value.unknown_cost_nanos,
        "reserved_cost_nanos": reserved_cost_nanos,
    }


def model_usage(value: ModelUsage, turns: int) -> dict[str, int]:
    """Return what one model request has spent, as the fields of a Usage."""
    return {
        "turns": turns,
        "input_tokens": value.input_tokens,
        "output_tokens": value.output_tokens,
        "cache_read_tokens": value.cache_read_tokens,
        "cache_write_tokens": value.cache_write_tokens,
        "cost_nanos": value.cost_nanos,
    }


def agent(value: Agent) -> agent_pb2.Agent:
    """Return one revision of an agent."""
    return agent_pb2.Agent(
        name=f"agents/{value.id}",
        revision=value.revision,
        display_name=value.display_name,
        instructions=value.instructions,
        models=[
            agent_pb2.ModelRoute(
                purpose=agent_pb2.Purpose.Name(purpose.value),
                model=model,
                fallbacks=value.fallbacks.get(purpose, ()),
            )
            for purpose, model in value.models.items()
        ],
        tools=value.tools,
        budget=budget(value.budget),
        protocol=agent_pb2.Protocol.Name(value.protocol.value),
        on_unknown=agent_pb2.OnUnknown.Name(value.on_unknown.value),
        max_parallel_calls=value.max_parallel_calls,
        annotations=value.annotations,
        create_time=timestamp(value.create_time_ms),
        update_time=timestamp(value.update_time_ms),
        etag=etag_of(value),
        permissions=[
            permission_pb2.PermissionRule(**convert_permission.rule(each))
            for each in value.permissions
        ],
        grants=[
            permission_pb2.PermissionGrant(**convert_permission.grant(each))
            for each in value.grants
        ],
        require_plan_approval=value.require_plan_approval,
        phase_prompts=[
            agent_pb2.PhasePrompt(purpose=agent_pb2.Purpose.Name(purpose.value), text=text)
            for purpose, text in value.phase_prompts.items()
        ],
    )


def session(value: SessionView) -> session_pb2.Session:
    """Return a session."""
    return session_pb2.Session(
        name=f"sessions/{value.session.id}",
        display_name=value.session.display_name,
        annotations=value.session.annotations,
        last_run=f"runs/{value.last_run}" if value.last_run else "",
        run_count=value.run_count,
        create_time=timestamp(value.session.create_time_ms),
        update_time=timestamp(value.update_time_ms),
    )


def failure(value: RunFailure | None) -> run_pb2.RunFailure | None:
    """Return why a run did not succeed."""
    if value is None:
        return None
    reason = run_pb2.RunFailureReason.Name(value.reason.value)
    return run_pb2.RunFailure(reason=reason, message=value.message)


def run(value: Run) -> run_pb2.Run:
    """Return a run: made by one constructor call, since every read of a run comes here."""
    identity, spec, view = value.identity, value.spec, value.view
    fields: _Fields = {
        "name": f"runs/{identity.id}",
        "agent": f"agents/{identity.agent}",
        "agent_revision": spec.agent_revision,
        "session": f"sessions/{identity.session}" if identity.session else "",
        "goal": spec.goal,
        "model": spec.model,
        "tools": spec.tools,
        "budget": _budget(spec.budget),
        "annotations": spec.annotations,
        "state": view.state.value,
        "wait_reason": view.wait_reason.value if view.wait_reason else None,
        "wait_detail": view.wait_detail,
        "output": view.output,
        "failure": failure(view.failure),
        "usage": _usage(view.usage, view.reserved_tokens, view.reserved_cost_nanos),
        "last_sequence": view.last_sequence,
        "parent_run": f"runs/{spec.parent}" if spec.parent else "",
        "create_time": _time(spec.create_time_ms),
        "start_time": _time(view.start_time_ms),
        "end_time": _time(view.end_time_ms),
        "update_time": _time(view.update_time_ms),
        "workspace": spec.workspace,
        "simulate_only": spec.simulate_only,
    }
    return run_pb2.Run(**fields)


def cancel_entries(run: RunId, values: Iterable[CancelEntry]) -> list[run_pb2.CancelEntry]:
    """Return what became of the things in progress of a run."""
    return [
        run_pb2.CancelEntry(
            name=f"runs/{run}/{value.name}",
            outcome=run_pb2.CancelOutcome.Name(value.outcome.value),
            detail=value.detail,
        )
        for value in values
    ]


def cancel_report(value: CancelReport) -> run_pb2.CancelReport:
    """Return what became of everything that was in progress."""
    return run_pb2.CancelReport(
        run=f"runs/{value.run}",
        state=run_pb2.RunState.Name(value.state.value),
        entries=cancel_entries(value.run, value.entries),
        complete=value.complete,
        elapsed=duration(value.elapsed_ms),
    )


def effect(value: EffectClass) -> str:
    """Return the name of an effect class."""
    return tool_pb2.EffectClass.Name(value.value)


def call_error(value: CallError | None) -> call_pb2.CallError | None:
    """Return why a call did not succeed."""
    if value is None:
        return None
    reason = call_pb2.CallErrorReason.Name(value.reason.value)
    return call_pb2.CallError(reason=reason, message=value.message)


def evidence(value: Evidence) -> call_pb2.CallEvidence:
    """Return a completion that did not count."""
    return call_pb2.CallEvidence(
        host=value.host,
        attempt=value.attempt,
        result_json=value.result_json,
        error_message=value.error_message,
        receive_time=timestamp(value.receive_time_ms),
    )


def call(value: Call) -> call_pb2.Call:
    """Return a call."""
    return call_pb2.Call(
        name=f"runs/{value.run}/calls/{value.id}",
        tool=tool_name(value.path),
        arguments_json=value.arguments_json,
        effect=tool_pb2.EffectClass.Name(value.effect.value),
        state=call_pb2.CallState.Name(value.state.value),
        attempt=value.attempt,
        host=value.host or "",
        idempotency_key=value.idempotency_key,
        result_json=value.result_json,
        error=call_error(value.error),
        create_time=timestamp(value.create_time_ms),
        lease_expire_time=timestamp(value.lease_expire_time_ms),
        update_time=timestamp(value.update_time_ms),
        end_time=timestamp(value.end_time_ms),
        evidence=[evidence(each) for each in value.evidence],
        verdict=convert_permission.verdict_message(value.judgement, value.seen),
        approval=f"approvals/{value.approval}" if value.approval else "",
        edited_arguments_json=value.edited_arguments_json,
        simulate=value.simulate,
    )


def tool(value: Manifest, *, available: bool) -> tool_pb2.Tool:
    """Return a tool as it was registered."""
    manifest = value.tool
    return tool_pb2.Tool(
        name=tool_name(manifest.path),
        description=manifest.description,
        input_schema_json=manifest.input_schema_json,
        output_schema_json=manifest.output_schema_json,
        effect=tool_pb2.EffectClass.Name(manifest.effect.value),
        timeout=duration(manifest.timeout_ms),
        reconcile=manifest.reconcile,
        simulate=manifest.simulate,
        permissions=manifest.permissions,
        available=available,
        update_time=timestamp(value.update_time_ms),
        untrusted_results=manifest.labels.untrusted,
        private_results=manifest.labels.private,
    )


def model_info(value: ModelInfo) -> system_service_pb2.ModelInfo:
    """Return a model."""
    return system_service_pb2.ModelInfo(
        name=value.name,
        context_tokens=value.context_tokens,
        ready=value.ready,
        detail=value.detail,
    )
