"""What a model is given and what it answers, without any provider's shapes."""

from collections.abc import Sequence
from enum import Enum

import msgspec

from agentd.agent.budget import FREE, NO_USAGE, ModelUsage, Prices
from agentd.agent.tool import Tool


class Purpose(Enum):
    """What a model is asked for; the values are those of `agentd.v1.Purpose`."""

    PLANNING = 1
    SIMULATION = 2
    EXECUTION = 3
    FEEDBACK = 4
    MEMORY = 5
    REFLECTION = 6
    COMPACTION = 7


class StopReason(Enum):
    """Why a model stopped; the values are those of `agentd.v1.StopReason`."""

    END_TURN = 1
    TOOL_USE = 2
    MAX_TOKENS = 3
    REFUSAL = 4


class ModelErrorKind(Enum):
    """Why a model request failed; the values are those of `agentd.v1.ModelErrorKind`."""

    RATE_LIMITED = 1
    OVERLOADED = 2
    TRANSIENT = 3
    AUTHENTICATION = 4
    INVALID_REQUEST = 5
    CONTEXT_EXCEEDED = 6
    REFUSED = 7

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {ModelErrorKind.RATE_LIMITED, ModelErrorKind.OVERLOADED, ModelErrorKind.TRANSIENT}
)


class ToolUse(msgspec.Struct, frozen=True):
    """A call as a model asks for it."""

    reference: str
    """The provider's own id for the call; unique in a transcript. Empty when it gave none."""
    tool: str
    """The tool by the name that the model used."""
    arguments_json: str
    """The arguments exactly as the model gave them: perhaps not JSON at all."""


class UserMessage(msgspec.Struct, frozen=True):
    """Text of the user."""

    text: str


class AssistantMessage(msgspec.Struct, frozen=True):
    """One answer of a model."""

    text: str
    calls: tuple[ToolUse, ...] = ()
    opaque_json: str = ""
    """What the provider wants back verbatim (signed reasoning, for example), as JSON of the shape
    `{"provider": NAME, "content": ...}`. Other providers ignore it."""


class ToolResult(msgspec.Struct, frozen=True):
    """The outcome of one call, for the model."""

    reference: str
    tool: str
    content: str
    """UTF-8 JSON of the result, or a sentence saying why there is none."""
    is_error: bool = False


Message = UserMessage | AssistantMessage | ToolResult
"""A transcript is a sequence of these in which every call of an AssistantMessage is followed by its
ToolResult before any other kind of message."""


class ModelRequest(msgspec.Struct, frozen=True):
    """One request to a model."""

    model: str
    """The model's own name at its provider, without `provider/`."""
    instructions: str
    messages: Sequence[Message]
    tools: Sequence[Tool]
    max_output_tokens: int
    key: str = ""
    """The same for every attempt of one turn; for logs and for scripted models."""
    run: str = ""
    """The run's name, for scripted models and logs."""
    turn: int = 1
    """Within the messages of its run, or of its part of the run."""
    attempt: int = 1
    purpose: Purpose = Purpose.EXECUTION
    """What it is asked for, for scripted models and logs."""


class ModelInfo(msgspec.Struct, frozen=True):
    """What is known of a model before it is used."""

    name: str
    """`provider/model`."""
    context_tokens: int = 0
    """The most tokens of its context; 0 means not known."""
    max_output_tokens: int = 4096
    prices: Prices = FREE
    ready: bool = True
    detail: str = ""
    """Why it cannot be used, for people; empty when it is ready."""


class TextDelta(msgspec.Struct, frozen=True):
    """A piece of text of an unfinished answer."""

    text: str


class ModelReply(msgspec.Struct, frozen=True):
    """A finished answer: the last thing a model's stream yields."""

    message: AssistantMessage
    stop_reason: StopReason
    usage: ModelUsage = NO_USAGE


ModelChunk = TextDelta | ModelReply


class ModelError(Exception):
    """A model request failed. Raised by adapters, turned into an event by the executor."""

    def __init__(
        self,
        kind: ModelErrorKind,
        message: str,
        *,
        retry_after_s: float | None = None,
        usage: ModelUsage = NO_USAGE,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after_s = retry_after_s
        self.usage = usage
