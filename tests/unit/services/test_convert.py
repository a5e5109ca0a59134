"""What the vocabulary says and what the contract says are the same, both ways."""

from typing import get_args

from google.protobuf.descriptor import EnumDescriptor
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent.approval import Approval, ApprovalScope, ApprovalState
from agentd.agent.budget import Budget
from agentd.agent.call import Call
from agentd.agent.events import CancelOutcome, FailureReason, RunState, WaitReason
from agentd.agent.hosting import Instruction, Invocation, InvocationKind, LeaseResult, LeaseStatus
from agentd.agent.ids import AgentId, Namespace
from agentd.agent.message import ModelErrorKind, Purpose, StopReason
from agentd.agent.permission import Decision, Grant, Rule
from agentd.agent.run import Run
from agentd.agent.spec import Agent, OnUnknown, ProtocolKind
from agentd.agent.tool import CallErrorReason, CallState, EffectClass, Tool
from agentd.protocol.lifecycle.forms import PHASES
from agentd.runtime.sessions import SessionView
from agentd.services import convert, convert_approval, convert_host, parse, parse_permission
from agentd.tools.registry import Manifest
from agentd.v1 import (
    agent_pb2,
    approval_pb2,
    call_pb2,
    event_pb2,
    permission_pb2,
    run_pb2,
    tool_host_service_pb2,
    tool_pb2,
)
from tests.unit.services.anything import IDS, anything

HOME = Namespace("default")
ENUMS = [
    (Purpose, agent_pb2.Purpose, "PURPOSE"),
    (ProtocolKind, agent_pb2.Protocol, "PROTOCOL"),
    (OnUnknown, agent_pb2.OnUnknown, "ON_UNKNOWN"),
    (RunState, run_pb2.RunState, "RUN_STATE"),
    (WaitReason, run_pb2.WaitReason, "WAIT_REASON"),
    (FailureReason, run_pb2.RunFailureReason, "RUN_FAILURE_REASON"),
    (CancelOutcome, run_pb2.CancelOutcome, "CANCEL_OUTCOME"),
    (CallState, call_pb2.CallState, "CALL_STATE"),
    (CallErrorReason, call_pb2.CallErrorReason, "CALL_ERROR_REASON"),
    (EffectClass, tool_pb2.EffectClass, "EFFECT_CLASS"),
    (StopReason, event_pb2.StopReason, "STOP_REASON"),
    (ModelErrorKind, event_pb2.ModelErrorKind, "MODEL_ERROR_KIND"),
    (InvocationKind, tool_host_service_pb2.InvocationKind, "INVOCATION_KIND"),
    (LeaseResult, tool_host_service_pb2.LeaseResult, "LEASE_RESULT"),
    (Decision, permission_pb2.Decision, "DECISION"),
    (ApprovalState, approval_pb2.ApprovalState, "APPROVAL_STATE"),
    (ApprovalScope, approval_pb2.ApprovalScope, "APPROVAL_SCOPE"),
]


def test_enums_have_the_same_names_and_numbers() -> None:
    for ours, theirs, prefix in ENUMS:
        descriptor: EnumDescriptor = theirs.DESCRIPTOR
        assert {f"{prefix}_{value.name}": value.value for value in ours} == {
            value.name: value.number for value in descriptor.values if value.number
        }


@given(st.integers(1, 4_000_000_000_000))
def test_times(time_ms: int) -> None:
    timestamp = convert.timestamp(time_ms)
    assert timestamp is not None
    assert timestamp.ToMilliseconds() == time_ms
    assert convert.duration(time_ms).ToMilliseconds() == time_ms
    assert convert.timestamp(0) is None


@given(anything(Budget))
def test_budgets_come_back(budget: Budget) -> None:
    assert parse.budget(convert.budget(budget), "run.budget") == budget


PERMISSIONS = st.builds("tool.use:{}/{}".format, IDS, IDS)
RULES = anything(
    Rule,
    decision=st.sampled_from((Decision.DENY, Decision.ASK)),
    permission=PERMISSIONS,
)
GRANTS = anything(Grant, permissions=st.lists(PERMISSIONS, min_size=1, max_size=3).map(tuple))
AGENTS = anything(
    Agent,
    namespace=st.just(HOME),
    models=st.dictionaries(st.sampled_from(Purpose), st.text(min_size=1, max_size=8), max_size=3),
    tools=st.lists(st.builds("{}/{}".format, IDS, IDS), max_size=3).map(tuple),
    fallbacks=st.just({}),
    phase_prompts=st.dictionaries(st.sampled_from(PHASES), st.just("Do {{goal}}."), max_size=3),
    max_parallel_calls=st.integers(0, 256),
    permissions=st.lists(RULES, max_size=3).map(tuple),
    grants=st.lists(GRANTS, max_size=3).map(tuple),
    annotations=st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=3),
    revision=st.just(1),
    create_time_ms=st.just(0),
    update_time_ms=st.just(0),
)


@given(AGENTS)
def test_agents_come_back(agent: Agent) -> None:
    assert parse.agent(convert.agent(agent), HOME) == agent


def test_a_route_comes_back_with_its_fallbacks() -> None:
    agent = Agent(
        HOME,
        AgentId("a"),
        models={Purpose.EXECUTION: "p/m", Purpose.PLANNING: "p/n"},
        fallbacks={Purpose.PLANNING: ("p/x", "p/y")},
    )
    assert parse.agent(convert.agent(agent), HOME) == agent


@given(anything(Agent))
def test_any_agent_is_shown(agent: Agent) -> None:
    shown = convert.agent(agent)
    assert (shown.name, shown.revision) == (f"agents/{agent.id}", agent.revision)
    assert (shown.protocol, shown.on_unknown) == (agent.protocol.value, agent.on_unknown.value)
    assert shown.etag


TOOLS = anything(
    Tool,
    toolset=IDS,
    id=IDS,
    timeout_ms=st.integers(1, 10**9),
    permissions=st.lists(PERMISSIONS, max_size=3).map(tuple),
)


@given(anything(Manifest, tool=TOOLS), st.booleans())
def test_tools_come_back(manifest: Manifest, available: bool) -> None:
    shown = convert.tool(manifest, available=available)
    assert parse.tool(shown, manifest.tool.toolset, "tools[0]") == manifest.tool
    assert parse.tool_path(shown.name) == manifest.tool.path
    assert shown.available is available
    assert shown.HasField("update_time") is (manifest.update_time_ms > 0)


@given(anything(SessionView))
def test_sessions(view: SessionView) -> None:
    shown = convert.session(view)
    session = view.session
    assert parse.session_id(shown.name) == session.id
    assert shown.display_name == session.display_name
    assert dict(shown.annotations) == session.annotations
    assert shown.last_run == (f"runs/{view.last_run}" if view.last_run else "")
    assert shown.run_count == view.run_count
    assert shown.create_time.ToMilliseconds() == session.create_time_ms
    assert shown.update_time.ToMilliseconds() == view.update_time_ms


@given(anything(Run))
def test_runs(run: Run) -> None:
    shown = convert.run(run)
    identity, spec, view = run.identity, run.spec, run.view
    assert parse.run_id(shown.name) == identity.id
    assert parse.agent_id(shown.agent) == identity.agent
    assert shown.session == (f"sessions/{identity.session}" if identity.session else "")
    assert parse.budget(shown.budget, "run.budget") == spec.budget
    assert (shown.goal, shown.model, tuple(shown.tools)) == (spec.goal, spec.model, spec.tools)
    assert shown.agent_revision == spec.agent_revision
    assert dict(shown.annotations) == spec.annotations
    assert shown.parent_run == (f"runs/{spec.parent}" if spec.parent else "")
    assert shown.state == view.state.value
    assert shown.wait_reason == (view.wait_reason.value if view.wait_reason else 0)
    assert (shown.wait_detail, shown.output) == (view.wait_detail, view.output)
    assert shown.HasField("failure") is (view.failure is not None)
    if view.failure:
        assert shown.failure.reason == view.failure.reason.value
        assert shown.failure.message == view.failure.message
    assert shown.last_sequence == view.last_sequence
    for name in ("turns", "input_tokens", "output_tokens", "tool_calls", "unknown_tokens"):
        assert getattr(shown.usage, name) == getattr(view.usage, name)
    assert shown.usage.cost_nanos == view.usage.cost_nanos
    assert shown.usage.unknown_cost_nanos == view.usage.unknown_cost_nanos
    assert shown.usage.cache_read_tokens == view.usage.cache_read_tokens
    assert shown.usage.cache_write_tokens == view.usage.cache_write_tokens
    assert shown.usage.reserved_tokens == view.reserved_tokens
    assert shown.usage.reserved_cost_nanos == view.reserved_cost_nanos
    assert shown.create_time.ToMilliseconds() == spec.create_time_ms
    for name in ("start_time", "end_time", "update_time"):
        assert getattr(shown, name).ToMilliseconds() == getattr(view, f"{name}_ms")


@given(anything(Call))
def test_calls(call: Call) -> None:
    shown = convert.call(call)
    assert parse.call_name(shown.name) == (call.run, call.id)
    assert shown.tool == convert.tool_name(call.path)
    assert (shown.state, shown.effect) == (call.state.value, call.effect.value)
    assert (shown.arguments_json, shown.result_json) == (call.arguments_json, call.result_json)
    assert (shown.attempt, shown.host) == (call.attempt, call.host or "")
    assert shown.idempotency_key == call.idempotency_key
    assert shown.HasField("error") is (call.error is not None)
    for name in ("create_time", "update_time", "end_time", "lease_expire_time"):
        assert getattr(shown, name).ToMilliseconds() == getattr(call, f"{name}_ms")
    assert shown.edited_arguments_json == call.edited_arguments_json
    assert shown.approval == (f"approvals/{call.approval}" if call.approval else "")
    assert shown.HasField("verdict") is (call.judgement is not None)
    if call.judgement:
        assert shown.verdict.decision == call.judgement.decision.value
        assert tuple(shown.verdict.needs) == call.judgement.needs
        assert (shown.verdict.need, shown.verdict.rule) == (
            call.judgement.need,
            call.judgement.rule,
        )
        seen = (shown.verdict.after_untrusted, shown.verdict.after_private)
        assert seen == (call.seen.untrusted, call.seen.private)
    assert len(shown.evidence) == len(call.evidence)
    for theirs, ours in zip(shown.evidence, call.evidence, strict=True):
        assert (theirs.host, theirs.attempt) == (ours.host, ours.attempt)
        assert theirs.result_json == ours.result_json
        assert theirs.error_message == ours.error_message
        assert theirs.receive_time.ToMilliseconds() == ours.receive_time_ms


@given(anything(Approval))
def test_approvals(approval: Approval) -> None:
    shown = convert_approval.approval(approval)
    question, answer = approval.question, approval.answer
    assert parse_permission.approval_id(shown.name) == question.id
    assert shown.plan == question.plan
    if not question.plan:
        assert parse.call_name(shown.call) == (question.run, question.call)
    assert (shown.run, shown.agent) == (f"runs/{question.run}", f"agents/{question.agent}")
    assert (shown.state, shown.effect) == (answer.state.value, question.effect.value)
    assert shown.arguments_json == question.arguments_json
    assert shown.arguments_sha256 == question.arguments_sha256
    assert tuple(shown.needs) == question.judgement.needs
    assert (shown.need, shown.rule) == (question.judgement.need, question.judgement.rule)
    labels = (shown.after_untrusted, shown.after_private)
    assert labels == (question.labels.untrusted, question.labels.private)
    assert shown.tool_description == question.tool_description
    assert (shown.reason, shown.decided_by) == (answer.reason, answer.decided_by)
    assert shown.edited_arguments_json == answer.edited_arguments_json
    decided = answer.state in (ApprovalState.ALLOWED, ApprovalState.DENIED)
    assert shown.scope == (answer.scope.value if decided else 0)
    assert shown.create_time.ToMilliseconds() == question.create_time_ms
    assert shown.decide_time.ToMilliseconds() == answer.decide_time_ms


@given(anything(Invocation))
def test_invocations(invocation: Invocation) -> None:
    shown = convert_host.invocation(invocation)
    assert parse.call_name(shown.call) == (invocation.run, invocation.call)
    assert shown.kind == invocation.kind.value
    assert shown.arguments_json == invocation.arguments_json
    assert (shown.attempt, shown.lease_token) == (invocation.attempt, invocation.token)
    assert shown.idempotency_key == invocation.idempotency_key
    assert shown.deadline.ToMilliseconds() == invocation.deadline_ms
    assert shown.lease_expire_time.ToMilliseconds() == invocation.lease_expire_time_ms
    assert tuple(shown.permissions) == invocation.permissions


KINDS = {
    "Invocation": "invoke",
    "Cancellation": "cancel",
    "Welcome": "welcome",
    "HostDrain": "drain",
}


@given(st.one_of([anything(kind) for kind in get_args(Instruction)]))
def test_instructions(instruction: Instruction) -> None:
    shown = convert_host.instruction(instruction)
    assert shown.WhichOneof("instruction") == KINDS[type(instruction).__name__]


@given(anything(LeaseStatus))
def test_lease_statuses(status: LeaseStatus) -> None:
    shown = convert_host.lease_status(status)
    assert parse.call_name(shown.call) == (status.lease.run, status.lease.call)
    assert shown.result == status.result.value
    assert shown.lease_expire_time.ToMilliseconds() == status.lease_expire_time_ms
