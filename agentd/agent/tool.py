"""What a tool is, and what is known of a call."""

from enum import Enum

import msgspec

from agentd.agent.permission import NO_LABELS, Labels


class EffectClass(Enum):
    """What executing a call a second time would do. Unset behaves as IRREVERSIBLE."""

    READ_ONLY = 1
    IDEMPOTENT = 2
    NON_IDEMPOTENT = 3
    IRREVERSIBLE = 4

    def __init__(self, value: int) -> None:
        self.repeatable = value <= 2
        """Whether an attempt without an outcome may be followed by another by itself."""


class Tool(msgspec.Struct, frozen=True):
    """A tool as its host declares it."""

    toolset: str
    id: str
    description: str = ""
    input_schema_json: str = ""
    """A JSON Schema (2020-12) of an object; empty means an object without properties."""
    output_schema_json: str = ""
    """A JSON Schema (2020-12); empty means any result."""
    effect: EffectClass = EffectClass.IRREVERSIBLE
    timeout_ms: int = 600_000
    reconcile: bool = False
    simulate: bool = False
    permissions: tuple[str, ...] = ()
    labels: Labels = NO_LABELS
    """What its results bring into a run."""

    @property
    def path(self) -> str:
        """`toolset/tool`: what an agent's tool patterns match."""
        return f"{self.toolset}/{self.id}"


class CallState(Enum):
    """The state of a call; the values are those of `agentd.v1.CallState`."""

    REQUESTED = 1
    AWAITING_APPROVAL = 2
    QUEUED = 3
    LEASED = 4
    SUCCEEDED = 5
    FAILED = 6
    CANCELLED = 7
    DENIED = 8
    UNKNOWN = 9
    RECONCILED = 10
    ABANDONED = 11

    def __init__(self, value: int) -> None:
        self.ended = value in (5, 6, 7, 8, 10, 11)
        """Whether the call has an outcome in the history."""


class CallErrorReason(Enum):
    """Why a call did not succeed; the values are those of `agentd.v1.CallErrorReason`."""

    UNKNOWN_TOOL = 1
    INVALID_ARGUMENTS = 2
    INVALID_RESULT = 3
    TOOL_FAILED = 4
    TIMEOUT = 5
    BUDGET = 6
    PERMISSION = 7
    CANCELLED = 8
    HOST_LOST = 9
    INTERRUPTED = 10
    ATTEMPTS = 11


class CallError(msgspec.Struct, frozen=True):
    """Why a call did not succeed, for programs and for the model."""

    reason: CallErrorReason
    message: str
