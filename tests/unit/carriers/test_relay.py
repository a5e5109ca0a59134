"""The accept relay: whose a connection is, what passes, and what happens when a side stops."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentd.carriers.relay import (
    Relay,
    adopt,
    identify,
    inner_path,
    listen,
    raise_descriptor_limit,
)
from agentd.errors import InvalidRequest, Reason, Unavailable


@dataclass
class Relayed:
    """A relay with bare sockets at both ends."""

    relay: Relay
    path: Path
    inner: socket.socket

    async def connect(self) -> tuple[socket.socket, socket.socket]:
        """A connection: the client's end, and the server's."""
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        client.connect(os.fsencode(self.path))
        return client, await self.accept()

    async def accept(self) -> socket.socket:
        async with asyncio.timeout(10):
            server, _ = await asyncio.get_running_loop().sock_accept(self.inner)
            server.setblocking(False)
            return server

    async def gone(self) -> None:
        """Wait until no connection is left, which nothing but the relay can tell."""
        async with asyncio.timeout(10):
            while self.relay.connection_count:  # noqa: ASYNC110
                await asyncio.sleep(0)


@asynccontextmanager
async def relayed(directory: Path) -> AsyncIterator[Relayed]:
    path = directory / "agentd.sock"
    where = inner_path(path)
    with socket.socket(socket.AF_UNIX) as inner:
        inner.setblocking(False)
        inner.bind(str(where))
        inner.listen(1024)
        relay = Relay(where)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(relay.serve(listen(path, 0o600)))
            try:
                yield Relayed(relay, path, inner)
            finally:
                serving.cancel()


async def send(end: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(end, data)


async def receive(end: socket.socket, size: int = 1 << 16) -> bytes:
    async with asyncio.timeout(10):
        return await asyncio.get_running_loop().sock_recv(end, size)


def peer(server: socket.socket) -> str:
    """The name of the other end, as gRPC writes it."""
    return f"unix-abstract:{server.getpeername()[1:].decode()}"


async def test_bytes_pass_both_ways_and_the_peer_is_named(tmp_path: Path) -> None:
    async with relayed(tmp_path) as pair:
        client, server = await pair.connect()
        with client, server:
            assert identify(peer(server)) == (os.getuid(), os.getpid())
            await send(client, b"question")
            assert await receive(server) == b"question"
            await send(server, b"answer")
            assert await receive(client) == b"answer"


async def test_another_process_is_told_apart(tmp_path: Path) -> None:
    code = "import socket,sys\ns=socket.socket(1)\ns.connect(sys.argv[1])\ns.recv(9)"
    async with relayed(tmp_path) as pair:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, pair.path)
        with await pair.accept() as server:
            assert identify(peer(server)) == (os.getuid(), child.pid)
            await send(server, b"good bye")
            assert await child.wait() == 0


@pytest.mark.parametrize(
    "name", ["unix:", "ipv4:127.0.0.1:80", "unix-abstract:other", "unix:agentd/uid=0/pid=1/x"]
)
def test_other_peers_are_nobody(name: str) -> None:
    assert identify(name) == (None, None)


async def test_a_closed_direction_leaves_the_other_open(tmp_path: Path) -> None:
    async with relayed(tmp_path) as pair:
        client, server = await pair.connect()
        with client, server:
            await send(client, b"last words")
            client.shutdown(socket.SHUT_WR)
            assert await receive(server) == b"last words"
            assert await receive(server) == b""
            await send(server, b"heard")
            assert await receive(client) == b"heard"
            server.shutdown(socket.SHUT_WR)
            assert await receive(client) == b""
            await pair.gone()


async def test_either_side_that_closes_closes_the_other(tmp_path: Path) -> None:
    async with relayed(tmp_path) as pair:
        for closes_first in (0, 1):
            ends = await pair.connect()
            ends[closes_first].close()
            assert await receive(ends[1 - closes_first]) == b""
            ends[1 - closes_first].close()
            await pair.gone()


async def test_a_reader_that_stalls_holds_its_writer_back(tmp_path: Path) -> None:
    """The bytes between the two are bounded, and none is lost or exchanged."""
    chunk = bytes(range(256)) * 256
    async with relayed(tmp_path) as pair:
        client, server = await pair.connect()
        with client, server:
            sent = quiet = 0
            while quiet < 1000:  # turns of the loop in which nothing more is taken
                try:
                    start = sent % 256
                    sent += client.send(chunk[start:])
                    quiet = 0
                except BlockingIOError:
                    quiet += 1
                    await asyncio.sleep(0)
            assert sent < 4 << 20
            # Another connection is none the worse, and neither is the other direction.
            others = await pair.connect()
            for source, target in (others, others[::-1], (server, client)):
                await send(source, b"ping")
                assert await receive(target) == b"ping"
            received = 0
            while received < sent:
                data = await receive(server)
                start = received % 256
                assert data == (chunk[start:] + chunk)[: len(data)]
                received += len(data)
            assert received == sent
            for end in others:
                end.close()


async def test_a_thousand_connections_pass_at_once(tmp_path: Path) -> None:
    raise_descriptor_limit()
    async with relayed(tmp_path) as pair:
        ends = [await pair.connect() for _ in range(1000)]
        assert len({peer(server) for _, server in ends}) == 1000
        for number, (client, _) in enumerate(ends):
            await send(client, b"%d" % number)
        for number, (_, server) in enumerate(ends):
            assert await receive(server) == b"%d" % number
        assert pair.relay.connection_count == 1000
        for client, server in ends:
            client.close()
            server.close()
        await pair.gone()


async def test_a_server_that_is_not_there_closes_the_client(tmp_path: Path) -> None:
    async with relayed(tmp_path) as pair:
        inner_path(pair.path)  # removes what the server listens on
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            client.connect(os.fsencode(pair.path))
            assert await receive(client) == b""
        assert pair.relay.connection_count == 0


async def test_the_end_of_the_relay_ends_its_connections(tmp_path: Path) -> None:
    async with relayed(tmp_path) as pair:
        client, server = await pair.connect()
    with client, server:
        assert await receive(client) == await receive(server) == b""
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as late:
        late.connect(os.fsencode(pair.path))


def test_a_socket_has_the_mode_asked_for(tmp_path: Path) -> None:
    for mode, directory_mode in ((0o600, 0o700), (0o660, 0o750)):
        path = tmp_path / f"{mode:o}" / "agentd.sock"
        with listen(path, mode):
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert stat.S_IMODE(path.parent.stat().st_mode) == directory_mode
        assert stat.S_IMODE(inner_path(path).parent.stat().st_mode) == 0o700


def test_a_path_that_is_too_long_is_explained(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 110)
    with pytest.raises(InvalidRequest, match="the kernel permits 107") as caught:
        listen(path, 0o600)
    assert caught.value.reason is Reason.INVALID_CONFIG
    longest = Path("/tmp") / ("x" * 103)
    with pytest.raises(InvalidRequest, match="107"):
        inner_path(longest)


def test_a_directory_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot listen on"):
        listen(tmp_path / "file" / "agentd.sock", 0o600)


def test_the_socket_of_systemd_is_adopted(tmp_path: Path) -> None:
    assert adopt(0) is None
    code = (
        "import socket\nfrom agentd.carriers.relay import adopt\n"
        "try: print(adopt({count}).getsockname())\n"
        "except Exception as error: print(error)"
    )

    def child(passed: socket.socket, count: int) -> str:
        """What a process says that has the socket as its third descriptor."""
        os.dup2(passed.fileno(), 3) if passed.fileno() != 3 else os.set_inheritable(3, True)
        command = [sys.executable, "-c", code.format(count=count)]
        return subprocess.run(command, pass_fds=(3,), capture_output=True, text=True).stdout  # noqa: PLW1510

    saved = os.dup(3)
    try:
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as plain:
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            assert child(listener, 1).strip() == str(tmp_path / "s")
            assert "must pass one listening stream socket" in child(listener, 2)
            assert "must pass one listening stream socket" in child(plain, 1)
    finally:
        os.dup2(saved, 3)
        os.close(saved)
