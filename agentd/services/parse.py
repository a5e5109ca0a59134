"""Read requests into the vocabulary: every rule that the contract states is checked here.

Every refusal is INVALID_FIELD and names the field, such as `run.budget.max_turns`.
"""

from collections.abc import Iterable

from google.protobuf.field_mask_pb2 import FieldMask

from agentd.agent.budget import Budget
from agentd.agent.events import RunState
from agentd.agent.ids import (
    DEFAULT_AGENT,
    AgentId,
    CallId,
    Namespace,
    RunId,
    SessionId,
    check_tool_id,
    parse_child_name,
    parse_name,
)
from agentd.agent.message import Purpose
from agentd.agent.permission import Labels
from agentd.agent.spec import Agent, OnUnknown, ProtocolKind, Session
from agentd.agent.tool import EffectClass, Tool
from agentd.errors import invalid_field
from agentd.runtime.library import CHANGEABLE
from agentd.runtime.ports import RunQuery, Selector
from agentd.runtime.starting import NewRun
from agentd.services import checks, parse_lifecycle, parse_permission
from agentd.services.checks import KIB, MIB
from agentd.services.convert_event import KINDS
from agentd.v1 import (
    agent_pb2,
    budget_pb2,
    event_service_pb2,
    run_pb2,
    run_service_pb2,
    session_pb2,
    tool_pb2,
)

MAX_FILTER_RUNS = 1000
MAX_PARALLEL_CALLS = 256
MAX_PERMISSIONS = 256
MAX_FALLBACKS = 8
DEFAULT_TOOL_TIMEOUT_MS = 600_000


def agent_id(name: str, field: str = "name") -> AgentId:
    """Return the id of `agents/{agent}`."""
    return AgentId(parse_name(name, "agents", field))


def session_id(name: str, field: str = "name") -> SessionId:
    """Return the id of `sessions/{session}`."""
    return SessionId(parse_name(name, "sessions", field))


def run_id(name: str, field: str = "name") -> RunId:
    """Return the id of `runs/{run}`."""
    return RunId(parse_name(name, "runs", field))


def call_name(name: str, field: str = "name") -> tuple[RunId, CallId]:
    """Return the ids of `runs/{run}/calls/{call}`."""
    run, call = parse_child_name(name, "runs", "calls", field)
    return RunId(run), CallId(call)


def tool_path(name: str, field: str = "name") -> str:
    """Return the `toolset/tool` of `toolsets/{toolset}/tools/{tool}`."""
    toolset, tool = parse_child_name(name, "toolsets", "tools", field)
    return f"{toolset}/{tool}"


def budget(message: budget_pb2.Budget, field: str) -> Budget:
    """Return the limits of a run."""
    wall_time_ms = 0
    if message.HasField("max_wall_time"):
        wall_time_ms = checks.duration_ms(message.max_wall_time, f"{field}.max_wall_time")
    return Budget(
        max_turns=checks.number(message.max_turns, f"{field}.max_turns"),
        max_tokens=checks.number(message.max_tokens, f"{field}.max_tokens"),
        max_cost_nanos=checks.number(message.max_cost_nanos, f"{field}.max_cost_nanos"),
        max_tool_calls=checks.number(message.max_tool_calls, f"{field}.max_tool_calls"),
        max_wall_time_ms=wall_time_ms,
    )


def agent(message: agent_pb2.Agent, namespace: Namespace) -> Agent:
    """Return an agent; its id is empty when the message has no name."""
    return Agent(
        namespace=namespace,
        id=agent_id(message.name, "agent.name") if message.name else AgentId(""),
        display_name=checks.text(
            message.display_name, "agent.display_name", at_most=checks.MAX_DISPLAY_NAME
        ),
        instructions=checks.long_text(
            message.instructions, "agent.instructions", at_most_bytes=MIB
        ),
        models=_models(message.models),
        fallbacks=_fallbacks(message.models),
        tools=checks.patterns(message.tools, "agent.tools"),
        budget=budget(message.budget, "agent.budget"),
        protocol=checks.choice(
            message.protocol, ProtocolKind, "agent.protocol", unset=ProtocolKind.DIRECT
        ),
        on_unknown=checks.choice(
            message.on_unknown, OnUnknown, "agent.on_unknown", unset=OnUnknown.ASK
        ),
        max_parallel_calls=checks.number(
            message.max_parallel_calls, "agent.max_parallel_calls", most=MAX_PARALLEL_CALLS
        ),
        permissions=parse_permission.rules(message.permissions, "agent.permissions"),
        grants=parse_permission.grants(message.grants, "agent.grants"),
        annotations=checks.annotations(message.annotations, "agent.annotations"),
        require_plan_approval=message.require_plan_approval,
        phase_prompts=parse_lifecycle.phase_prompts(message.phase_prompts),
    )


def update_mask(mask: FieldMask) -> frozenset[str]:
    """Return the fields that an update of an agent names; none means all."""
    for path in mask.paths:
        if path not in CHANGEABLE:
            known = ", ".join(sorted(CHANGEABLE))
            raise invalid_field("update_mask", f"{path[:80]!r} is none of {known}")
    return frozenset(mask.paths)


def session(message: session_pb2.Session, namespace: Namespace) -> Session:
    """Return a session; its id is empty when the message has no name."""
    return Session(
        namespace=namespace,
        id=session_id(message.name, "session.name") if message.name else SessionId(""),
        display_name=checks.text(
            message.display_name, "session.display_name", at_most=checks.MAX_DISPLAY_NAME
        ),
        annotations=checks.annotations(message.annotations, "session.annotations"),
    )


MAX_PATH = 4096
"""The longest path that Linux takes."""


def new_run(message: run_pb2.Run, namespace: Namespace) -> NewRun:
    """Return a run that is to be created."""
    return NewRun(
        namespace=namespace,
        id=run_id(message.name, "run.name") if message.name else None,
        goal=checks.long_text(message.goal, "run.goal", at_most_bytes=MIB, needed=True),
        agent=agent_id(message.agent, "run.agent") if message.agent else DEFAULT_AGENT,
        agent_revision=checks.number(message.agent_revision, "run.agent_revision"),
        session=session_id(message.session, "run.session") if message.session else None,
        model=checks.text(message.model, "run.model", at_most=checks.MAX_MODEL_NAME),
        tools=checks.patterns(message.tools, "run.tools"),
        budget=budget(message.budget, "run.budget"),
        annotations=checks.annotations(message.annotations, "run.annotations"),
        workspace=checks.text(message.workspace, "run.workspace", at_most=MAX_PATH),
        simulate_only=message.simulate_only,
    )


def run_query(message: run_service_pb2.RunFilter, namespace: Namespace) -> RunQuery:
    """Return which runs are meant."""
    return RunQuery(
        namespace=namespace,
        states=frozenset(
            checks.choice(state, RunState, f"filter.states[{index}]")
            for index, state in enumerate(message.states)
        ),
        agent=agent_id(message.agent, "filter.agent") if message.agent else None,
        session=session_id(message.session, "filter.session") if message.session else None,
    )


def selector(message: event_service_pb2.EventFilter, namespace: Namespace) -> Selector:
    """Return which events are meant."""
    checks.count(message.runs, "filter.runs", at_most=MAX_FILTER_RUNS)
    for index, kind in enumerate(message.kinds):
        if kind not in KINDS:
            known = ", ".join(KINDS)
            raise invalid_field(f"filter.kinds[{index}]", f"{kind[:80]!r} is none of {known}")
    return Selector(
        namespace=namespace,
        runs=frozenset(
            run_id(name, f"filter.runs[{index}]") for index, name in enumerate(message.runs)
        ),
        agent=agent_id(message.agent, "filter.agent") if message.agent else None,
        session=session_id(message.session, "filter.session") if message.session else None,
        kinds=frozenset(KINDS[kind] for kind in message.kinds),
    )


def tool(message: tool_pb2.Tool, toolset: str, field: str) -> Tool:
    """Return a tool that a host of the toolset declares; its schemas are not checked."""
    prefix = f"toolsets/{toolset}/tools/"
    if not message.name.startswith(prefix):
        raise invalid_field(
            f"{field}.name", f"{message.name[:160]!r} must have the form '{prefix}{{id}}'"
        )
    timeout_ms = DEFAULT_TOOL_TIMEOUT_MS
    if message.HasField("timeout"):
        timeout_ms = checks.duration_ms(message.timeout, f"{field}.timeout", least_ms=1)
    return Tool(
        toolset=toolset,
        id=check_tool_id(message.name.removeprefix(prefix), f"{field}.name"),
        description=checks.long_text(
            message.description, f"{field}.description", at_most_bytes=16 * KIB
        ),
        input_schema_json=message.input_schema_json,
        output_schema_json=message.output_schema_json,
        effect=checks.choice(
            message.effect, EffectClass, f"{field}.effect", unset=EffectClass.IRREVERSIBLE
        ),
        timeout_ms=timeout_ms,
        reconcile=message.reconcile,
        simulate=message.simulate,
        permissions=_permissions(message, f"{field}.permissions"),
        labels=Labels(message.untrusted_results, message.private_results),
    )


def _models(routes: Iterable[agent_pb2.ModelRoute]) -> dict[Purpose, str]:
    models: dict[Purpose, str] = {}
    for index, route in enumerate(routes):
        field = f"agent.models[{index}]"
        purpose = checks.choice(route.purpose, Purpose, f"{field}.purpose", unset=Purpose.EXECUTION)
        if purpose in models:
            raise invalid_field(f"{field}.purpose", f"{purpose.name} has a route already")
        models[purpose] = checks.text(
            route.model, f"{field}.model", at_most=checks.MAX_MODEL_NAME, needed=True
        )
    return models


def _fallbacks(routes: Iterable[agent_pb2.ModelRoute]) -> dict[Purpose, tuple[str, ...]]:
    fallbacks = {}
    for index, route in enumerate(routes):
        field = f"agent.models[{index}].fallbacks"
        checks.count(route.fallbacks, field, at_most=MAX_FALLBACKS)
        names = tuple(
            checks.text(name, f"{field}[{place}]", at_most=checks.MAX_MODEL_NAME, needed=True)
            for place, name in enumerate(route.fallbacks)
        )
        if names:
            fallbacks[Purpose(route.purpose or Purpose.EXECUTION.value)] = names
    return fallbacks


def _permissions(message: tool_pb2.Tool, field: str) -> tuple[str, ...]:
    checks.count(message.permissions, field, at_most=MAX_PERMISSIONS)
    return tuple(
        parse_permission.permission(permission, f"{field}[{index}]")
        for index, permission in enumerate(message.permissions)
    )
