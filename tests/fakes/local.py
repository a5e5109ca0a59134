"""Tools of the daemon's own process, made of functions."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentd.agent.hosting import Invocation, Outcome
from agentd.agent.tool import Tool

Needs = Callable[[Mapping[str, Any], str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """The port `LocalTool`."""

    manifest: Tool
    function: Callable[[Invocation], Awaitable[Outcome]]
    says: Needs = lambda _arguments, _workspace: ()
    """What a call needs."""

    def needs(self, arguments: Mapping[str, Any], workspace: str) -> Sequence[str]:
        return self.says(arguments, workspace)

    async def __call__(self, invocation: Invocation) -> Outcome:
        return await self.function(invocation)
