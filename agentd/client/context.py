"""What a tool knows of the call it executes, and what it may say before it ends."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from agentd.v1.tool_host_service_pb2 import Invocation


class ToolFailed(Exception):
    """Raised by a tool that failed: the message is for the model."""


class ToolStopped(Exception):
    """Raised by a tool that was stopped before it had its effect."""


class NotExecuted(Exception):
    """Raised by a `reconcile` function: the call had not happened, a new attempt is safe."""


class OutcomeUnknown(Exception):
    """Raised by a tool or its `reconcile` function that cannot say whether the effect happened."""


class ToolContext:
    """Given to a tool that has a parameter of this type. Safe to use from the tool's thread."""

    def __init__(
        self, invocation: Invocation, report: Callable[[str, float], None] | None = None
    ) -> None:
        self.call = invocation.call
        """The call, `runs/{run}/calls/{call}`."""
        self.attempt = invocation.attempt
        """Counted from 1."""
        self.idempotency_key = invocation.idempotency_key
        """The same for every attempt of this call: do not act twice for one key."""
        self.deadline: datetime | None = None
        """When the attempt times out, in UTC."""
        if invocation.HasField("deadline"):
            self.deadline = invocation.deadline.ToDatetime(tzinfo=UTC)
        self.permissions = tuple(invocation.permissions)
        """What the call may do."""
        self.traceparent = invocation.traceparent
        """The W3C trace context of the run; may be empty."""
        self.stop_reason = ""
        """Why the tool was asked to stop; empty when it was not."""
        self._report = report
        self._stop = threading.Event()

    @property
    def run(self) -> str:
        """The run, `runs/{run}`."""
        return self.call.partition("/calls/")[0]

    @property
    def stopping(self) -> bool:
        """Whether the tool was asked to stop. A coroutine is cancelled as well; a thread cannot
        be, so a long function asks from time to time."""
        return self._stop.is_set()

    def raise_if_stopping(self) -> None:
        """Raise ToolStopped when the tool was asked to stop: call it before the effect."""
        if self._stop.is_set():
            raise ToolStopped(self.stop_reason)

    def wait_stopping(self, timeout_s: float) -> bool:
        """Sleep in a thread until asked to stop, or for `timeout_s`; return whether to stop."""
        return self._stop.wait(timeout_s)

    def progress(self, message: str, fraction: float = -1.0) -> None:
        """Show how far the tool is: a note of at most 4 KiB, and the part done from 0 to 1.

        Returns at once; of notes that come faster than they are sent, the newest is sent.
        """
        if self._report is not None:
            self._report(message, fraction)

    def ask_to_stop(self, reason: str) -> None:
        """Ask the tool to stop. For its host, and for tests of tools."""
        self.stop_reason = reason
        self._stop.set()
