"""A provider over real HTTP: it speaks Anthropic's and OpenAI's streaming protocols as scripted by
the test, refuses what the real ones refuse, and fails in the ways that they fail."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.providers.validate import (
    InvalidTranscript,
    validate_anthropic_request,
    validate_openai_request,
)

KEY = "sk-test-0123456789"
ANTHROPIC_PATH = "/v1/messages"
OPENAI_PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Text:
    """A block of text, in the pieces in which it is sent."""

    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """A call, its arguments in the pieces in which they are sent."""

    id: str
    name: str
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opaque:
    """A block of Anthropic's that is not text and not a call, and the deltas that complete it."""

    block: Mapping[str, Any]
    deltas: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Say:
    """An answer, and where its stream goes wrong."""

    blocks: tuple[Text | Use | Opaque, ...]
    stop: str = ""
    """The provider's own word; by default what the blocks imply."""
    usage: Mapping[str, Any] = field(default_factory=dict)
    """Over the default usage."""
    without_usage: bool = False
    """Send none at all, as some servers that speak as OpenAI does."""
    end_after: int | None = None
    """End the body, without error, after that many events."""
    cut_after: int | None = None
    """Break the connection after that many events."""
    hold_after: int | None = None
    """Say nothing more after that many events, until the client has gone."""
    error_after: int | None = None
    """Send `error` as an event after that many events, and end."""
    error: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fail:
    """A refusal before any stream."""

    status: int
    type: str = ""
    message: str = "it failed"
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """A stream of events as they are."""

    events: tuple[bytes, ...]


Reply = Say | Fail | Raw


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: Any


def hello(request: Request) -> Reply:
    """Answer everything with a greeting."""
    del request
    return Say((Text(("Hello", " there")),))


class FakeProvider:
    """A server on a loopback port. Use it as an async context manager."""

    def __init__(self, answer: Callable[[Request], Reply] = hello, *, key: str = KEY) -> None:
        self.requests: list[Request] = []
        self.gone = asyncio.Event()
        """Set when a client has gone away from an answer that was being held."""
        self._answer = answer
        self._key = key
        self._plays: list[Reply] = []
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 26)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The address without a path."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def play(self, *replies: Reply) -> None:
        """Answer the next requests with these, in this order, before asking the function."""
        self._plays.extend(replies)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while request := await _read(reader):
                    self.requests.append(request)
                    await self._reply(request, reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _reply(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        reply: Reply
        if refusal := self._refusal(request):
            reply = refusal
        else:
            reply = self._plays.pop(0) if self._plays else self._answer(request)
        anthropic = request.path == ANTHROPIC_PATH
        if isinstance(reply, Fail):
            await _send(writer, reply, anthropic=anthropic)
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        if isinstance(reply, Raw):
            events: Sequence[bytes] = reply.events
            reply = Say(())
        else:
            events = list(anthropic_events(reply) if anthropic else openai_events(reply))
        await self._stream(reply, events, reader, writer, anthropic=anthropic)

    async def _stream(
        self,
        say: Say,
        events: Sequence[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        anthropic: bool,
    ) -> None:
        for count, event in enumerate([*events, b""]):
            if count == say.cut_after:
                await writer.drain()
                writer.transport.abort()
                raise ConnectionAbortedError
            if count == say.hold_after:
                await writer.drain()
                await reader.read(1)  # Nothing comes but the end.
                self.gone.set()
                raise ConnectionAbortedError
            if count == say.error_after:
                body = json.dumps({"type": "error", "error": say.error})
                name = "event: error\n" if anthropic else ""
                await _chunk(writer, f"{name}data: {body}\n\n".encode())
                break
            if count == say.end_after or not event:
                break
            await _chunk(writer, event)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def _refusal(self, request: Request) -> Fail | None:
        """Return what the real provider would refuse the request with."""
        given = request.headers.get("x-api-key") or request.headers.get("authorization", "")
        if self._key and given.removeprefix("Bearer ") != self._key:
            message = f"Incorrect API key provided: {given}"
            return Fail(401, "authentication_error", message, "invalid_api_key")
        try:
            match request.path:
                case "/v1/messages":
                    validate_anthropic_request(request.body)
                case "/v1/chat/completions":
                    validate_openai_request(request.body)
                case _:
                    return Fail(404, "not_found_error", request.path)
        except InvalidTranscript as error:
            return Fail(400, "invalid_request_error", str(error))
        return None


def anthropic_events(say: Say) -> Iterator[bytes]:
    """Render an answer as the Messages API streams it."""
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
    } | dict(say.usage)
    message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    message |= {"model": "m", "stop_reason": None, "stop_sequence": None, "usage": usage}
    yield _event("message_start", message=message)
    yield _event("ping")
    for index, block in enumerate(say.blocks):
        yield from _anthropic_block(index, block)
    calls = any(isinstance(block, Use) for block in say.blocks)
    delta = {"stop_reason": say.stop or ("tool_use" if calls else "end_turn")}
    output = {"output_tokens": say.usage.get("output_tokens", 20)}
    yield _event("message_delta", delta=delta | {"stop_sequence": None}, usage=output)
    yield _event("message_stop")


def _anthropic_block(index: int, block: Text | Use | Opaque) -> Iterator[bytes]:
    start: Mapping[str, Any]
    deltas: Sequence[Mapping[str, Any]]
    match block:
        case Text(pieces):
            start = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
        case Use(id, name, pieces):
            start = {"type": "tool_use", "id": id, "name": name, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        case Opaque(start, deltas):
            pass
    yield _event("content_block_start", index=index, content_block=start)
    for delta in deltas:
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def openai_events(say: Say) -> Iterator[bytes]:
    """Render an answer as Chat Completions streams it."""
    yield _chunk_event({"role": "assistant", "content": ""})
    calls = 0
    for block in say.blocks:
        match block:
            case Text(pieces):
                for piece in pieces:
                    yield _chunk_event({"content": piece})
            case Use(id, name, pieces):
                head = {"index": calls, "id": id, "type": "function"}
                yield _chunk_event(
                    {"tool_calls": [head | {"function": {"name": name, "arguments": ""}}]}
                )
                for piece in pieces:
                    call = {"index": calls, "function": {"arguments": piece}}
                    yield _chunk_event({"tool_calls": [call]})
                calls += 1
            case Opaque(delta):
                yield _chunk_event(delta)
    yield _chunk_event({}, say.stop or ("tool_calls" if calls else "stop"))
    if not say.without_usage:
        usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30} | dict(say.usage)
        yield _data({"object": "chat.completion.chunk", "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _event(name: str, **fields: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name} | fields)}\n\n".encode()


def _chunk_event(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _data({"id": "c1", "object": "chat.completion.chunk", "choices": [choice]})


def _data(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


async def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    await writer.drain()


async def _send(writer: asyncio.StreamWriter, fail: Fail, *, anthropic: bool) -> None:
    error: dict[str, Any] = {"type": fail.type, "message": fail.message}
    if anthropic:
        payload: dict[str, Any] = {"type": "error", "error": error}
    else:
        payload = {"error": error | {"code": fail.code, "param": None}}
    body = json.dumps(payload).encode()
    headers = {"content-type": "application/json", "content-length": len(body)} | dict(fail.headers)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {fail.status} Failed\r\n{lines}\r\n".encode() + body)
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """Read one request, or return None at the end of the connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(first.split(" ")[1], headers, json.loads(body) if body else None)
