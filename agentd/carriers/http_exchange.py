"""One request over HTTP and its answer, on top of ASGI: headers, the body within its limits, the
response, and whether the client is still there."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from google.rpc.status_pb2 import Status

from agentd.carriers.http_errors import Refused, error_document, error_headers
from agentd.carriers.http_server import CONNECTION, Connection
from agentd.errors import Exhausted, InvalidRequest, Reason

JSON = "application/json"
_STANDING = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Gone(Exception):
    """The client left before its request was whole."""


class Exchange:
    """A request and its answer."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self._connection: Connection = scope["state"][CONNECTION]
        self._receive = receive
        self._send = send
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.method: str = scope["method"]
        self.path: str = scope["raw_path"].decode("ascii")
        self.query: str = scope["query_string"].decode("ascii")
        self.started = False
        """Whether the answer has begun, so that its status code cannot change."""
        self.gone = False
        """Whether the client has left."""

    def header(self, name: str) -> str:
        """Return a header, or nothing. One that came several times is joined, as RFC 9110 5.3 has
        it, so that no second one can hide."""
        wanted = name.encode()
        return ", ".join(value.decode("latin-1") for key, value in self._headers if key == wanted)

    async def body(self, limit: int, timeout_s: float) -> bytes:
        """Return the whole body.

        Raises Exhausted (TOO_LARGE), as 413, above a limit in bytes, and InvalidRequest
        (MALFORMED_REQUEST), as 408, when it does not come in time. Raises Gone.
        """
        declared = self.header("content-length")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        body = bytearray()
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    body += message["body"]
                    if len(body) > limit:
                        raise _too_large(limit)
                    if not message["more_body"]:
                        return bytes(body)
        except TimeoutError:
            raise _too_late(timeout_s) from None

    @asynccontextmanager
    async def present(self) -> AsyncIterator[None]:
        """Cancel the block when the client goes away. The body was read before."""
        failure: Exception | None = None
        task = asyncio.current_task()
        assert task is not None
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._watch(task))
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised again, without the group around it
                failure = error
            finally:
                watcher.cancel()
        if failure is not None:
            raise failure

    async def respond(
        self,
        body: bytes,
        *,
        code: HTTPStatus = HTTPStatus.OK,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a whole answer."""
        await self.start(content_type, code, {"content-length": str(len(body)), **(headers or {})})
        await self.write(body, last=True)

    async def start(
        self,
        content_type: str,
        code: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send the head of an answer."""
        self.started = True
        mine = {
            "content-type": content_type,
            "date": formatdate(usegmt=True),
            **(headers or {}),
        }
        encoded = [(key.encode(), value.encode("latin-1")) for key, value in mine.items()]
        await self._send(
            {"type": "http.response.start", "status": int(code), "headers": [*_STANDING, *encoded]}
        )

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send a piece of an answer; wait while the client is behind."""
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    def stop_waiting(self) -> None:
        """Write what is left without waiting for a client that is behind."""
        self._connection.stop_waiting()

    async def fail(
        self, status: Status, code: HTTPStatus, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send an error as the whole answer."""
        await self.respond(
            error_document(status, code),
            code=code,
            headers={**error_headers(status, code), **(headers or {})},
        )

    async def _watch(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        task.cancel()


def _too_large(limit: int) -> Refused:
    error = Exhausted(
        Reason.TOO_LARGE,
        f"the body is larger than the {limit} bytes that server.max_message_bytes permits",
        metadata={"limit": str(limit)},
    )
    return Refused(error, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _too_late(timeout_s: float) -> Refused:
    error = InvalidRequest(
        Reason.MALFORMED_REQUEST, f"the body did not come within {timeout_s:g} s"
    )
    return Refused(error, HTTPStatus.REQUEST_TIMEOUT, {"connection": "close"})
