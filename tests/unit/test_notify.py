"""Notices to systemd, received by a real datagram socket."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentd.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """An address as NOTIFY_SOCKET holds it, and what listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        if request.param == "path":
            address = str(tmp_path / "notify")
            listener.bind(address)
        else:
            listener.bind("")  # the kernel chooses an abstract name
            address = "@" + listener.getsockname()[1:].decode()
        listener.setblocking(False)
        yield address, listener


def test_each_message_is_a_datagram(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    notifier = Notifier(address)
    notifier.ready("serves unix:/run/agentd/agentd.sock")
    assert listener.recv(999) == b"READY=1\nSTATUS=serves unix:/run/agentd/agentd.sock"
    notifier.status("3 runs\nREADY=1")
    assert listener.recv(999) == b"STATUS=3 runs READY=1"
    notifier.stopping()
    assert listener.recv(999) == b"STOPPING=1"
    notifier.close()
    notifier.status("too late")
    with pytest.raises(BlockingIOError):
        listener.recv(999)


def test_a_reload_has_its_time(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    before = time.monotonic_ns() // 1000
    with closing(Notifier(address)) as notifier:
        notifier.reloading()
    first, second = listener.recv(999).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, value = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= time.monotonic_ns() // 1000


async def test_the_watchdog_is_fed_until_cancelled(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    with closing(Notifier(address, watchdog_s=0.002)) as notifier:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            watching = group.create_task(notifier.watch())
            for _ in range(3):
                data = await asyncio.get_running_loop().sock_recv(listener, 999)
                assert data == b"WATCHDOG=1"
            watching.cancel()


async def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    notifier = Notifier()
    notifier.ready("x")
    await notifier.watch()
    with closing(Notifier(str(tmp_path / "gone"))) as gone:
        gone.ready()
        await gone.watch()
