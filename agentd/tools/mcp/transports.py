"""The two ways to a server, with bounds: a process in the sandbox, and streamable HTTP."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import httpx2
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from agentd.tools.mcp.meter import MAX_MESSAGE_BYTES, Lines, TooLong
from agentd.tools.mcp.ports import Process
from agentd.tools.mcp.screen import Screen

OUTBOX = 256
"""How many messages wait for a server that does not read."""
CHUNK_BYTES = 64 * 1024
GRACE_S = 2.0
"""How long a server may take to end after its input was closed."""
CONNECT_S = 10.0
"""How long a connection to a URL may take, and a write to it."""
_SESSION = "mcp-session-id"
_LEAST_UNZIPPED = "identity"

Streams = tuple[Any, Any]
"""What the SDK calls TransportStreams: one stream to receive from, one to send to."""


@asynccontextmanager
async def process_transport(process: Process, screen: Screen) -> AsyncGenerator[Streams]:
    """Speak with a process over its standard input and output, and end it afterwards."""
    to_us, reading = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    writing, to_server = anyio.create_memory_object_stream[SessionMessage](OUTBOX)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = (
                group.create_task(_read(process, to_us, screen)),
                group.create_task(_write(process, to_server, screen)),
            )
            yield reading, writing
            for task in tasks:
                task.cancel()
    finally:
        for stream in (to_us, reading, writing, to_server):
            stream.close()
        await _end(process, screen)


async def _read(process: Process, to_us: Any, screen: Screen) -> None:
    lines = Lines()
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async with to_us:
            try:
                while chunk := await process.stdout.read(CHUNK_BYTES):
                    for line in lines.feed(chunk):
                        await _pass_on(line, to_us, screen)
            except (TooLong, OSError) as error:
                screen.end(str(error))


async def _pass_on(line: bytes, to_us: Any, screen: Screen) -> None:
    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        # Many servers print where they should not; what they print is not for us.
        await screen.slow_down()
        return
    await to_us.send(SessionMessage(message))


async def _write(process: Process, to_server: Any, screen: Screen) -> None:
    try:
        async for item in to_server:
            text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(text.encode() + b"\n")
            await process.stdin.drain()
    except OSError as error:
        screen.end(f"the server does not read ({error})")


async def _end(process: Process, screen: Screen) -> None:
    async with asyncio.TaskGroup() as group:
        # A process that nobody reads from cannot end, and asyncio does not see that it has ended.
        draining = group.create_task(_drain(process.stdout))
        try:
            with suppress(OSError, TimeoutError):
                process.stdin.close()
                async with asyncio.timeout(GRACE_S):
                    await process.wait()
        finally:
            await process.kill()
            draining.cancel()
    said = process.stderr.strip().splitlines()
    if screen.ended and said:
        screen.ended = f"{screen.ended}; it said: {said[-1]}"


async def _drain(output: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await output.read(CHUNK_BYTES):
            pass


@asynccontextmanager
async def http_transport(
    url: str, headers: Mapping[str, str], screen: Screen
) -> AsyncGenerator[Streams]:
    """Speak streamable HTTP with a URL: no proxy or key of the environment, no other origin."""
    bounded = _Bounded(screen)
    # Calls have deadlines of their own, and a stream of events may be silent for hours.
    timeout = httpx2.Timeout(CONNECT_S, read=None)
    async with (
        httpx2.AsyncClient(
            headers={**headers, "accept-encoding": _LEAST_UNZIPPED},
            timeout=timeout,
            transport=bounded,
            trust_env=False,
        ) as client,
        streamable_http_client(
            url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES
        ) as streams,
    ):
        yield streams


class _Bounded(httpx2.AsyncBaseTransport):
    """HTTP whose answers are bounded, and which notices the end of a session."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._wire = httpx2.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._wire.handle_async_request(request)
        if response.status_code == 404 and _SESSION in request.headers:
            self._screen.end("the server has ended the session")
        if response.headers.get("content-encoding", _LEAST_UNZIPPED) != _LEAST_UNZIPPED:
            await response.aclose()
            raise httpx2.DecodingError("the answer is packed, which nobody asked for")
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _Capped(response.stream)
        return response

    async def aclose(self) -> None:
        await self._wire.aclose()


class _Capped(httpx2.AsyncByteStream):
    """A body of at most MAX_MESSAGE_BYTES."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_MESSAGE_BYTES:
                # Of the kind that the SDK turns into an answer, instead of ending the connection.
                raise httpx2.StreamError(f"the answer has more than {MAX_MESSAGE_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
