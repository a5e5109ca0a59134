"""What the tests of the MCP tools share: processes without a sandbox, pins in memory, waiting."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentd.agent.hosting import Invocation, InvocationKind, Outcome
from agentd.agent.ids import CallId, RunId
from agentd.tools.mcp.launch import Spawner
from agentd.tools.mcp.server import McpServer, Phase, ServerState
from agentd.tools.mcp.servers import McpOptions, McpServers
from agentd.tools.mcp.supervisor import Patience
from agentd.tools.mcp.tool import McpTool
from agentd.tools.sandbox.profile import Command, Profile

pytest.importorskip("mcp", reason="the extra `mcp` is not installed")

HOSTILE = str(Path(__file__).with_name("hostile.py"))
QUICK = Patience(breath_s=0, first_retry_s=0.01, last_retry_s=0.02, ready_s=20)
DEADLINE_S = 25.0


class PlainProcess:
    """A process as the sandbox gives it, without one."""

    def __init__(self, process: asyncio.subprocess.Process, said: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.stdin, self.stdout = process.stdin, process.stdout
        self.process = process
        self._said = said

    @property
    def stderr(self) -> str:
        return self._said.read_text("utf-8", "replace")[-2_000:]

    def until_said(self, word: str) -> None:
        """Block until it has said something to people."""
        while word not in self.stderr:
            time.sleep(0.01)

    async def wait(self) -> int:
        return await self.process.wait()

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        # What it wrote and nobody read would keep the pipe open.
        self.process._transport.close()  # type: ignore[attr-defined]


class PlainSandbox:
    """Starts what it is told to, and remembers with what."""

    owner = None

    def __init__(self, on_spawn: Callable[[], None]) -> None:
        self.on_spawn = on_spawn
        self.profiles: list[Profile] = []
        self.processes: list[PlainProcess] = []

    async def spawn(self, command: Command, profile: Profile) -> PlainProcess:
        self.profiles.append(profile)
        handle, said = tempfile.mkstemp(dir=profile.workspace)
        try:
            process = await asyncio.create_subprocess_exec(
                *command.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=handle,
                cwd=profile.workspace,
                env=dict(profile.environment),
                start_new_session=True,
            )
        finally:
            os.close(handle)
        self.processes.append(PlainProcess(process, Path(said)))
        self.on_spawn()
        return self.processes[-1]


class Pins:
    """Pins that survive what is done with the servers, but not the test."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def get(self, server: str) -> bytes | None:
        return self.kept.get(server)

    async def put(self, server: str, pin: bytes) -> None:
        self.kept[server] = pin


class Scene:
    """The servers of a test, and how to wait for them."""

    def __init__(
        self,
        folder: Path,
        *,
        pins: Pins | None = None,
        patience: Patience = QUICK,
        sandbox: Spawner | None = None,
    ) -> None:
        self.folder = folder
        self.sandbox = PlainSandbox(self.changed)
        self._spawner = sandbox or self.sandbox
        self.pins = pins or Pins()
        self.patience = patience
        self.progress: list[tuple[float, str]] = []
        self.states: list[ServerState] = []
        self._waiting: set[asyncio.Event] = set()
        self.servers: McpServers

    def note(self, _invocation: Invocation, fraction: float, message: str) -> None:
        self.progress.append((fraction, message))
        self.changed()

    def changed(self) -> None:
        self.states += self.servers.state()
        for event in self._waiting:
            event.set()

    @asynccontextmanager
    async def play(self, *servers: McpServer) -> AsyncGenerator["Scene"]:
        """Serve these, and end them afterwards."""
        options = McpOptions(
            secrets={"token": "s3cret"}.__getitem__,
            on_change=self.changed,
            on_progress=self.note,
            patience=self.patience,
        )
        self.servers = McpServers(servers, self._spawner, self.pins, str(self.folder), options)
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            task = group.create_task(self.servers.serve())
            yield self
            task.cancel()
        alive = [p for p in self.sandbox.processes if p.process.returncode is None]
        assert not alive

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds that changes with the servers."""
        event = asyncio.Event()
        self._waiting.add(event)
        while not holds():
            await event.wait()
            event.clear()
        self._waiting.discard(event)

    async def until_phase(self, phase: Phase, index: int = 0) -> ServerState:
        """Wait until a server is in a phase, and return its state."""
        await self.until(lambda: self.state(index).phase is phase)
        return self.state(index)

    def state(self, index: int = 0) -> ServerState:
        return self.servers.state()[index]

    def tool(self, id: str, toolset: str = "mcp-bad") -> McpTool:
        return self.servers.tools()[f"{toolset}/{id}"]

    async def call(self, id: str, arguments: dict[str, Any] | None = None) -> Outcome:
        tool = self.tool(id)
        return await tool(invocation(tool, arguments or {}))


def invocation(
    tool: McpTool, arguments: dict[str, Any], kind: InvocationKind = InvocationKind.EXECUTE
) -> Invocation:
    """Return an invocation of a tool."""
    return Invocation(
        run=RunId("r1"),
        call=CallId("c1-1"),
        kind=kind,
        tool=tool.manifest.path,
        arguments_json=msgspec.json.encode(arguments).decode(),
        attempt=1,
        token="t",
        idempotency_key="k",
        deadline_ms=0,
        lease_expire_time_ms=0,
    )


def hostile(*misdeeds: str, **more: Any) -> McpServer:
    """Return the hostile server, over its standard input and output."""
    more.setdefault("environment", {"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"})
    return McpServer("bad", command=(sys.executable, HOSTILE, "stdio", *misdeeds), **more)


@asynccontextmanager
async def hostile_url(
    folder: Path, misdeeds: Sequence[str] = ()
) -> AsyncGenerator[tuple[str, Any]]:
    """Run the hostile server on a port of this machine, and yield its origin and process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        HOSTILE,
        "http",
        *misdeeds,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            port = int(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}", process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
