"""The messages of the contract that programs meet, and their JSON form."""

from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from agentd.errors import InvalidRequest, Reason
from agentd.v1.agent_pb2 import Agent, ModelRoute, OnUnknown, Protocol, Purpose
from agentd.v1.approval_pb2 import Approval, ApprovalScope, ApprovalState
from agentd.v1.budget_pb2 import Budget, Usage
from agentd.v1.call_pb2 import Call, CallError, CallErrorReason, CallState
from agentd.v1.event_pb2 import (
    ApprovalDecided,
    ApprovalRequested,
    CallEnded,
    CallUnknown,
    Delta,
    Event,
    ModelErrorKind,
    ModelFailed,
    ModelReplied,
    RunWaiting,
)
from agentd.v1.event_service_pb2 import EventFilter
from agentd.v1.memory_pb2 import Memory, MemoryKind
from agentd.v1.memory_service_pb2 import MemoryMatch, SearchMemoriesResponse
from agentd.v1.permission_pb2 import (
    Decision,
    PermissionGrant,
    PermissionLayer,
    PermissionRule,
    Verdict,
)
from agentd.v1.run_pb2 import (
    CancelEntry,
    CancelOutcome,
    CancelReport,
    Run,
    RunFailure,
    RunFailureReason,
    RunState,
    WaitReason,
)
from agentd.v1.run_service_pb2 import (
    AbandonCall,
    CancelRunResponse,
    CreateRunResponse,
    ResolveCallRequest,
    RetryCall,
)
from agentd.v1.session_pb2 import Session
from agentd.v1.system_service_pb2 import (
    GetInfoResponse,
    McpServer,
    McpServerState,
    MemoryStatus,
    ModelInfo,
    SandboxTier,
)
from agentd.v1.task_pb2 import Task, TaskState
from agentd.v1.tool_host_service_pb2 import Invocation
from agentd.v1.tool_pb2 import EffectClass, Tool

M = TypeVar("M", bound=Message)

__all__ = [
    "AbandonCall",
    "Agent",
    "Approval",
    "ApprovalDecided",
    "ApprovalRequested",
    "ApprovalScope",
    "ApprovalState",
    "Budget",
    "Call",
    "CallEnded",
    "CallError",
    "CallErrorReason",
    "CallState",
    "CallUnknown",
    "CancelEntry",
    "CancelOutcome",
    "CancelReport",
    "CancelRunResponse",
    "CreateRunResponse",
    "Decision",
    "Delta",
    "EffectClass",
    "Event",
    "EventFilter",
    "GetInfoResponse",
    "Invocation",
    "McpServer",
    "McpServerState",
    "Memory",
    "MemoryKind",
    "MemoryMatch",
    "MemoryStatus",
    "ModelErrorKind",
    "ModelFailed",
    "ModelInfo",
    "ModelReplied",
    "ModelRoute",
    "OnUnknown",
    "PermissionGrant",
    "PermissionLayer",
    "PermissionRule",
    "Protocol",
    "Purpose",
    "ResolveCallRequest",
    "RetryCall",
    "Run",
    "RunFailure",
    "RunFailureReason",
    "RunState",
    "RunWaiting",
    "SandboxTier",
    "SearchMemoriesResponse",
    "Session",
    "Task",
    "TaskState",
    "Tool",
    "Usage",
    "Verdict",
    "WaitReason",
    "from_json",
    "to_json",
]


def to_json(message: Message) -> dict[str, Any]:
    """Return a message in the JSON mapping of protobuf, as the HTTP carrier answers it."""
    return json_format.MessageToDict(message)


def from_json(value: Any, kind: type[M]) -> M:
    """Return a message from its JSON mapping, in camelCase or in the contract's own names.

    Raises InvalidRequest (MALFORMED_REQUEST) naming what does not fit.
    """
    message = kind()
    try:
        json_format.ParseDict(value, message)
    except (json_format.ParseError, TypeError, ValueError) as error:
        name = kind.DESCRIPTOR.name
        raise InvalidRequest(
            Reason.MALFORMED_REQUEST, f"this is not a valid {name}: {error}"
        ) from error
    return message
