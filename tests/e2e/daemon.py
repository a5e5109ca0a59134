"""Starts and ends daemons as processes, each in a home of its own."""

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agentd.client import Client, RetryPolicy, connect

START_S = 20.0
STOP_S = 20.0
SERVE = (sys.executable, "-m", "agentd", "serve")
EAGER = RetryPolicy(attempts=200, first_delay_s=0.02, max_delay_s=0.05)
"""Repeats of a client that expects its daemon to come back at once."""


class Home:
    """The directories of one daemon: its configuration, its state and its socket.

    Not below pytest's own directory: the path of a Unix socket has 107 bytes.
    """

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="agentd-")
        self.path = Path(self._directory.name)
        self.config = self.path / "config" / "agentd" / "agentd.toml"
        self.socket = self.path / "run" / "agentd" / "agentd.sock"
        self.state = self.path / "state" / "agentd"
        self.log = self.path / "log"
        self.environment: dict[str, str] = {
            "HOME": str(self.path),
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TMPDIR": str(self.path),
            "XDG_CONFIG_HOME": str(self.path / "config"),
            "XDG_DATA_HOME": str(self.path / "data"),
            "XDG_RUNTIME_DIR": str(self.path / "run"),
            "XDG_STATE_HOME": str(self.path / "state"),
        }
        self.configure("")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._directory.cleanup()

    @property
    def address(self) -> str:
        """Where clients find the daemon."""
        return f"unix:{self.socket}"

    def configure(self, toml: str) -> None:
        """Write the user's file."""
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(toml, encoding="utf-8")

    def script(self, script: Mapping[str, Any], *, more: str = "") -> None:
        """Have the daemon's default model answer from a script; `more` is further configuration."""
        path = self.path / "script.json"
        path.write_text(json.dumps(script), encoding="utf-8")
        self.configure(SCRIPTED.format(path=path) + more)

    def client(self, *, namespace: str = "default") -> Client:
        """Return a client of the daemon."""
        return connect(self.address, namespace=namespace, retry=EAGER)


SCRIPTED = """\
[models]
default = "scripted/script"
[models.providers.scripted]
kind = "scripted"
models = ["script"]
[models.details."scripted/script"]
path = "{path}"
"""


class Served:
    """A daemon's process, from its start to its end."""

    def __init__(self, process: Process, notices: socket.socket, log: Path) -> None:
        self.process = process
        self.said: list[str] = []
        """What it has told its service manager, one message each."""
        self._notices = notices
        self._log = log

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return self._log.read_text(encoding="utf-8")

    async def until_said(self, line: str) -> bool:
        """Wait until the daemon tells its service manager a line, such as `READY=1`; return False
        when it ends before."""
        async with asyncio.timeout(START_S), asyncio.TaskGroup() as group:
            ended = group.create_task(self.process.wait())
            said = group.create_task(self._hear(line))
            await asyncio.wait((ended, said), return_when=asyncio.FIRST_COMPLETED)
            heard = said.done()
            ended.cancel()
            said.cancel()
        return heard

    async def _hear(self, line: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            message = (await loop.sock_recv(self._notices, 65536)).decode()
            self.said.append(message)
            if line in message.splitlines():
                return

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this one process."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def stop(self) -> int:
        """Ask it to end as systemd does; return its exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def ended(self) -> int:
        """Wait for its end; return its exit code, negative for a signal."""
        async with asyncio.timeout(STOP_S):
            return await self.process.wait()


@asynccontextmanager
async def process(
    home: Home,
    command: Sequence[str] = SERVE,
    *,
    pass_fds: Sequence[int] = (),
    log: Path | None = None,
) -> AsyncIterator[Served]:
    """Start a daemon for as long as the context lasts, without waiting until it is ready."""
    place_of_log = log or home.log
    with (
        tempfile.TemporaryDirectory(prefix="agentd-") as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices,
        place_of_log.open("wb") as output,
    ):
        place = f"{directory}/notify"
        notices.bind(place)
        notices.setblocking(False)
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            env={**home.environment, "NOTIFY_SOCKET": place},
            pass_fds=pass_fds,
        )
        served = Served(child, notices, place_of_log)
        try:
            yield served
        finally:
            await served.kill()


@asynccontextmanager
async def daemon(
    home: Home, command: Sequence[str] = SERVE, *, pass_fds: Sequence[int] = ()
) -> AsyncIterator[Served]:
    """Run a daemon that serves for as long as the context lasts."""
    async with process(home, command, pass_fds=pass_fds) as served:
        if not await served.until_said("READY=1"):
            raise AssertionError(f"the daemon ended before it was ready:\n{served.log}")
        yield served
