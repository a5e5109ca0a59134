"""Turns a failed request back into the error of agentd.errors that the daemon raised."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from agentd.errors import (
    AgentdError,
    AlreadyExists,
    Conflict,
    Corrupt,
    Denied,
    Exhausted,
    FieldFault,
    InvalidRequest,
    NotFound,
    OutOfRange,
    Reason,
    Unavailable,
    Unsupported,
)

_STATUS_KEY = "grpc-status-details-bin"
_DOMAIN = "agentd.dev"

_Class = type[AgentdError]
_BY_CODE: Mapping[grpc.StatusCode, tuple[_Class, Reason]] = {
    grpc.StatusCode.CANCELLED: (Unavailable, Reason.UNREACHABLE),
    grpc.StatusCode.UNKNOWN: (Corrupt, Reason.INTERNAL),
    grpc.StatusCode.INVALID_ARGUMENT: (InvalidRequest, Reason.MALFORMED_REQUEST),
    grpc.StatusCode.DEADLINE_EXCEEDED: (Unavailable, Reason.UNREACHABLE),
    grpc.StatusCode.NOT_FOUND: (NotFound, Reason.INTERNAL),
    grpc.StatusCode.ALREADY_EXISTS: (AlreadyExists, Reason.NAME_TAKEN),
    grpc.StatusCode.PERMISSION_DENIED: (Denied, Reason.PERMISSION_DENIED),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (Exhausted, Reason.LIMIT_REACHED),
    grpc.StatusCode.FAILED_PRECONDITION: (Conflict, Reason.INTERNAL),
    grpc.StatusCode.ABORTED: (Conflict, Reason.CONCURRENT_UPDATE),
    grpc.StatusCode.OUT_OF_RANGE: (OutOfRange, Reason.INTERNAL),
    grpc.StatusCode.UNIMPLEMENTED: (Unsupported, Reason.NOT_IMPLEMENTED),
    grpc.StatusCode.INTERNAL: (Corrupt, Reason.INTERNAL),
    grpc.StatusCode.UNAVAILABLE: (Unavailable, Reason.UNREACHABLE),
    grpc.StatusCode.DATA_LOSS: (Corrupt, Reason.JOURNAL_CORRUPT),
    grpc.StatusCode.UNAUTHENTICATED: (Denied, Reason.UNAUTHENTICATED),
}
"""What each code means when the error carries no ErrorInfo that this client knows."""


def from_rpc_error(error: grpc.aio.AioRpcError, address: str) -> AgentdError:
    """Return the daemon's error: its class by the code, its reason by the ErrorInfo.

    A reason that this client does not know (the list grows) leaves the code's usual reason, and is
    kept in `metadata["reason"]`. `metadata["code"]` is the code, such as `DEADLINE_EXCEEDED`. An
    error of gRPC's own, when nobody answers, names the address.
    """
    kind, reason = _BY_CODE.get(error.code(), (Corrupt, Reason.INTERNAL))
    details = _details(error)
    metadata: dict[str, str] = {}
    info = _find(details, error_details_pb2.ErrorInfo)
    if info is not None and info.domain == _DOMAIN:
        metadata.update(info.metadata)
        try:
            reason = Reason(info.reason)
        except ValueError:
            metadata["reason"] = info.reason
    metadata["code"] = error.code().name
    message = error.details() or error.code().name
    if info is None and kind is Unavailable:
        message = f"no answer from {address}: {message.rpartition(': ')[2]}"
    bad_request = _find(details, error_details_pb2.BadRequest)
    violations = bad_request.field_violations if bad_request is not None else ()
    retry = _find(details, error_details_pb2.RetryInfo)
    return kind(
        reason,
        message,
        metadata=metadata,
        faults=tuple(FieldFault(fault.field, fault.description) for fault in violations),
        retry_after_s=retry.retry_delay.ToTimedelta().total_seconds() if retry else None,
    )


def _details(error: grpc.aio.AioRpcError) -> Sequence[Any]:
    """Return the packed details of google.rpc.Status, which gRPC carries in a trailer."""
    for key, value in error.trailing_metadata() or ():
        if key == _STATUS_KEY and isinstance(value, bytes):
            try:
                return tuple(status_pb2.Status.FromString(value).details)
            except DecodeError:  # Of a peer that is no agentd, the code is all that is known.
                return ()
    return ()


def _find(details: Sequence[Any], kind: type[Any]) -> Any:
    for packed in details:
        detail = kind()
        if packed.Is(kind.DESCRIPTOR) and packed.Unpack(detail):
            return detail
    return None
