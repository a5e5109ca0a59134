"""Write a stream of responses to an HTTP client: server-sent events, or JSON line by line.

A method streams resumably when its request has `after_revision` and its responses have
`progress_revision`: that is then the `id` of each event, which a client that lost its connection
sends back as `Last-Event-ID` (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from agentd.carriers.http_errors import error_document, http_code, retry_delay_ms
from agentd.carriers.http_exchange import Exchange
from agentd.carriers.transcoding import write_response
from agentd.errors import invalid_field
from agentd.services.registry import Response

EVENTS = "text/event-stream"
LINES = "application/x-ndjson"
POSITION = "after_revision"
PROGRESS = "progress_revision"
OPEN_AFTER_S = 0.1
"""How long an answer waits for its first response before it begins without one. A request that is
refused is refused sooner, and by the status code."""

_HEARTBEAT = b":\n\n"


def resumes(method: MethodDescriptor) -> bool:
    """Whether a reader of a method's stream can go on after the last event it saw."""
    return _has(method.input_type, POSITION) and _has(method.output_type, PROGRESS)


def go_on_after(request: Message, method: MethodDescriptor, last_event_id: str) -> None:
    """Have a stream begin after an event. Raises InvalidRequest (INVALID_FIELD) for no revision."""
    if not last_event_id or not resumes(method):
        return
    if not (last_event_id.isascii() and last_event_id.isdigit()) or len(last_event_id) > 18:
        raise invalid_field("last-event-id", f"{last_event_id[:80]!r} is no revision")
    setattr(request, POSITION, int(last_event_id))


class Stream:
    """The answer to one request of a method that streams."""

    def __init__(
        self, exchange: Exchange, content_type: str, response_class: type[Message]
    ) -> None:
        self._exchange = exchange
        self._content_type = content_type
        self._class = response_class
        self._numbered = _has(response_class.DESCRIPTOR, PROGRESS)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def alive(self, heartbeat_s: float) -> AsyncIterator[None]:
        """Begin the answer and keep it alive while the block has nothing to write."""
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            heart = group.create_task(self._beat(heartbeat_s))
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised again, without the group around it
                failure = error
            finally:
                heart.cancel()
        if failure is not None:
            raise failure

    async def write(self, response: Response) -> None:
        """Write a response."""
        text, message = write_response(response, self._class)
        async with self._turn:
            await self._begin()
            await self._exchange.write(self._framed(text, message))

    async def end(self) -> None:
        """Write that the stream is complete."""
        await self._begin()
        end = b"event: end\ndata: {}\n\n" if self._content_type == EVENTS else b""
        await self._exchange.write(end, last=True)

    async def fail(self, status: Status) -> None:
        """End with an error, which a reader that has stalled finds when it goes on."""
        self._exchange.stop_waiting()
        document = error_document(status, http_code(status))
        if self._content_type == EVENTS:
            delay_ms = retry_delay_ms(status)
            retry = b"" if delay_ms is None else b"retry: %d\n" % delay_ms
            document = b"event: error\n%bdata: %b\n" % (retry, document)
        await self._exchange.write(document + b"\n", last=True)

    def _framed(self, text: bytes, message: Any) -> bytes:
        if self._content_type != EVENTS:
            return text + b"\n"
        if self._numbered:
            return b"id: %d\ndata: %b\n\n" % (message.progress_revision, text)
        return b"data: %b\n\n" % text

    async def _begin(self) -> None:
        if not self._exchange.started:
            # A reader that was cut must not find its connection used for another answer.
            await self._exchange.start(self._content_type, headers={"connection": "close"})

    async def _beat(self, heartbeat_s: float) -> None:
        """Write a comment now and then: somewhere a connection may end unnoticed."""
        await asyncio.sleep(OPEN_AFTER_S)
        async with self._turn:
            await self._begin()
        while True:
            await asyncio.sleep(heartbeat_s)
            async with self._turn:
                if self._content_type == EVENTS:
                    await self._exchange.write(_HEARTBEAT)


def _has(message: Any, field: str) -> bool:
    return field in message.fields_by_name
