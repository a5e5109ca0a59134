"""Every method of the contract, found by its request: read from the descriptors, not generated."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from google.protobuf import message_factory
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import Message

from agentd.v1 import (
    agent_service_pb2,
    approval_service_pb2,
    event_service_pb2,
    memory_service_pb2,
    run_service_pb2,
    session_service_pb2,
    system_service_pb2,
    tool_host_service_pb2,
    tool_service_pb2,
)

_FILES: tuple[FileDescriptor, ...] = (
    agent_service_pb2.DESCRIPTOR,
    approval_service_pb2.DESCRIPTOR,
    event_service_pb2.DESCRIPTOR,
    memory_service_pb2.DESCRIPTOR,
    run_service_pb2.DESCRIPTOR,
    session_service_pb2.DESCRIPTOR,
    system_service_pb2.DESCRIPTOR,
    tool_host_service_pb2.DESCRIPTOR,
    tool_service_pb2.DESCRIPTOR,
)
_READS = ("Get", "List", "Search", "Wait")
_REPEATABLE = frozenset(
    {
        "AcceptTools",
        "PauseRun",
        "CancelRun",
        "CompleteCalls",
        "ReportProgress",
        "ExtendLeases",
        "Drain",
    }
)
"""Methods that change something and may be repeated all the same, as the contract says of each."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the contract."""

    path: str
    """As gRPC calls it: `/agentd.v1.RunService/GetRun`."""
    response: type[Message]
    streams: bool
    """Whether the answer is a stream."""
    takes_request_id: bool
    repeatable: bool
    """Whether asking twice has the effect of asking once, given a request id where it takes one."""


@cache
def methods() -> Mapping[str, Method]:
    """Return the methods by the full names of their requests, of which each method has its own."""
    return {
        method.input_type.full_name: _method(method)
        for file in _FILES
        for service in file.services_by_name.values()
        for method in service.methods
    }


def _method(method: MethodDescriptor) -> Method:
    takes_request_id = "request_id" in method.input_type.fields_by_name
    return Method(
        path=f"/{method.containing_service.full_name}/{method.name}",
        response=message_factory.GetMessageClass(method.output_type),
        streams=method.server_streaming,
        takes_request_id=takes_request_id,
        repeatable=(
            takes_request_id or method.name in _REPEATABLE or method.name.startswith(_READS)
        ),
    )
