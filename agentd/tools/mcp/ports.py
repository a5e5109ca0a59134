"""What the MCP tools need from outside, and how they say that a server gave no answer."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class PinStore(Protocol):
    """Keeps the accepted tool list of each server over restarts."""

    async def get(self, server: str) -> bytes | None:
        """Return what was put for a server."""
        ...

    async def put(self, server: str, pin: bytes) -> None:
        """Keep this for a server, durably, in place of what was there."""
        ...


class Process(Protocol):
    """A running server, as the sandbox starts it."""

    @property
    def stdin(self) -> asyncio.StreamWriter:
        """Where the server reads."""
        ...

    @property
    def stdout(self) -> asyncio.StreamReader:
        """What the server writes."""
        ...

    @property
    def stderr(self) -> str:
        """The end of what the server said for people."""
        ...

    async def wait(self) -> Any:
        """Wait for its end."""
        ...

    async def kill(self) -> None:
        """End it and everything it started; harmless when it has ended."""
        ...


Progress = Callable[[float, str], None]
"""Takes note of a call's progress: a fraction from 0 to 1, or -1, and a message."""


class Connection(Protocol):
    """A server that has been greeted."""

    @property
    def stirred(self) -> asyncio.Event:
        """Set when the list of tools may have changed, and when the connection has ended."""
        ...

    @property
    def ended(self) -> str:
        """Why the connection has ended; empty while it has not."""
        ...

    async def list_tools(self) -> bytes:
        """Return the tool list in its canonical form, or raise NoAnswer or ErrorAnswer."""
        ...

    async def call(self, name: str, arguments: dict[str, Any], note: Progress) -> Mapping[str, Any]:
        """Return a tool's `CallToolResult` as JSON, or raise NoAnswer or ErrorAnswer.

        Cancelling it tells the server, which need not heed it.
        """
        ...


Connect = Callable[[Callable[[], None]], AbstractAsyncContextManager[Connection]]
"""Reaches a server; is given what to call, at once, when it says that its tools have changed."""


class NoAnswer(Exception):
    """The server was asked, and nobody knows what it did."""


class ErrorAnswer(Exception):
    """The server answered that it will not, or cannot."""


def innermost(error: BaseException) -> BaseException:
    """Return what was raised first: each task group on the way wraps it in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
