"""Serve an ASGI application to clients that may be slow, greedy or mad: uvicorn's protocol, with
limits where it has none. Knows nothing of what is served."""
# ruff: noqa: D102  (methods of asyncio's protocol and of the parser)

import asyncio
import functools
from asyncio import TimerHandle
from contextlib import suppress
from typing import Any

import msgspec
import uvicorn
from google.rpc.status_pb2 import Status
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from agentd.carriers.http_errors import error_document, http_code
from agentd.errors import InvalidRequest, Reason, Unavailable
from agentd.services.status import to_status

BACKLOG = 1024
CONNECTION = "connection"
"""Where a request's `state` has its connection."""


class ServerLimits(msgspec.Struct, frozen=True):
    """What one connection may do, and how many there may be."""

    max_connections: int = 1024
    """More are closed at once."""
    max_head_bytes: int = 64 << 10
    """The longest request line and headers together, give or take one read."""
    max_pipelined: int = 16
    """How many requests may wait behind the one in progress."""
    head_timeout_s: float = 10.0
    """How long a request line and headers may take, from the first byte or the connection on."""
    idle_timeout_s: int = 30
    """How long a connection may wait between requests."""
    stall_timeout_s: float = 60.0
    """How long a client may take nothing of what is written to it before it is dropped."""


class _State(ServerState):
    """What the connections of a server share."""

    def __init__(self) -> None:
        super().__init__()
        self.emptied = asyncio.Event()
        """Set whenever the last connection is gone."""


class Server:
    """One listening address and its connections."""

    def __init__(self, app: Any, limits: ServerLimits) -> None:
        self._state = _State()
        config = uvicorn.Config(
            app,
            interface="asgi3",
            http=Connection,
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # what it logs are the faults of clients
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=limits.idle_timeout_s,
        )
        config.load()
        self._connect = functools.partial(Connection, config, self._state, limits)
        self._server: asyncio.Server | None = None

    async def start(self, address: str) -> str:
        """Listen on `HOST:PORT`; return the address, with the port if it was 0.

        Raises Unavailable (UNREACHABLE) when the address cannot be bound.
        """
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self._connect, host.strip("[]"), int(port), backlog=BACKLOG
            )
        except OSError as error:
            raise Unavailable(
                Reason.UNREACHABLE,
                f"cannot listen on {address}: {error}",
                metadata={"address": address},
            ) from error
        return f"{host}:{self._server.sockets[0].getsockname()[1]}"

    def stop_listening(self) -> None:
        """Take no more connections; let those there are finish what they are at."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()

    async def close(self, grace_s: float) -> None:
        """Wait until each connection has taken what is written to it; drop those that do not."""
        if self._state.connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._state.emptied.wait()
        for connection in list(self._state.connections):
            assert isinstance(connection, Connection)
            connection.drop()


class Connection(HttpToolsProtocol):
    """One connection, with a deadline for each stretch in which only its client can act."""

    def __init__(self, config: uvicorn.Config, state: _State, limits: ServerLimits) -> None:
        super().__init__(config, state, {})
        self._emptied = state.emptied
        self._limits = limits
        self._cycles: list[RequestResponseCycle] = []
        self._head_timer: TimerHandle | None = None
        self._head_bytes = 0
        self._stall_timer: TimerHandle | None = None

    def stop_waiting(self) -> None:
        """Let what is still to be said to a stalled reader be written without waiting for it."""
        self.flow.resume_writing()

    def drop(self) -> None:
        """Close at once; what was not written is lost."""
        self._end_requests()
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._emptied.clear()
        if len(self.connections) > self._limits.max_connections:
            transport.close()
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._resume()
        self._unset_keepalive_if_required()
        self._end_requests()
        super().connection_lost(exc)
        if not self.connections:
            self._emptied.set()

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        super().data_received(data)
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.max_head_bytes:
                self.drop()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][CONNECTION] = self

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()
        going_on = [cycle for cycle in self._cycles if not cycle.response_complete]
        self._cycles = [*going_on, self.cycle]
        if len(self.pipeline) > self._limits.max_pipelined:
            self.drop()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """Answer what is no HTTP as other errors are answered. An answer in progress is cut."""
        status = _no_http()
        body = error_document(status, http_code(status))
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        if all(cycle.response_complete for cycle in self._cycles):
            self.transport.write(head.encode() + body)
        self._end_requests()
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self._limits.stall_timeout_s, self.drop)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._resume()

    def _end_requests(self) -> None:
        """Tell those who serve a request that its client is gone: uvicorn tells the last alone."""
        for cycle in self._cycles:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(self._limits.head_timeout_s, self.drop)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _resume(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def _no_http() -> Status:
    return to_status(InvalidRequest(Reason.MALFORMED_REQUEST, "this is not valid HTTP/1.1"))
