"""Accept local connections, find out whose they are, and pass their bytes on to the gRPC server.

gRPC's Python neither reads the credentials of a Unix peer nor adopts a listening socket. So agentd
accepts by itself, on its own or on systemd's socket, asks the kernel who connected (SO_PEERCRED),
and connects to gRPC's inner socket from an abstract address that says so, which gRPC then reports
as the peer. Nobody else reaches the inner socket, since its directory is ours alone: a name can be
trusted.
"""

import asyncio
import errno
import itertools
import os
import re
import resource
import socket
import struct
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

from agentd.errors import InvalidRequest, Reason, Unavailable
from agentd.log import get_logger

MAX_PATH_BYTES = 107
"""The longest path of a Unix socket: `sun_path` holds 108 bytes with the final NUL."""
BACKLOG = 1024
BUFFER_BYTES = 256 << 10
"""The most that one read passes on, and that waits for a socket that is full."""
CONNECT_TIMEOUT_S = 5.0
LISTEN_FD = 3
"""The first file descriptor that systemd passes."""

_PEER = re.compile(r"unix-abstract:(?:%00)?agentd/uid=(\d+)/pid=(\d+)/")

_BUFFER = memoryview(bytearray(BUFFER_BYTES))

log = get_logger()


@lru_cache(maxsize=8192)
def identify(peer: str) -> tuple[int | None, int | None]:
    """Return uid and pid of what gRPC calls the peer; None for a connection not from the relay."""
    match = _PEER.match(peer)
    return (int(match[1]), int(match[2])) if match else (None, None)


def check_path(path: Path) -> None:
    """Raise InvalidRequest (INVALID_CONFIG) for a path that no Unix socket can have."""
    size = len(os.fsencode(path))
    if size > MAX_PATH_BYTES:
        raise InvalidRequest(
            Reason.INVALID_CONFIG,
            f"the socket path {path} has {size} bytes; the kernel permits {MAX_PATH_BYTES}: "
            "set a shorter server.socket",
            metadata={"path": str(path), "limit": str(MAX_PATH_BYTES)},
        )


def raise_descriptor_limit() -> None:
    """Permit this process as many descriptors as it may have: each connection needs three."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listen(path: Path, mode: int) -> socket.socket:
    """Return a listening socket at a path with a mode, its directory made for the user alone (and
    for the group, if the mode admits it) when it does not exist. The caller holds its lock.

    Raises InvalidRequest (INVALID_CONFIG) for a path that is too long, and Unavailable
    (UNREACHABLE) when it cannot be bound.
    """
    check_path(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        make_directory(path.parent, 0o750 if mode & 0o070 else 0o700)
        listener.bind(os.fsencode(path))
        path.chmod(mode)  # before it listens, so that nobody came in by the mode of the umask
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Unavailable(
            Reason.UNREACHABLE, f"cannot listen on {path}: {error}", metadata={"path": str(path)}
        ) from error
    return listener


def adopt(count: int) -> socket.socket | None:
    """Return the listening Unix socket that systemd passed, if it passed any.

    Raises InvalidRequest (INVALID_CONFIG) when it passed several, or another kind.
    """
    if count == 0:
        return None
    listener = socket.socket(fileno=LISTEN_FD)
    kind = (listener.family, listener.type)
    accepts = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if count > 1 or kind != (socket.AF_UNIX, socket.SOCK_STREAM) or not accepts:
        listener.detach()
        raise InvalidRequest(
            Reason.INVALID_CONFIG,
            "the socket unit must pass one listening stream socket with a path: ListenStream=/…",
            metadata={"count": str(count)},
        )
    os.set_inheritable(LISTEN_FD, False)
    return listener


def inner_path(path: Path) -> Path:
    """Return where gRPC listens behind a public socket, in a directory of the user's alone.

    Raises InvalidRequest (INVALID_CONFIG) when that path is too long, and Unavailable (UNREACHABLE)
    when the directory is not ours. The caller holds the lock of the public socket, so that what
    lies there is left over.
    """
    directory = path.with_name(path.name + ".d")
    inner = directory / "s"
    check_path(inner)
    try:
        make_directory(directory, 0o700)
        directory.chmod(0o700)  # refused for another user's
        inner.unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(
            Reason.UNREACHABLE, f"cannot use {directory}: {error}", metadata={"path": str(path)}
        ) from error
    return inner


def make_directory(path: Path, mode: int) -> None:
    """Make a directory, with its parents, unless it exists."""
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode)


class Relay:
    """The way from a public Unix socket to an inner one. Owns the task that accepts."""

    def __init__(self, inner: Path) -> None:
        self._inner = inner
        self._secret = os.urandom(4).hex()
        self._numbers = itertools.count()
        self._links: set[_Link] = set()

    async def serve(self, listener: socket.socket) -> None:
        """Accept until cancelled; then close every connection, and the listener."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        try:
            while True:
                try:
                    client, _ = await loop.sock_accept(listener)
                except OSError as error:
                    # Out of descriptors, or the client is gone: the others shall not suffer.
                    log.warning("accept_failed", error=str(error))
                    await asyncio.sleep(0.1)
                    continue
                await self._link(client)
        finally:
            listener.close()
            for link in list(self._links):
                link.close()

    @property
    def connection_count(self) -> int:
        """The connections that are open."""
        return len(self._links)

    async def _link(self, client: socket.socket) -> None:
        """Join a client to a connection of its own to the inner socket."""
        with ExitStack() as sockets:
            sockets.callback(client.close)
            server = sockets.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            try:
                server.setblocking(False)
                server.bind(self._name(client))
                await self._connect(server)
            except OSError as error:
                log.warning("relay_failed", error=str(error))
                return
            sockets.pop_all()
            _Link(client, server, self._links)

    def _name(self, client: socket.socket) -> bytes:
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, _gid = struct.unpack("iII", credentials)
        unique = f"{self._secret}{next(self._numbers):x}"
        return f"\0agentd/uid={uid}/pid={pid}/{unique}".encode()

    async def _connect(self, server: socket.socket) -> None:
        """Connect to the inner socket; a full backlog there is waited for."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            while (code := server.connect_ex(os.fsencode(self._inner))) != 0:
                if code != errno.EAGAIN:
                    raise OSError(code, os.strerror(code))
                await asyncio.sleep(0.01)


class _Link:
    """Two sockets joined: what one receives, the other sends. Reads into one buffer that all links
    share, and keeps only what a full socket did not take; until it does, its source is not read."""

    __slots__ = ("_client", "_links", "_loop", "_open", "_rests", "_server")

    def __init__(self, client: socket.socket, server: socket.socket, links: set["_Link"]) -> None:
        self._client = client
        self._server = server
        self._links = links
        self._loop = asyncio.get_running_loop()
        self._open = 2
        links.add(self)
        self._loop.add_reader(client, self._move, client, server)
        self._loop.add_reader(server, self._move, server, client)

    def close(self) -> None:
        """Close both sides; what was not passed on is lost."""
        if self not in self._links:
            return
        self._links.discard(self)
        for side in (self._client, self._server):
            self._loop.remove_reader(side)
            self._loop.remove_writer(side)
            side.close()

    def _move(self, source: socket.socket, target: socket.socket) -> None:
        """Pass on what the source has, as much as one read gives."""
        size = sent = 0
        try:
            size = source.recv_into(_BUFFER)
            if size == 0:
                self._end(source, target)
                return
            sent = target.send(_BUFFER[:size])
        except BlockingIOError:
            pass  # nothing to read, or nothing was taken: `size` says which
        except OSError:
            self.close()
            return
        if sent < size:
            self._wait(source, target, bytes(_BUFFER[sent:size]))

    def _wait(self, source: socket.socket, target: socket.socket, rest: bytes) -> None:
        """Leave the source alone until the target has taken the rest."""
        self._loop.remove_reader(source)
        self._loop.add_writer(target, self._drain, source, target, rest)

    def _drain(self, source: socket.socket, target: socket.socket, rest: bytes) -> None:
        try:
            rest = rest[target.send(rest) :]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if rest:
            self._loop.add_writer(target, self._drain, source, target, rest)
        else:
            self._loop.remove_writer(target)
            self._loop.add_reader(source, self._move, source, target)

    def _end(self, source: socket.socket, target: socket.socket) -> None:
        """Pass on that the source will send no more; close when neither will."""
        self._loop.remove_reader(source)
        self._open -= 1
        if self._open == 0:
            self.close()
            return
        try:
            target.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
