"""The Python client: `connect` to a daemon, offer functions as tools, start runs, watch them."""

from agentd.client.client import Client, connect
from agentd.client.context import (
    NotExecuted,
    OutcomeUnknown,
    ToolContext,
    ToolFailed,
    ToolStopped,
)
from agentd.client.functions import tool
from agentd.client.host import ToolHost
from agentd.client.resources import ENDED
from agentd.client.retry import RetryPolicy
from agentd.client.watch import Watch
from agentd.errors import (
    AgentdError,
    AlreadyExists,
    Conflict,
    Corrupt,
    Denied,
    Exhausted,
    InvalidRequest,
    NotFound,
    OutOfRange,
    Reason,
    Unavailable,
    Unsupported,
)

__all__ = [
    "ENDED",
    "AgentdError",
    "AlreadyExists",
    "Client",
    "Conflict",
    "Corrupt",
    "Denied",
    "Exhausted",
    "InvalidRequest",
    "NotExecuted",
    "NotFound",
    "OutOfRange",
    "OutcomeUnknown",
    "Reason",
    "RetryPolicy",
    "ToolContext",
    "ToolFailed",
    "ToolHost",
    "ToolStopped",
    "Unavailable",
    "Unsupported",
    "Watch",
    "connect",
    "tool",
]
