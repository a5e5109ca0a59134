"""Stand between the SDK and a server: see every message, slow down a flood, take out bad tools.

The SDK refuses a whole tool list for one bad tool, and queues as much as a server cares to send.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import anyio
from mcp.client import Transport
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from mcp_types.methods import validate_server_result
from pydantic import ValidationError

from agentd.tools.mcp.meter import Meter

_LIST = "tools/list"
_MAX_OPEN_LISTS = 64


class Screen:
    """What is known of one connection from the messages that passed."""

    def __init__(self) -> None:
        self.stirred = asyncio.Event()
        self.ended = ""
        self.version = "2025-11-25"
        """The negotiated version, once there is one; until then nothing is listed."""
        self.raw_tools: list[dict[str, Any]] = []
        """The tools of the newest page as the server sent them, but for those that are no tools."""
        self._lists: list[Any] = []
        self._meter = Meter()

    def end(self, reason: str) -> None:
        """Take note of the end of the connection; the first reason counts."""
        self.ended = self.ended or reason
        self.stirred.set()

    def outgoing(self, item: SessionMessage) -> None:
        """See a message to the server."""
        match item.message:
            case JSONRPCRequest(id=id, method="tools/list"):
                self._lists = [*self._lists[-_MAX_OPEN_LISTS:], id]
            case _:
                pass

    async def incoming(self, item: SessionMessage | Exception) -> None:
        """See a message of the server, and wait when it sends too many that nobody asked for."""
        match item:
            case SessionMessage(message=JSONRPCResponse(id=id, result=result)) if id in self._lists:
                self._lists.remove(id)
                self._take_out(result)
            case SessionMessage(message=JSONRPCNotification() | JSONRPCRequest()) | Exception():
                await self.slow_down()
            case _:
                pass

    async def slow_down(self) -> None:
        """Let a server wait that has sent too much that nobody asked for."""
        delay_s = self._meter.delay_s(asyncio.get_running_loop().time())
        if delay_s:
            await asyncio.sleep(delay_s)

    def _take_out(self, result: dict[str, Any]) -> None:
        entries = result.get("tools")
        if not isinstance(entries, list) or not self._is_valid(result, []):
            return  # The SDK says what is wrong with it.
        self.raw_tools = [entry for entry in entries if self._is_valid(result, [entry])]
        result["tools"] = self.raw_tools

    def _is_valid(self, result: dict[str, Any], tools: list[Any]) -> bool:
        try:
            validate_server_result(_LIST, self.version, {**result, "tools": tools})
        except ValidationError:
            return False
        return True


@asynccontextmanager
async def screened(
    transport: Transport, screen: Screen
) -> AsyncGenerator[tuple["_Reading", "_Writing"]]:
    """Wrap a transport of the SDK's."""
    async with transport as (reading, writing):
        yield _Reading(reading, screen), _Writing(writing, screen)


class _Reading:
    """The messages of a server."""

    def __init__(self, stream: Any, screen: Screen) -> None:
        self._stream = stream
        self._screen = screen

    async def receive(self) -> SessionMessage | Exception:
        try:
            item: SessionMessage | Exception = await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self._screen.end("the connection has ended")
            raise
        await self._screen.incoming(item)
        return item

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Writing:
    """The messages to a server."""

    def __init__(self, stream: Any, screen: Screen) -> None:
        self._stream = stream
        self._screen = screen

    async def send(self, item: SessionMessage, /) -> None:
        self._screen.outgoing(item)
        await self._stream.send(item)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
