"""Turn errors into `google.rpc.Status`: the one table of codes, for every carrier.

A status always fits the trailers of an HTTP/2 response: clients refuse metadata above 8 KiB, and
then the caller would see that refusal in place of the error.
"""

import math
import os
from collections.abc import Iterable
from enum import IntEnum

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from agentd.errors import AgentdError, FieldFault, Reason
from agentd.log import get_logger

DOMAIN = "agentd.dev"
"""The domain of every ErrorInfo."""

MAX_MESSAGE_BYTES = 768
MAX_VALUE_BYTES = 256
MAX_DETAILS_BYTES = 3072

log = get_logger()


class Code(IntEnum):
    """The canonical codes that agentd answers, numbered as in google/rpc/code.proto."""

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


CODES: dict[Reason, Code] = {
    Reason.MALFORMED_REQUEST: Code.INVALID_ARGUMENT,
    Reason.INVALID_FIELD: Code.INVALID_ARGUMENT,
    Reason.REQUEST_ID_REUSED: Code.INVALID_ARGUMENT,
    Reason.AGENT_NOT_FOUND: Code.NOT_FOUND,
    Reason.SESSION_NOT_FOUND: Code.NOT_FOUND,
    Reason.RUN_NOT_FOUND: Code.NOT_FOUND,
    Reason.TASK_NOT_FOUND: Code.NOT_FOUND,
    Reason.CALL_NOT_FOUND: Code.NOT_FOUND,
    Reason.TOOL_NOT_FOUND: Code.NOT_FOUND,
    Reason.MODEL_NOT_FOUND: Code.NOT_FOUND,
    Reason.APPROVAL_NOT_FOUND: Code.NOT_FOUND,
    Reason.MEMORY_NOT_FOUND: Code.NOT_FOUND,
    Reason.NAME_TAKEN: Code.ALREADY_EXISTS,
    Reason.ETAG_MISMATCH: Code.ABORTED,
    Reason.WRONG_RUN_STATE: Code.FAILED_PRECONDITION,
    Reason.WRONG_CALL_STATE: Code.FAILED_PRECONDITION,
    Reason.WRONG_TASK_STATE: Code.FAILED_PRECONDITION,
    Reason.SESSION_BUSY: Code.FAILED_PRECONDITION,
    Reason.NO_MODEL: Code.FAILED_PRECONDITION,
    Reason.COMPACTED: Code.OUT_OF_RANGE,
    Reason.FUTURE_REVISION: Code.OUT_OF_RANGE,
    Reason.SLOW_READER: Code.RESOURCE_EXHAUSTED,
    Reason.TOO_LARGE: Code.RESOURCE_EXHAUSTED,
    Reason.LIMIT_REACHED: Code.RESOURCE_EXHAUSTED,
    Reason.DISK_FULL: Code.RESOURCE_EXHAUSTED,
    Reason.DRAINING: Code.UNAVAILABLE,
    Reason.OUTCOME_UNKNOWN: Code.UNAVAILABLE,
    Reason.HOST_REPLACED: Code.ABORTED,
    Reason.UNAUTHENTICATED: Code.UNAUTHENTICATED,
    Reason.PERMISSION_DENIED: Code.PERMISSION_DENIED,
    Reason.NOT_IMPLEMENTED: Code.UNIMPLEMENTED,
    Reason.JOURNAL_CORRUPT: Code.DATA_LOSS,
    Reason.JOURNAL_NEWER: Code.FAILED_PRECONDITION,
    Reason.INTERNAL: Code.INTERNAL,
    Reason.INVALID_CONFIG: Code.FAILED_PRECONDITION,
    Reason.UNREACHABLE: Code.UNAVAILABLE,
    Reason.CONCURRENT_UPDATE: Code.ABORTED,
    Reason.WRONG_APPROVAL_STATE: Code.FAILED_PRECONDITION,
    Reason.ARGUMENTS_MISMATCH: Code.FAILED_PRECONDITION,
}


def to_status(error: AgentdError) -> status_pb2.Status:
    """Return an error as a status with exactly one ErrorInfo, a BadRequest when fields are at
    fault, and a RetryInfo when waiting helps. What does not fit is cut, the reason never."""
    status = status_pb2.Status(
        code=CODES[error.reason], message=_cut(error.message, MAX_MESSAGE_BYTES)
    )
    info = error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN)
    _attach(status, info)
    if error.retry_after_s is not None:
        _attach(status, _retry_info(error.retry_after_s))
    if error.faults:
        _attach(status, _bad_request(error.faults, MAX_DETAILS_BYTES - status.ByteSize()))
    for key, value in error.metadata.items():
        entry = _cut(value, MAX_VALUE_BYTES)
        if status.ByteSize() + len(key.encode()) + len(entry.encode()) + 8 <= MAX_DETAILS_BYTES:
            info.metadata[key] = entry
            status.details[0].Pack(info)
    return status


def unexpected(error: BaseException, method: str) -> status_pb2.Status:
    """Return the status of a bug, which names an incident; log the incident with its traceback."""
    incident = os.urandom(6).hex()
    log.error("request_failed_unexpectedly", incident=incident, method=method, exc_info=error)
    return to_status(
        AgentdError(
            Reason.INTERNAL,
            f"a fault of the daemon: its log shows incident {incident}",
            metadata={"incident": incident},
        )
    )


def _attach(status: status_pb2.Status, detail: Message) -> None:
    packed = Any()
    packed.Pack(detail)
    status.details.append(packed)


def _retry_info(delay_s: float) -> error_details_pb2.RetryInfo:
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromNanoseconds(math.ceil(max(delay_s, 0.0) * 1e9))
    return info


def _bad_request(faults: Iterable[FieldFault], room_bytes: int) -> error_details_pb2.BadRequest:
    details = error_details_pb2.BadRequest()
    for fault in faults:
        details.field_violations.add(
            field=_cut(fault.field, MAX_VALUE_BYTES),
            description=_cut(fault.description, MAX_MESSAGE_BYTES),
        )
        if details.ByteSize() > room_bytes - 512:  # what is left is for ErrorInfo's metadata
            if len(details.field_violations) > 1:
                del details.field_violations[-1]
            break
    return details


def _cut(text: str, limit_bytes: int) -> str:
    """Return text of at most so many bytes in UTF-8, marked when something is missing."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit_bytes:
        return encoded.decode()
    return encoded[: limit_bytes - 3].decode("utf-8", "ignore") + "…"
