"""A client of HTTP/1.1 as small as tests need: whole answers, and server-sent events."""

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; of one that streams, its head."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def document(self) -> Any:
        """What its JSON says."""
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """The error in its JSON."""
        return self.document["error"]

    @property
    def reason(self) -> str:
        """The reason of its error."""
        return reason_of(self.error)


def reason_of(error: Any) -> str:
    """Return the reason of the one ErrorInfo of an error."""
    [info] = [each for each in error["details"] if each["@type"].endswith("google.rpc.ErrorInfo")]
    return str(info["reason"])


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event."""

    id: str
    kind: str
    data: str
    retry: str = ""

    @property
    def document(self) -> Any:
        """What its JSON says."""
        return json.loads(self.data)


@dataclass(slots=True)
class Streamed:
    """An answer that is still coming."""

    answer: Answer
    reader: StreamReader
    writer: StreamWriter
    comments: list[str] = field(default_factory=list)
    """The comments that came so far."""

    async def events(self) -> AsyncIterator[ServerEvent]:
        """Yield each event until the answer ends."""
        found: dict[str, str] = {}
        async for line in self.lines():
            if line:
                name, _, value = line.partition(":")
                found[name] = value.removeprefix(" ")
                if not name:
                    self.comments.append(value)
            elif "data" in found:
                kind, retry = found.get("event", "message"), found.get("retry", "")
                yield ServerEvent(found.get("id", ""), kind, found["data"], retry)
                found = {}

    async def lines(self) -> AsyncIterator[str]:
        """Yield each line until the answer ends."""
        rest = b""
        async for chunk in _chunks(self.reader):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode()


@dataclass(frozen=True, slots=True)
class Web:
    """Requests to one address, each over a connection of its own."""

    address: str
    token: str = ""

    async def get(self, path: str, **headers: str) -> Answer:
        """Ask for a path."""
        return await self.ask("GET", path, headers=headers)

    async def post(self, path: str, document: object, **headers: str) -> Answer:
        """Send JSON to a path."""
        return await self.ask("POST", path, _json(document), {**JSON, **headers})

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request; return the whole answer."""
        async with asyncio.timeout(WAIT_S):
            reader, writer = await self.connect()
            try:
                writer.write(self.request(method, path, body, headers))
                return await read_answer(reader, head_only=method == "HEAD")
            finally:
                writer.close()

    @asynccontextmanager
    async def stream(
        self, path: str, document: object = None, **headers: str
    ) -> AsyncIterator[Streamed]:
        """Ask for a stream, by POST when there is a document."""
        reader, writer = await self.connect()
        try:
            body = b"" if document is None else _json(document)
            method = "GET" if document is None else "POST"
            kind = {} if document is None else JSON
            writer.write(self.request(method, path, body, {**kind, **headers}))
            async with asyncio.timeout(WAIT_S):
                answer = await _read_head(reader)
            yield Streamed(answer, reader, writer)
        finally:
            writer.close()

    async def connect(self) -> tuple[StreamReader, StreamWriter]:
        """Open a connection."""
        host, _, port = self.address.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the bytes of a request."""
        every = {"host": self.address}
        if self.token:
            every["authorization"] = f"Bearer {self.token}"
        if body:
            every["content-length"] = str(len(body))
        every |= {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {every[name]}" for name in every)]
        return "\r\n".join((*lines, "", "")).encode() + body


JSON = {"content-type": "application/json"}


async def read_answer(reader: StreamReader, *, head_only: bool = False) -> Answer:
    """Read a whole answer."""
    head = await _read_head(reader)
    if head_only:
        return head
    if head.headers.get("transfer-encoding") == "chunked":
        body = b"".join([chunk async for chunk in _chunks(reader)])
    else:
        body = await reader.readexactly(int(head.headers["content-length"]))
    return Answer(head.status, head.headers, body)


def _json(document: object) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()


async def _read_head(reader: StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    return Answer(int(first.split()[1]), headers)


async def _chunks(reader: StreamReader) -> AsyncIterator[bytes]:
    """Yield the chunks of a body. Raises IncompleteReadError when it does not end properly."""
    while True:
        size = int(await reader.readuntil(b"\r\n"), 16)
        chunk = await reader.readexactly(size + 2)
        if size == 0:
            return
        yield chunk[:-2]
