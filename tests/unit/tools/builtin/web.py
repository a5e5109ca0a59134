"""Servers on loopback for tests of fetching: they answer what they are told and count who comes."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


def answer(
    body: bytes = b"", kind: str = "text/plain", status: str = "200 OK", **headers: str
) -> bytes:
    """Return a whole response."""
    lines = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    """Return a redirect."""
    return answer(status=status, Location=location)


@dataclass
class Site:
    """A server, and what it was asked."""

    port: int = 0
    pages: Mapping[str, bytes] = field(default_factory=dict)
    connections: int = 0
    requests: list[str] = field(default_factory=list)
    """The heads of requests."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request is there."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a connection is over."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request; what no page is for is left without an answer."""
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            self.asked.set()
            page = self.pages.get(head.split(" ")[1])
            if page is None:
                await reader.read()
            else:
                writer.write(page)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.ended.set()


@asynccontextmanager
async def serving(
    pages: Mapping[str, bytes] | None = None,
    *hosts: str,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Site]:
    """Serve pages by their paths, on the same port of each address."""
    site = Site(port, pages or {})
    servers = []
    try:
        for host in hosts or ("127.0.0.1",):
            server = await asyncio.start_server(site.serve, host, site.port, ssl=tls)
            site.port = server.sockets[0].getsockname()[1]
            servers.append(server)
        yield site
    finally:
        for server in servers:
            server.close()
