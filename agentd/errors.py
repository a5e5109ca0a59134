"""The error taxonomy: one class for each thing a caller can do about it.

    AgentdError
    ├── InvalidRequest   change the request
    ├── NotFound         name something that exists
    ├── AlreadyExists    choose another name
    ├── Conflict         read the present state, then decide anew
    ├── Denied           bring a credential, or a wider permission
    ├── Exhausted        wait, or ask for less
    ├── Unavailable      repeat later
    ├── OutOfRange       start again from a readable position
    ├── Corrupt          ask the operator
    └── Unsupported      do not ask this daemon

Each carries a `Reason` from the closed list of `agentd.v1.ErrorReason`, and every value of its
message in `metadata` too. Anything else that is raised is a bug.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Reason(Enum):
    """Why a request failed: the values of `agentd.v1.ErrorReason` without their prefix."""

    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    INVALID_FIELD = "INVALID_FIELD"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    AGENT_NOT_FOUND = "AGENT_NOT_FOUND"
    SESSION_NOT_FOUND = "SESSION_NOT_FOUND"
    RUN_NOT_FOUND = "RUN_NOT_FOUND"
    TASK_NOT_FOUND = "TASK_NOT_FOUND"
    CALL_NOT_FOUND = "CALL_NOT_FOUND"
    TOOL_NOT_FOUND = "TOOL_NOT_FOUND"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    APPROVAL_NOT_FOUND = "APPROVAL_NOT_FOUND"
    MEMORY_NOT_FOUND = "MEMORY_NOT_FOUND"
    NAME_TAKEN = "NAME_TAKEN"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    WRONG_RUN_STATE = "WRONG_RUN_STATE"
    WRONG_CALL_STATE = "WRONG_CALL_STATE"
    WRONG_TASK_STATE = "WRONG_TASK_STATE"
    SESSION_BUSY = "SESSION_BUSY"
    NO_MODEL = "NO_MODEL"
    COMPACTED = "COMPACTED"
    FUTURE_REVISION = "FUTURE_REVISION"
    SLOW_READER = "SLOW_READER"
    TOO_LARGE = "TOO_LARGE"
    LIMIT_REACHED = "LIMIT_REACHED"
    DISK_FULL = "DISK_FULL"
    DRAINING = "DRAINING"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    HOST_REPLACED = "HOST_REPLACED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"
    JOURNAL_CORRUPT = "JOURNAL_CORRUPT"
    JOURNAL_NEWER = "JOURNAL_NEWER"
    INTERNAL = "INTERNAL"
    INVALID_CONFIG = "INVALID_CONFIG"
    UNREACHABLE = "UNREACHABLE"
    CONCURRENT_UPDATE = "CONCURRENT_UPDATE"
    WRONG_APPROVAL_STATE = "WRONG_APPROVAL_STATE"
    ARGUMENTS_MISMATCH = "ARGUMENTS_MISMATCH"


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One field of a request that is missing or not valid."""

    field: str
    """The path of the field, such as `run.budget.max_turns`."""
    description: str
    """What is wrong with it, for people."""


class AgentdError(Exception):
    """The root of the taxonomy; only its children are raised."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        faults: tuple[FieldFault, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.faults = faults
        self.retry_after_s = retry_after_s


class InvalidRequest(AgentdError):
    """The request itself is wrong."""


class NotFound(AgentdError):
    """Something that the request names does not exist."""


class AlreadyExists(AgentdError):
    """The name is taken."""


class Conflict(AgentdError):
    """The present state does not permit the request."""


class Denied(AgentdError):
    """The caller may not do this."""


class Exhausted(AgentdError):
    """A limit is reached."""


class Unavailable(AgentdError):
    """The request may succeed later."""


class OutOfRange(AgentdError):
    """The position asked for cannot be read."""


class Corrupt(AgentdError):
    """What is stored cannot be trusted."""


class Unsupported(AgentdError):
    """This daemon does not do that."""


def invalid_field(field: str, description: str) -> InvalidRequest:
    """Return the error for one field that is missing or not valid."""
    return InvalidRequest(
        Reason.INVALID_FIELD,
        f"{field}: {description}",
        metadata={"field": field},
        faults=(FieldFault(field, description),),
    )
