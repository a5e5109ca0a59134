"""Start an MCP server in the sandbox, with what its declaration grants and nothing else."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from agentd.tools.mcp.ports import Process
from agentd.tools.mcp.server import McpServer
from agentd.tools.sandbox.profile import Command, Limits, Profile

_FOR_EVER_S = 10 * 365 * 86_400.0
"""A server runs until it is not needed any more: its calls have deadlines, it has none."""


class Spawner(Protocol):
    """What of the sandbox is needed here."""

    async def spawn(self, command: Command, profile: Profile) -> Process:
        """Start a command whose standard input and output stay open."""
        ...


async def launch(
    server: McpServer, environment: Mapping[str, str], sandbox: Spawner, folder: str
) -> Process:
    """Start a server in a folder of its own below `folder`. Raises what the sandbox raises."""
    workspace = Path(folder) / server.name
    await asyncio.to_thread(workspace.mkdir, mode=0o700, exist_ok=True)
    return await sandbox.spawn(Command(server.command), profile_of(server, environment, workspace))


def profile_of(server: McpServer, environment: Mapping[str, str], workspace: Path) -> Profile:
    """Return what the sandbox is compiled from."""
    return Profile(
        workspace=str(workspace),
        readable=tuple(_paths(server, "fs.read:")),
        writable=tuple(_paths(server, "fs.write:")),
        network=tuple(_granted(server, "net.connect:")),
        environment=environment,
        limits=Limits(soft_timeout_s=_FOR_EVER_S, hard_timeout_s=_FOR_EVER_S),
    )


def _granted(server: McpServer, kind: str) -> list[str]:
    return [text.removeprefix(kind) for text in server.permissions if text.startswith(kind)]


def _paths(server: McpServer, kind: str) -> list[str]:
    return [path.removesuffix("/**") for path in _granted(server, kind)]
