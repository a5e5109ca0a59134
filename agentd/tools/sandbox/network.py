"""A proxy for one command, which connects to nothing but what was granted."""

import asyncio
import contextlib
import fnmatch
import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from agentd.errors import Denied, Reason, Unavailable
from agentd.tools.addresses import Endpoint, check_address, resolve
from agentd.tools.sandbox.drop import Owner, temporary_folder
from agentd.tools.sandbox.profile import split_pattern

HEAD_BYTES = 65_536
HEAD_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 15.0
CONNECTIONS = 32
"""At once, of one command; more wait."""
_CHUNK_BYTES = 65_536
_REFUSED = "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n{text}\n"


class Target(NamedTuple):
    """Where a request wants to go, and what to send there first."""

    host: str
    port: int
    head: bytes
    """Empty for a tunnel."""


class Network:
    """The way out of one sandbox: nothing at all without patterns."""

    def __init__(self, patterns: Sequence[str], owner: Owner | None) -> None:
        """Allow `host:port` patterns; `*` stands for any part of a name, or any port. `owner` is
        whom the command runs as."""
        self._owner = owner
        self._patterns = tuple(patterns)
        self._folder: str | None = None
        self._fd: int | None = None
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._room = asyncio.Semaphore(CONNECTIONS)

    async def start(self) -> int | None:
        """Listen on a Unix socket, and return its path opened, to be bound into the sandbox; None
        when nothing is allowed. Nobody else than the command's user can come by it."""
        if not self._patterns:
            return None
        listener = self._listen()
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=HEAD_BYTES)
        return self._fd

    def _listen(self) -> socket.socket:
        self._folder = tempfile.mkdtemp(prefix="agentd-proxy-", dir=temporary_folder(self._owner))
        path = Path(self._folder, "socket")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(path))
            path.chmod(0o600)
            if self._owner is not None:
                for place in (self._folder, path):
                    os.chown(place, self._owner.uid, self._owner.gid)
            self._fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            listener.close()
            raise
        return listener

    async def aclose(self) -> None:
        """Cut every connection, and forget the socket."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await self._idle.wait()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._idle.clear()
        try:
            async with self._room:
                await self._answer(reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # one side is gone, or says nothing: so is the connection
        finally:
            writer.close()
            self._serving.discard(task)
            if not self._serving:
                self._idle.set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
        try:
            target = parse_head(head)
            endpoints = await self.permit(target.host, target.port)
            far_reader, far_writer = await _connect(target.host, endpoints)
        except (Denied, Unavailable, ValueError) as error:
            status = "403 Forbidden" if isinstance(error, Denied) else "502 Bad Gateway"
            status = "400 Bad Request" if isinstance(error, ValueError) else status
            writer.write(_REFUSED.format(status=status, text=error).encode())
            await writer.drain()
            return
        try:
            if target.head:
                far_writer.write(target.head)
            else:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as group:
                group.create_task(_pour(reader, far_writer))
                group.create_task(_pour(far_reader, writer))
        finally:
            far_writer.close()

    async def permit(self, host: str, port: int) -> list[Endpoint]:
        """Return the checked addresses of a host that the patterns allow.

        An address that is not public must be named by a pattern itself, literally; `localhost` too.
        Raises Denied (PERMISSION_DENIED) and Unavailable (UNREACHABLE).
        """
        matching = [pattern for pattern in self._patterns if matches(pattern, host, port)]
        if not matching:
            raise Denied(Reason.PERMISSION_DENIED, f"{host}:{port} is not among the allowed hosts")
        named = {split_pattern(pattern)[0] for pattern in matching}
        endpoints = await resolve(host, port)
        for address, _ in endpoints:
            reason = check_address(address)
            own = host == "localhost" and "localhost" in named and reason == "loopback"
            if reason and not own and not (_literal(host) and host in named):
                raise Denied(Reason.PERMISSION_DENIED, f"{host} is at {address}, which is {reason}")
        return endpoints


def parse_head(head: bytes) -> Target:
    """Read a proxy request's head: `CONNECT host:port`, or a method with an absolute http URL.

    Raises ValueError. A plain request is sent on in origin form, and is the last of its connection.
    """
    line, _, rest = head.partition(b"\r\n")
    try:
        method, target, version = line.decode("ascii").split(" ")
    except ValueError:
        raise ValueError("this is not a proxy request") from None
    if not version.startswith("HTTP/1."):
        raise ValueError(f"{version!r} is not spoken here")
    if method == "CONNECT":
        parts = urlsplit(f"//{target}")
        if not parts.hostname or parts.port is None or parts.username is not None:
            raise ValueError(f"{target!r} is not a host and port")
        return Target(parts.hostname, parts.port, b"")
    parts = urlsplit(target)
    if parts.scheme != "http" or not parts.hostname or parts.username is not None:
        raise ValueError(f"{target!r} is not an absolute http URL")
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    lines = [f"{method} {path} {version}", f"Host: {parts.netloc}", "Connection: close"]
    for header in rest.decode("latin-1").split("\r\n"):
        name = header.partition(":")[0].strip().lower()
        if name not in {"", "host", "connection", "proxy-connection", "proxy-authorization"}:
            lines.append(header)
    return Target(parts.hostname, parts.port or 80, "\r\n".join([*lines, "", ""]).encode("latin-1"))


def matches(pattern: str, host: str, port: int) -> bool:
    """Say whether a pattern allows a host (lower case, without brackets) and port."""
    name, number = split_pattern(pattern)
    return fnmatch.fnmatchcase(host, name) and number in {"*", str(port)}


def _literal(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False


async def _connect(
    host: str, endpoints: Sequence[Endpoint]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that answers, and never to the name."""
    fault = "it has no address"
    for address, port in endpoints:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await asyncio.open_connection(address, port)
        except (OSError, TimeoutError) as error:
            fault = str(error) or "it does not answer"
    raise Unavailable(Reason.UNREACHABLE, f"{host} cannot be reached: {fault}")


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy one direction to its end, and say that it ended."""
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
