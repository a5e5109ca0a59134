"""The way out of a sandbox: through the proxy, to what was granted, and no other way."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator

import msgspec
import pytest

from agentd.errors import Unsupported
from agentd.tools.sandbox.profile import Command, Profile, Tier
from agentd.tools.sandbox.sandbox import Sandbox
from tests.conformance.sandbox.conftest import python

ASK = """
import json, socket, sys
answers = []
for head in json.load(sys.stdin):
    with socket.create_connection(("127.0.0.1", 3128), 5) as near:
        near.sendall(head.encode())
        data = b""
        while piece := near.recv(65536):
            data += piece
            if data.endswith(b"established\\r\\n\\r\\n"):
                near.sendall(b"GET /tunnel HTTP/1.1\\r\\n\\r\\n")
        answers.append(data.decode())
print(json.dumps(answers))
"""
FETCH = """
import sys, urllib.request
sys.path.append("/usr/lib/python3/dist-packages")
print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
"""


@contextlib.asynccontextmanager
async def upstream() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Serve one answer to everybody; yield the port, and the heads of all requests."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npong")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()


async def ask(sandbox: Sandbox, profile: Profile, *heads: str) -> list[str]:
    """Send each head to the proxy from inside; return the answers."""
    finished = await sandbox.run(python(ASK, stdin=json.dumps(heads).encode()), profile)
    assert finished.exit_code == 0, finished.stderr
    answers: list[str] = json.loads(finished.stdout)
    return answers


async def test_what_was_granted_is_reached(bubblewrapped: Sandbox, profile: Profile) -> None:
    async with upstream() as (port, heads):
        profile = msgspec.structs.replace(profile, network=(f"127.0.0.1:{port}",))
        tunnel, plain = await ask(
            bubblewrapped,
            profile,
            f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n",
            f"GET http://127.0.0.1:{port}/plain?q HTTP/1.1\r\nHost: other\r\nX-Own: 1\r\n\r\n",
        )
    assert tunnel.startswith("HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK")
    assert plain.endswith("pong")
    assert heads[0] == b"GET /tunnel HTTP/1.1\r\n\r\n"
    own = (
        f"GET /plain?q HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nX-Own: 1\r\n\r\n"
    )
    assert heads[1] == own.encode()


async def test_programs_find_the_proxy_by_themselves(
    bubblewrapped: Sandbox, profile: Profile
) -> None:
    async with upstream() as (port, _):
        profile = msgspec.structs.replace(profile, network=(f"localhost:{port}",))
        finished = await bubblewrapped.run(python(FETCH, f"http://localhost:{port}/"), profile)
    assert finished.stdout == "pong\n", finished.stderr


async def test_what_was_not_granted_is_refused(bubblewrapped: Sandbox, profile: Profile) -> None:
    async with upstream() as (port, heads):
        profile = msgspec.structs.replace(profile, network=("*:80", f"*.example:{port}", "x:*"))
        answers = await ask(
            bubblewrapped,
            profile,
            f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n",
            f"GET http://localhost:{port}/ HTTP/1.1\r\n\r\n",
            "CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n",
            "CONNECT [::ffff:127.0.0.1]:80 HTTP/1.1\r\n\r\n",
            "CONNECT 0x7f.1:80 HTTP/1.1\r\n\r\n",
            "GET http://169.254.169.254/latest HTTP/1.1\r\n\r\n",
        )
        direct = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        finished = await bubblewrapped.run(python(direct), profile)
    assert [answer.split("\r\n")[0] for answer in answers] == ["HTTP/1.1 403 Forbidden"] * 6
    assert finished.exit_code != 0
    assert heads == []


async def test_nonsense_is_answered(bubblewrapped: Sandbox, profile: Profile) -> None:
    profile = msgspec.structs.replace(profile, network=("example.com:443",))
    answers = await ask(
        bubblewrapped,
        profile,
        "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "CONNECT example.com HTTP/1.1\r\n\r\n",
        "CONNECT example.com:99999 HTTP/1.1\r\n\r\n",
        "CONNECT user@example.com:443 HTTP/1.1\r\n\r\n",
        "GET ftp://example.com/ HTTP/1.1\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET \xe9 HTTP/1.1\r\n\r\n",
    )
    assert [answer.split("\r\n")[0] for answer in answers] == ["HTTP/1.1 400 Bad Request"] * 7


async def test_the_bridge_is_not_the_commands_child(
    bubblewrapped: Sandbox, profile: Profile
) -> None:
    program = """
import os
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("none", sorted(os.listdir("/proc/self/fd"))[:4])
"""
    profile = msgspec.structs.replace(profile, network=("example.com:443",))
    finished = await bubblewrapped.run(python(program), profile)
    assert finished.stdout == "none ['0', '1', '2', '3']\n"


async def test_a_connection_that_hangs_ends_with_the_command(
    bubblewrapped: Sandbox, profile: Profile
) -> None:
    hanging = socket.create_server(("127.0.0.1", 0), backlog=1)
    with hanging:
        port = hanging.getsockname()[1]
        profile = msgspec.structs.replace(profile, network=(f"127.0.0.1:{port}",))
        program = f"""
import os, socket
near = socket.create_connection(("127.0.0.1", 3128), 5)
near.sendall(b"CONNECT 127.0.0.1:{port} HTTP/1.1\\r\\n\\r\\n")
print(near.recv(100).split()[1].decode(), flush=True)
"""
        finished = await bubblewrapped.run(python(program), profile)
    assert finished.stdout == "200\n"


async def test_the_second_tier_has_no_network(sandbox: Sandbox, profile: Profile) -> None:
    if sandbox.tier is Tier.BUBBLEWRAP:
        return
    profile = msgspec.structs.replace(profile, network=("example.com:443",))
    with pytest.raises(Unsupported):
        await sandbox.run(Command(("true",)), profile)
