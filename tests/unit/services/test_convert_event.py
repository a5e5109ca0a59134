"""Every fact has a translation, and every field of it comes from the fact."""

from enum import Enum
from typing import Any, get_args

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from agentd.agent import events
from agentd.agent.approval import ApprovalId, ApprovalScope, ApprovalState
from agentd.agent.budget import Budget, ModelUsage, Reservation, Usage
from agentd.agent.events import Entry, Event
from agentd.agent.ids import (
    AgentId,
    CallId,
    HostId,
    Namespace,
    RunId,
    RunIdentity,
    RunKey,
    SessionId,
)
from agentd.agent.message import AssistantMessage, ModelErrorKind, StopReason, ToolUse
from agentd.agent.permission import Decision, Judgement, Labels, Rule
from agentd.agent.tool import CallError, CallErrorReason, CallState, EffectClass
from agentd.runtime.watch import CallProgress, Delta
from agentd.services import convert_event
from agentd.services.convert_event import KINDS
from agentd.v1 import event_pb2
from tests.unit.services.anything import anything

PAYLOADS = event_pb2.Event.DESCRIPTOR.oneofs_by_name["payload"].fields
RUN = RunIdentity(RunKey(7), Namespace("default"), RunId("r-1"), AgentId("helper"), None)
CALL = CallId("c1-2")
APPROVAL = ApprovalId("p1-7-c1-2")
KIND_NAMES = {kind: name for name, kind in KINDS.items()}


def translated(fact: Event) -> event_pb2.Event:
    return convert_event.event(Entry(11, RUN, 3, 1_500_250, fact))


def test_facts_and_payloads_are_one_to_one() -> None:
    assert set(KINDS.values()) == set(get_args(Event))
    assert list(KINDS) == sorted(KINDS, key=[field.name for field in PAYLOADS].index)
    assert {field.name for field in PAYLOADS} == set(KINDS)


def test_the_envelope() -> None:
    event = translated(events.RunPaused())
    assert event == event_pb2.Event(
        revision=11,
        run="runs/r-1",
        sequence=3,
        time={"seconds": 1500, "nanos": 250_000_000},
        run_paused={},
    )
    assert event.WhichOneof("payload") == "run_paused"


FULL: list[tuple[Event, dict[str, Any]]] = [
    (
        events.RunCreated(
            AgentId("a"), 2, "goal", Budget(1, 2, 3, 4, 5500), SessionId("s"), RunId("p")
        ),
        {
            "agent": "agents/a",
            "agent_revision": 2,
            "goal": "goal",
            "budget": {
                "max_turns": 1,
                "max_tokens": 2,
                "max_cost_nanos": 3,
                "max_tool_calls": 4,
                "max_wall_time": {"seconds": 5, "nanos": 500_000_000},
            },
            "session": "sessions/s",
            "parent_run": "runs/p",
        },
    ),
    (
        events.RunStarted(
            "p/m",
            tools=(events.GrantedTool("w/t", "t", "d", EffectClass.READ_ONLY),),
            previous_run=RunId("q"),
            layers=((Rule(Decision.ASK, "tool.use:*", Labels(private=True), outward=True),),),
            labels=Labels(untrusted=True),
            workspace="/secret",
        ),
        {
            "model": "p/m",
            "tools": ["toolsets/w/tools/t"],
            "previous_run": "runs/q",
            "layers": [
                {
                    "rules": [
                        {
                            "decision": "DECISION_ASK",
                            "permission": "tool.use:*",
                            "after_private": True,
                            "outward": True,
                        }
                    ]
                }
            ],
            "untrusted": True,
        },
    ),
    (
        events.RunWaiting(events.WaitReason.HOST, "w/t"),
        {"reason": "WAIT_REASON_HOST", "detail": "w/t"},
    ),
    (
        events.RunCancelling(events.RunState.CANCELLED, "enough", 1500),
        {
            "reason": "enough",
            "timeout": {"seconds": 1, "nanos": 500_000_000},
            "outcome": "RUN_STATE_CANCELLED",
        },
    ),
    (
        events.RunEnded(
            events.RunState.FAILED,
            "out",
            events.RunFailure(events.FailureReason.BUDGET_COST, "why"),
            Usage(1, 2, 3, 4, 5, 6, 7, 8, 9),
            (events.CancelEntry("calls/c1-2", events.CancelOutcome.REFUSED, "d"),),
        ),
        {
            "state": "RUN_STATE_FAILED",
            "output": "out",
            "failure": {"reason": "RUN_FAILURE_REASON_BUDGET_COST", "message": "why"},
            "usage": {
                "turns": 1,
                "input_tokens": 2,
                "output_tokens": 3,
                "cache_read_tokens": 4,
                "cache_write_tokens": 5,
                "cost_nanos": 6,
                "tool_calls": 7,
                "unknown_tokens": 8,
                "unknown_cost_nanos": 9,
            },
            "cancel_entries": [
                {
                    "name": "runs/r-1/calls/c1-2",
                    "outcome": "CANCEL_OUTCOME_REFUSED",
                    "detail": "d",
                }
            ],
        },
    ),
    (events.MessagePosted("hi"), {"text": "hi"}),
    (
        events.ModelRequested(1, 2, "p/m", Reservation(3, 4, 5)),
        {
            "turn": 1,
            "attempt": 2,
            "model": "p/m",
            "reserved_tokens": 3,
            "reserved_cost_nanos": 4,
            "max_output_tokens": 5,
        },
    ),
    (
        events.ModelReplied(
            1,
            2,
            AssistantMessage("text", (ToolUse("ref", "forecast", '{"a":1}'),), '{"secret":1}'),
            StopReason.TOOL_USE,
            (
                events.RequestedCall(
                    CALL,
                    judgement=Judgement(
                        Decision.ALLOW, ("tool.use:w/t",), "tool.use:w/t", "r", granted=True
                    ),
                    seen=Labels(untrusted=True),
                ),
            ),
            ModelUsage(1, 2, 3, 4, 5),
        ),
        {
            "turn": 1,
            "attempt": 2,
            "text": "text",
            "calls": [
                {
                    "call": "runs/r-1/calls/c1-2",
                    "tool": "forecast",
                    "arguments_json": '{"a":1}',
                    "verdict": {
                        "decision": "DECISION_ALLOW",
                        "needs": ["tool.use:w/t"],
                        "need": "tool.use:w/t",
                        "rule": "r",
                        "after_untrusted": True,
                        "granted": True,
                    },
                }
            ],
            "stop_reason": "STOP_REASON_TOOL_USE",
            "usage": {
                "turns": 1,
                "input_tokens": 1,
                "output_tokens": 2,
                "cache_read_tokens": 3,
                "cache_write_tokens": 4,
                "cost_nanos": 5,
            },
        },
    ),
    (
        events.ModelFailed(1, 2, ModelErrorKind.OVERLOADED, "m", 9, 1500, ModelUsage(1)),
        {
            "turn": 1,
            "attempt": 2,
            "kind": "MODEL_ERROR_KIND_OVERLOADED",
            "message": "m",
            "will_retry": True,
            "retry_delay": {"seconds": 1, "nanos": 500_000_000},
            "usage": {"input_tokens": 1},
        },
    ),
    (
        events.ModelFailed(1, 2, ModelErrorKind.REFUSED, "m"),
        {
            "turn": 1,
            "attempt": 2,
            "kind": "MODEL_ERROR_KIND_REFUSED",
            "message": "m",
            "usage": {},
        },
    ),
    (events.ModelLost(1, 2, "why"), {"turn": 1, "attempt": 2, "reason": "why"}),
    (
        events.CallLost(CALL, 1, CallErrorReason.HOST_LOST),
        {"call": "runs/r-1/calls/c1-2", "attempt": 1, "reason": "CALL_ERROR_REASON_HOST_LOST"},
    ),
    (
        events.CallUnknown(CALL, 1, CallErrorReason.TIMEOUT, "m"),
        {
            "call": "runs/r-1/calls/c1-2",
            "attempt": 1,
            "reason": "CALL_ERROR_REASON_TIMEOUT",
            "message": "m",
        },
    ),
    (
        events.CallProbed(CALL, 1, HostId("h"), "secret", 5),
        {"call": "runs/r-1/calls/c1-2", "attempt": 1, "host": "h"},
    ),
    (
        events.CallEnded(
            CALL, 1, CallState.FAILED, "{}", CallError(CallErrorReason.BUDGET, "m"), "who"
        ),
        {
            "call": "runs/r-1/calls/c1-2",
            "attempt": 1,
            "state": "CALL_STATE_FAILED",
            "result_json": "{}",
            "error": {"reason": "CALL_ERROR_REASON_BUDGET", "message": "m"},
            "resolution": "who",
        },
    ),
    (
        events.CallRetried(CALL, "why"),
        {"call": "runs/r-1/calls/c1-2", "reason": "why"},
    ),
    (
        events.CallEvidenceKept(CALL, HostId("h"), 1, "{}", "m"),
        {
            "call": "runs/r-1/calls/c1-2",
            "evidence": {
                "host": "h",
                "attempt": 1,
                "result_json": "{}",
                "error_message": "m",
                "receive_time": {"seconds": 1500, "nanos": 250_000_000},
            },
        },
    ),
    (
        events.ApprovalRequested(APPROVAL, CALL, "abc"),
        {
            "approval": "approvals/p1-7-c1-2",
            "call": "runs/r-1/calls/c1-2",
            "arguments_sha256": "abc",
        },
    ),
    (
        events.ApprovalDecided(
            APPROVAL, CALL, ApprovalState.ALLOWED, "why", ApprovalScope.RUN, "{}", "uid 7"
        ),
        {
            "approval": "approvals/p1-7-c1-2",
            "call": "runs/r-1/calls/c1-2",
            "decision": "APPROVAL_STATE_ALLOWED",
            "reason": "why",
            "scope": "APPROVAL_SCOPE_RUN",
            "edited_arguments_json": "{}",
            "decided_by": "uid 7",
        },
    ),
]


@pytest.mark.parametrize(("fact", "payload"), FULL, ids=[type(f).__name__ for f, _ in FULL])
def test_payloads(fact: Event, payload: dict[str, Any]) -> None:
    event = translated(fact)
    name = KIND_NAMES[type(fact)]
    assert event.WhichOneof("payload") == name
    assert getattr(event, name) == type(getattr(event, name))(**payload)


@pytest.mark.parametrize("token", ["secret"])
def test_secrets_stay_inside(token: str) -> None:
    for fact in (
        events.CallLeased(CALL, 1, HostId("h"), token, 5),
        events.CallProbed(CALL, 1, HostId("h"), token, 5),
        events.ModelReplied(1, 1, AssistantMessage("", (), token), StopReason.END_TURN),
    ):
        assert token.encode() not in translated(fact).SerializeToString()


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_any_fact_is_translated_field_by_field(kind: type[Event], data: st.DataObject) -> None:
    fact = data.draw(anything(kind))
    event = translated(fact)
    name = KIND_NAMES[kind]
    assert event.WhichOneof("payload") == name
    payload = getattr(event, name)
    assert event_pb2.Event.FromString(event.SerializeToString()) == event
    for field in fields(fact):
        if field.name in payload.DESCRIPTOR.fields_by_name:
            check(payload, payload.DESCRIPTOR.fields_by_name[field.name], getattr(fact, field.name))


def check(payload: Any, field: FieldDescriptor, value: Any) -> None:
    """Compare a field with the fact's value of the same name, where it has a plain form."""
    shown = getattr(payload, field.name)
    if isinstance(value, Enum):
        assert shown == value.value
    elif isinstance(value, str) and field.name in (
        "agent",
        "session",
        "call",
        "parent_run",
        "previous_run",
        "approval",
        "task",
    ):
        assert shown.endswith(f"s/{value}")
    elif isinstance(value, int | str):
        assert shown == value
    elif value is None:
        assert not shown or not payload.HasField(field.name)
    elif isinstance(value, tuple):
        assert len(shown) == len(value)
    else:
        assert payload.HasField(field.name)


@given(anything(Delta))
def test_deltas(delta: Delta) -> None:
    shown = convert_event.delta(delta)
    run = f"runs/{delta.run.id}"
    assert (shown.run, shown.attempt, shown.index) == (run, delta.attempt, delta.index)
    if isinstance(delta.source, int):
        assert (shown.WhichOneof("source"), shown.turn) == ("turn", delta.source)
    else:
        assert (shown.WhichOneof("source"), shown.call) == ("call", f"{run}/calls/{delta.source}")
    if isinstance(delta.piece, CallProgress):
        assert shown.progress.message == delta.piece.message
        assert shown.progress.fraction == delta.piece.fraction
    else:
        assert (shown.WhichOneof("payload"), shown.text) == ("text", delta.piece)
