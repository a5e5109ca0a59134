"""A tool of an MCP server, as the runtime executes it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from agentd.agent.hosting import Failed, Invocation, InvocationKind, Outcome
from agentd.tools.mcp.catalogue import Listed
from agentd.tools.mcp.supervisor import Supervisor
from agentd.tools.mcp.text import clean

OnProgress = Callable[[Invocation, float, str], None]
"""Takes note of a call's progress: a fraction from 0 to 1, or -1, and a message."""
MAX_NOTE = 200
"""The longest message of progress, in characters."""


class McpTool:
    """One tool."""

    def __init__(self, supervisor: Supervisor, listed: Listed, on_progress: OnProgress) -> None:
        self.manifest = listed.tool
        self._name = listed.name
        self._supervisor = supervisor
        self._on_progress = on_progress

    def needs(self, arguments: Mapping[str, Any], workspace: str) -> Sequence[str]:
        """Return what a call needs beside `tool.use`: where the daemon connects to for it."""
        del arguments, workspace
        return self._supervisor.server.needs

    async def __call__(self, invocation: Invocation) -> Outcome:
        """Execute a call.

        Being cancelled it tells the server so, and the CancelledError has the outcome, as far as it
        is known, as its argument: Stopped, or OutcomeUnknown.
        """
        if invocation.kind is not InvocationKind.EXECUTE:
            return Failed(f"{invocation.tool} can only be executed")
        try:
            arguments = msgspec.json.decode(invocation.arguments_json or "{}", type=dict[str, Any])
        except msgspec.MsgspecError as error:
            return Failed(f"the arguments are not an object ({error})")

        def note(fraction: float, message: str) -> None:
            self._on_progress(invocation, fraction, clean(message, MAX_NOTE))

        return await self._supervisor.call(self._name, self.manifest, arguments, note)
