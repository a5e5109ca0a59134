"""The MCP servers of a daemon: connected side by side, their tools by path."""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agentd.agent.hosting import Invocation
from agentd.errors import NotFound, Reason, invalid_field
from agentd.tools.mcp.launch import Spawner, launch
from agentd.tools.mcp.ports import Connection, PinStore
from agentd.tools.mcp.server import McpServer, Secrets, ServerState, check_server, filled
from agentd.tools.mcp.supervisor import Patience, Supervisor
from agentd.tools.mcp.tool import McpTool, OnProgress

NOT_INSTALLED = "the MCP SDK is not installed: pip install 'agentd[mcp]'"


def _no_secret(name: str) -> str:
    raise NotFound(Reason.INVALID_CONFIG, f"there is no secret {name}", metadata={"secret": name})


def _unheard() -> None:
    pass


def _unnoted(_invocation: Invocation, _fraction: float, _message: str) -> None:
    pass


def _half() -> float:
    return 0.5


@dataclass(frozen=True, slots=True)
class McpOptions:
    """What the servers may do without."""

    secrets: Secrets = _no_secret
    on_change: Callable[[], None] = _unheard
    """Called when `tools()` or `state()` may say something new."""
    on_progress: OnProgress = _unnoted
    fraction: Callable[[], float] = _half
    """Chance, from 0 to 1, for jitter."""
    patience: Patience = field(default_factory=Patience)


class McpServers:
    """The servers that are declared."""

    def __init__(
        self,
        servers: Sequence[McpServer],
        sandbox: Spawner,
        pins: PinStore,
        folder: str,
        options: McpOptions | None = None,
    ) -> None:
        """Raises InvalidRequest (INVALID_FIELD) for a declaration that is not valid.

        `folder` is the absolute path of an existing folder, in which each server that runs here
        gets one of its own to work in.
        """
        self._sandbox = sandbox
        self._folder = folder
        self._options = options or McpOptions()
        self._supervisors: dict[str, Supervisor] = {}
        for index, server in enumerate(servers):
            check_server(server, f"mcp_servers[{index}]")
            if server.name in self._supervisors:
                raise invalid_field(f"mcp_servers[{index}].name", "is that of another server too")
            self._supervisors[server.name] = Supervisor(
                server,
                partial(self._connect, server),
                pins,
                patience=self._options.patience,
                fraction=self._options.fraction,
                on_change=self._options.on_change,
            )

    async def serve(self) -> None:
        """Keep every server connected until cancelled; without servers, return at once."""
        if not self._supervisors:
            return
        async with asyncio.TaskGroup() as group:
            for supervisor in self._supervisors.values():
                await supervisor.restore()
            self._options.on_change()
            if await self._load():
                for supervisor in self._supervisors.values():
                    group.create_task(supervisor.run())

    def tools(self) -> Mapping[str, McpTool]:
        """Return the accepted tools of all servers, connected or not, by `toolset/tool`."""
        return {
            listed.tool.path: McpTool(supervisor, listed, self._options.on_progress)
            for supervisor in self._supervisors.values()
            for listed in supervisor.catalogue.tools
        }

    def state(self) -> Sequence[ServerState]:
        """Say how each server is doing."""
        return [supervisor.state() for supervisor in self._supervisors.values()]

    async def accept(self, server: str, digest: str) -> None:
        """Accept the changed tools of a server, by the digest that `state` says they have.

        Raises NotFound (TOOL_NOT_FOUND) for a server that is not declared, and Conflict
        (ETAG_MISMATCH) when it offers other tools, or none that wait.
        """
        supervisor = self._supervisors.get(server)
        if supervisor is None:
            raise NotFound(
                Reason.TOOL_NOT_FOUND,
                f"there is no MCP server {server[:80]!r}",
                metadata={"server": server},
            )
        await supervisor.accept(digest)

    async def _load(self) -> bool:
        """Import the SDK, in a thread: that takes most of half a second, and 55 MB."""
        try:
            await asyncio.to_thread(importlib.import_module, "agentd.tools.mcp.dialling")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in {"mcp", "mcp_types", "anyio", "httpx2"}:
                raise
            for supervisor in self._supervisors.values():
                supervisor.fail(NOT_INSTALLED)
            return False
        return True

    @asynccontextmanager
    async def _connect(
        self, server: McpServer, changed: Callable[[], None]
    ) -> AsyncGenerator[Connection]:
        # Imported by name, as it needs the SDK.
        dialling: Any = importlib.import_module("agentd.tools.mcp.dialling")
        options = self._options
        timeout_s = options.patience.greet_s
        if server.url:
            headers = filled(server, server.headers, options.secrets)
            dialled: AbstractAsyncContextManager[Connection] = dialling.dial_url(
                server.url, headers, changed, timeout_s
            )
        else:
            environment = filled(server, server.environment, options.secrets)
            async with asyncio.timeout(timeout_s):
                process = await launch(server, environment, self._sandbox, self._folder)
            dialled = dialling.dial_process(process, changed, timeout_s)
        async with dialled as connection:
            yield connection
