"""The daemon's own tools, as configured: files, commands, pages, skills and MCP servers.

They are opened once the daemon is ready, because the sandbox is probed by a real command and the
tools' modules are not small; whoever asks for tools meanwhile waits.
"""

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentd.agent.hosting import Failed, Invocation, Outcome
from agentd.agent.ids import Namespace, RunId, RunIdentity
from agentd.agent.tool import Tool
from agentd.config import Config
from agentd.errors import Denied, NotFound, Reason
from agentd.log import get_logger
from agentd.runtime.ports import Clock, Entropy, Journal, LocalTool, Record
from agentd.runtime.runtime import Runtime
from agentd.settings import mcp_settings
from agentd.tools.mcp.server import ServerState
from agentd.tools.names import MCP_PREFIX
from agentd.tools.registry import SHARED
from agentd.tools.sandbox.profile import Tier
from agentd.tools.secrets import Secrets

PIN = "mcp-pin"
"""Documents that hold the accepted tools of an MCP server."""

_log = get_logger()


class Toolbox:
    """The tools of one daemon, and the port `Workspaces`. `serve` opens and keeps the tools."""

    def __init__(self, config: Config, secrets: Secrets, entropy: Entropy, clock: Clock) -> None:
        """Raises InvalidRequest for an MCP server whose declaration is not valid."""
        self._config = config
        self._secrets = secrets
        self._entropy = entropy
        self._clock = clock
        self._root = str(config.state.workspaces_directory)
        self.tier: Tier | None = None
        """How commands are confined; None until it was probed."""
        self.tier_faults: Sequence[str] = ()
        """Why better tiers do not work here."""
        self.servers: Any = None
        """The McpServers, once they are open."""
        self._offered_servers: Mapping[str, LocalTool] = {}
        self._changed = asyncio.Event()
        self._declared = mcp_settings(config)

    def own(self, run: RunIdentity) -> str:
        """Return the path of a run's own folder, which need not exist yet."""
        return f"{self._root.rstrip('/')}/{run.namespace}/{run.id}"

    def states(self) -> Sequence[ServerState]:
        """Say how each MCP server is doing."""
        return self.servers.state() if self.servers else ()

    async def accept(self, toolset: str, digest: str) -> None:
        """Accept the changed tools of an MCP server.

        Raises NotFound (TOOL_NOT_FOUND) for a toolset of no server, and Conflict (ETAG_MISMATCH).
        """
        name = toolset.removeprefix(MCP_PREFIX)
        if self.servers is None or name == toolset:
            message = f"no MCP server has the toolset {toolset!r}"
            raise NotFound(Reason.TOOL_NOT_FOUND, message, metadata={"toolset": toolset})
        await self.servers.accept(name, digest)

    def named(self, path: str) -> str:
        """Return the path of an existing folder that a client names for a run.

        Raises Denied (PERMISSION_DENIED) for one that the configuration does not permit, and
        InvalidRequest (INVALID_FIELD) for one that is not a plain folder.
        """
        permitted = [str(root) for root in self._config.tools.folders]
        if not any(path == root or path.startswith(f"{root.rstrip('/')}/") for root in permitted):
            raise Denied(
                Reason.PERMISSION_DENIED,
                f"runs may not work in {path!r}; tools.folders permits: "
                f"{', '.join(permitted) or 'none'}",
                metadata={"field": "run.workspace", "key": "tools.folders"},
            )
        workspaces: Any = importlib.import_module("agentd.tools.builtin.workspace")
        found: str = workspaces.check_workspace(path, "run.workspace")
        return found

    async def serve(self, runtime: Runtime) -> None:
        """Open the tools, offer them, and keep MCP servers connected until cancelled."""
        tools_config = self._config.tools
        sandbox = await self._probe() if tools_config.builtin or tools_config.mcp else None
        tools = {**await asyncio.to_thread(self._own_tools, sandbox)}
        if self._config.memory.tools and runtime.memories is not None:
            module: Any = await asyncio.to_thread(
                importlib.import_module, "agentd.runtime.memory_tools"
            )
            tools |= module.memory_tools(runtime.memories, self._clock)
        await runtime.offer_local({}, tools)
        _log.info("tools_open", tools=len(tools), sandbox=self.tier.name if self.tier else "")
        if tools_config.mcp:
            await self._serve_servers(runtime, sandbox)
        else:
            runtime.local_tools.settle()

    async def _probe(self) -> Any:
        """Return the best sandbox that works here, and is as good as is asked for."""
        # In a thread: the event loop has requests to answer while modules are read.
        sandboxes: Any = await asyncio.to_thread(
            importlib.import_module, "agentd.tools.sandbox.sandbox"
        )
        sandbox = await sandboxes.probe()
        weakest = Tier[self._config.sandbox.weakest_tier.upper()]
        if Tier.NONE.value < sandbox.tier.value < weakest.value:
            fault = f"sandbox.weakest_tier asks for {weakest.name.lower()}"
            sandbox = sandboxes.Sandbox(None, owner=sandbox.owner, faults=(*sandbox.faults, fault))
        self.tier, self.tier_faults = sandbox.tier, sandbox.faults
        if sandbox.tier is Tier.NONE:
            _log.warning("no_sandbox", faults=list(sandbox.faults))
        return sandbox

    def _own_tools(self, sandbox: Any) -> Mapping[str, LocalTool]:
        tools: list[LocalTool] = []
        if self._config.tools.builtin:
            catalogue: Any = importlib.import_module("agentd.tools.builtin.catalogue")
            workspaces: Any = importlib.import_module("agentd.tools.builtin.workspace")
            owner = sandbox.owner.uid if sandbox.owner else None
            folders = _Folders(self._root, workspaces.make_workspace, owner)
            own = catalogue.builtin_tools(sandbox, self._secrets.reveal)
            tools += [_InFolder(tool, folders) for tool in own]
        if self._config.tools.skills:
            skills: Any = importlib.import_module("agentd.tools.skills")
            found = skills.discover([str(path) for path in self._config.tools.skills])
            for fault in found.faults:
                _log.warning("skill_left_out", folder=fault.field, reason=fault.description)
            tools.append(skills.SkillReader(found.skills))
        return {tool.manifest.path: tool for tool in tools}

    async def _serve_servers(self, runtime: Runtime, sandbox: Any) -> None:
        module: Any = await asyncio.to_thread(importlib.import_module, "agentd.tools.mcp.servers")
        folder = Path(self._root) / "mcp"
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True, mode=0o711)
        self.servers = module.McpServers(
            self._declared,
            sandbox,
            _Pins(runtime.journal),
            str(folder),
            module.McpOptions(
                secrets=self._secrets.reveal,
                on_change=self._changed.set,
                fraction=self._entropy.fraction,
            ),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(self.servers.serve())
            while True:
                await self._changed.wait()
                self._changed.clear()
                offered = self.servers.tools()
                await runtime.offer_local(self._offered_servers, offered)
                self._offered_servers = offered
                # A run that is made first of all must find the tools of a server that is new.
                if all(state.is_known for state in self.servers.state()):
                    runtime.local_tools.settle()


class _Pins:
    """The port `PinStore` over the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def get(self, server: str) -> bytes | None:
        """Return what was put for a server."""
        record = await self._journal.get(PIN, SHARED, server)
        return record.body if record else None

    async def put(self, server: str, pin: bytes) -> None:
        """Keep this for a server in place of what was there."""
        await self._journal.put([Record(PIN, SHARED, server, pin)])


class _Folders:
    """Makes the folder of a run when a tool first works in it."""

    def __init__(self, root: str, make: Any, owner: int | None) -> None:
        self._root = root.rstrip("/")
        self._make = make
        self._owner = owner

    async def ready(self, folder: str) -> None:
        """Make a folder that is a run's own. Raises OSError."""
        name = folder.removeprefix(f"{self._root}/")
        if name != folder:
            namespace, _, run = name.partition("/")
            await asyncio.to_thread(
                self._make, self._root, Namespace(namespace), RunId(run), self._owner
            )


class _InFolder:
    """A tool of the daemon, in a folder that exists."""

    def __init__(self, tool: LocalTool, folders: _Folders) -> None:
        self._tool = tool
        self._folders = folders
        self.needs = tool.needs

    @property
    def manifest(self) -> Tool:
        """The tool's own."""
        return self._tool.manifest

    async def __call__(self, invocation: Invocation) -> Outcome:
        """Make the folder, then execute the call."""
        try:
            await self._folders.ready(invocation.workspace)
        except OSError as error:
            return Failed(f"the run's folder could not be made: {error.strerror}")
        return await self._tool(invocation)
