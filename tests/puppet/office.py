"""The tools of others: what an office's programs host, and servers that somebody else wrote.

They do nothing but note that they were executed: that is the side effect.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from agentd.agent.hosting import (
    Completion,
    Failed,
    Invocation,
    LeaseRef,
    Outcome,
    Registration,
    Succeeded,
)
from agentd.agent.ids import DEFAULT_NAMESPACE, HostId, RunId
from agentd.agent.permission import NO_LABELS, Labels
from agentd.agent.tool import EffectClass, Tool
from agentd.runtime.runtime import Runtime
from tests.fakes.local import FunctionTool
from tests.puppet.injections import DESCRIPTION

CANARY = "PRIVATE-4471"
"""Stands in everything private."""
UNTRUSTED, PRIVATE = Labels(untrusted=True), Labels(private=True)
CAPACITY = 64


@dataclass(frozen=True, slots=True)
class Execution:
    """A tool that was executed, which reaches beyond the daemon."""

    run: RunId
    tool: str
    arguments_json: str
    """Canonical."""


Told = Callable[[RunId, str], str]
"""What a run reads from strangers, and at which door: `read` or `error`."""


def canonical(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, sort_keys=True)


def _tool(
    path: str, effect: EffectClass, labels: Labels = NO_LABELS, description: str = ""
) -> Tool:
    toolset, _, name = path.partition("/")
    schema = '{"type":"object"}'
    return Tool(toolset, name, description or "Does it.", schema, effect=effect, labels=labels)


HOSTED = (
    _tool("mail/inbox", EffectClass.READ_ONLY, UNTRUSTED | PRIVATE),
    _tool("mail/send", EffectClass.IRREVERSIBLE),
    _tool("crm/customers", EffectClass.READ_ONLY, PRIVATE),
    _tool("crm/update", EffectClass.NON_IDEMPOTENT),
    _tool("chat/post", EffectClass.NON_IDEMPOTENT),
    _tool("bank/transfer", EffectClass.IRREVERSIBLE),
    _tool("calendar/free", EffectClass.READ_ONLY),
    _tool("calendar/invite", EffectClass.IDEMPOTENT),
)
FOREIGN = (
    _tool("mcp-wiki/lookup", EffectClass.READ_ONLY, UNTRUSTED),
    _tool("mcp-wiki/ping", EffectClass.READ_ONLY, UNTRUSTED),
    _tool("mcp-desk/file_ticket", EffectClass.IRREVERSIBLE, UNTRUSTED),
    _tool("mcp-poison/tidy", EffectClass.READ_ONLY, UNTRUSTED, DESCRIPTION),
)


class Office:
    """Executes the tools of others, and keeps account."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self.executions: list[Execution] = []

    def foreign(self) -> dict[str, FunctionTool]:
        """Return the tools of servers, which the daemon passes calls on to."""
        return {tool.path: FunctionTool(tool, self._serve) for tool in FOREIGN}

    async def _serve(self, invocation: Invocation) -> Outcome:
        return self.execute(invocation)

    def execute(self, invocation: Invocation) -> Outcome:
        """Execute a call."""
        arguments = json.loads(invocation.arguments_json or "{}")
        done = Execution(invocation.run, invocation.tool, canonical(arguments))
        if invocation.tool.startswith("mcp-wiki/") and CANARY in done.arguments_json:
            self.executions.append(done)  # A stranger was told, whatever the tool does.
        match invocation.tool:
            case "mail/inbox" | "mcp-wiki/lookup":
                text = self._told(invocation.run, "read")
                return Succeeded(json.dumps({"text": text, "reference": CANARY}))
            case "mcp-wiki/ping":
                return Failed(self._told(invocation.run, "error") or "no answer")
            case "crm/customers":
                return Succeeded(json.dumps([{"id": 7, "name": f"Ann {CANARY}"}]))
            case "calendar/free" | "mcp-poison/tidy":
                return Succeeded('["09:00"]')
            case _:
                self.executions.append(done)
                return Succeeded('"done"')

    @asynccontextmanager
    async def hosting(self, runtime: Runtime) -> AsyncIterator[None]:
        """Host the office's own tools, one host for each toolset."""
        welcomes: list[asyncio.Event] = []
        async with asyncio.TaskGroup() as group:
            tasks = []
            for toolset in dict.fromkeys(tool.toolset for tool in HOSTED):
                tools = tuple(tool for tool in HOSTED if tool.toolset == toolset)
                registration = Registration(
                    DEFAULT_NAMESPACE, HostId(toolset), toolset, tools, CAPACITY
                )
                welcomes.append(asyncio.Event())
                work = self._host(runtime, registration, welcomes[-1])
                tasks.append(group.create_task(work))
            for welcome in welcomes:
                await welcome.wait()
            yield
            for task in tasks:
                task.cancel()

    async def _host(
        self, runtime: Runtime, registration: Registration, welcome: asyncio.Event
    ) -> None:
        async for batch in runtime.hosting.watch_calls(registration):
            welcome.set()
            completions = [
                Completion(
                    LeaseRef(given.run, given.call, given.attempt, given.token),
                    self.execute(given),
                )
                for given in batch
                if isinstance(given, Invocation)
            ]
            await runtime.hosting.complete(DEFAULT_NAMESPACE, completions)
