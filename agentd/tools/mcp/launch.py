"""Start an MCP server in the sandbox, with what its declaration grants and nothing else."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from agentd.tools.mcp.ports import Process
from agentd.tools.mcp.server import McpServer
from agentd.tools.sandbox.drop import Owner
from agentd.tools.sandbox.profile import Command, Limits, Profile


class Spawner(Protocol):
    """What of the sandbox is needed here."""

    @property
    def owner(self) -> Owner | None:
        """Return whom commands run as, when that is not the daemon's own user."""
        ...

    async def spawn(self, command: Command, profile: Profile) -> Process:
        """Start a command whose standard input and output stay open."""
        ...


async def launch(
    server: McpServer, environment: Mapping[str, str], sandbox: Spawner, folder: str
) -> Process:
    """Start a server in a folder of its own below `folder`. Raises what the sandbox raises."""
    workspace = Path(folder) / server.name
    await asyncio.to_thread(_make, workspace, sandbox.owner)
    return await sandbox.spawn(Command(server.command), profile_of(server, environment, workspace))


def profile_of(server: McpServer, environment: Mapping[str, str], workspace: Path) -> Profile:
    """Return what the sandbox is compiled from."""
    return Profile(
        workspace=str(workspace),
        readable=tuple(_paths(server, "fs.read:")),
        writable=tuple(_paths(server, "fs.write:")),
        network=tuple(_granted(server, "net.connect:")),
        environment=environment,
        limits=Limits(memory_bytes=server.memory_bytes),
    )


def _make(workspace: Path, owner: Owner | None) -> None:
    workspace.mkdir(mode=0o700, exist_ok=True)
    if owner is not None:
        os.chown(workspace, owner.uid, owner.gid)


def _granted(server: McpServer, kind: str) -> list[str]:
    return [text.removeprefix(kind) for text in server.permissions if text.startswith(kind)]


def _paths(server: McpServer, kind: str) -> list[str]:
    return [path.removesuffix("/**") for path in _granted(server, kind)]
