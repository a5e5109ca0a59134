"""Every service over a real runtime: a journal in a directory and a scripted model."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agentd.agent.ids import Namespace
from agentd.context.models.script import parse_script
from agentd.errors import AgentdError, InvalidRequest, NotFound, Reason
from agentd.memory.hashing import HashedNgrams
from agentd.memory.store import Store
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.memories import MemoryParts
from agentd.runtime.ports import LocalTool, Workspaces
from agentd.runtime.runtime import NoWorkspaces, Outside, Runtime
from agentd.runtime.system import SystemClock, SystemEntropy
from agentd.services.agent_service import AgentService
from agentd.services.approval_service import ApprovalService
from agentd.services.caller import Caller
from agentd.services.event_service import EventService
from agentd.services.memory_service import MemoryService
from agentd.services.run_service import RunService
from agentd.services.session_service import SessionService
from agentd.services.system_service import Info, SystemService
from agentd.services.tool_host_service import ToolHostService
from agentd.services.tool_service import ToolService
from agentd.v1 import event_service_pb2, tool_host_service_pb2
from tests.fakes.models import ScriptedModels

CALLER = Caller()
STRANGER = Caller(Namespace("other"))
SCRIPT = {
    "conversations": [
        {
            "goal": "weather",
            "turns": [
                {
                    "text": "I will look.",
                    "calls": [{"tool": "forecast", "arguments": {"city": "Paris"}}],
                },
                {"text": "The service says: {{last_result}}", "repeat": 0},
            ],
        },
        {"turns": [{"text": "Hello.", "repeat": 0}]},
    ]
}

T = TypeVar("T")


@dataclass
class House:
    """The services and what is behind them."""

    runtime: Runtime
    agents: AgentService
    sessions: SessionService
    runs: RunService
    events: EventService
    tools: ToolService
    hosts: ToolHostService
    system: SystemService
    approvals: ApprovalService
    memories: MemoryService

    def watch(
        self, request: event_service_pb2.WatchRequest, caller: Caller = CALLER
    ) -> "aclosing[AsyncGenerator[bytes, None]]":
        return aclosing(self.events.Watch(request, caller))

    def host(
        self, request: tool_host_service_pb2.WatchCallsRequest, caller: Caller = CALLER
    ) -> "aclosing[AsyncGenerator[tool_host_service_pb2.WatchCallsResponse, None]]":
        return aclosing(self.hosts.WatchCalls(request, caller))

    async def all_events(self, **fields: Any) -> list[Any]:
        """Return what ListEvents says, over all its pages."""
        events: list[Any] = []
        token = ""
        while True:
            request = event_service_pb2.ListEventsRequest(page_token=token, **fields)
            answer = await self.events.ListEvents(request, CALLER)
            events += answer.events
            token = answer.next_page_token
            if not token:
                return events


@asynccontextmanager
async def house(
    directory: Path,
    script: Mapping[str, object] = SCRIPT,
    local_tools: Mapping[str, LocalTool] | None = None,
    workspaces: Workspaces | None = None,
) -> AsyncIterator[House]:
    """Build a runtime and its services, and run them."""
    clock = SystemClock()
    journal = await SqliteJournal.open(directory, clock)
    memory = MemoryParts(Store(directory / "memory", chroma=False), HashedNgrams())
    try:
        models = ScriptedModels({"demo": parse_script(script)})
        runtime = Runtime(
            Outside(
                journal,
                models,
                clock,
                SystemEntropy(),
                local_tools,
                workspaces=workspaces or NoWorkspaces(),
                memory=memory,
            )
        )
        assert runtime.memories is not None
        async with runtime.serving():
            yield House(
                runtime,
                AgentService(runtime.library),
                SessionService(runtime.sessions),
                RunService(runtime.engine, runtime.reading, runtime.tasks),
                EventService(runtime.watches),
                ToolService(runtime.registry, runtime.hosts, runtime.local_tools, no_servers),
                ToolHostService(runtime.hosting),
                SystemService(
                    runtime.scheduler,
                    lambda: info_of(runtime, models),
                    drain_ms=1000,
                    memory=runtime.memories.status,
                ),
                ApprovalService(runtime.approvals),
                MemoryService(runtime.memories),
            )
    finally:
        await memory.close()
        await journal.close()


async def no_servers(toolset: str, _digest: str) -> None:
    raise NotFound(Reason.TOOL_NOT_FOUND, f"no MCP server has the toolset {toolset!r}")


def info_of(runtime: Runtime, models: ScriptedModels) -> Info:
    return Info(
        version="1.2.3",
        start_time_ms=1_500,
        revision=runtime.journal.revision,
        oldest_revision=runtime.journal.oldest_revision,
        unfinished_run_count=runtime.scheduler.unfinished_count,
        connected_host_count=runtime.hosts.connected_count,
        models=models.list(),
        default_model=models.resolve("").name,
        draining=runtime.scheduler.draining,
        process_id=42,
        max_request_bytes=4_194_304,
        runtime_versions={"python": "3.11"},
        lease_ms=runtime.hosts.lease_ms,
    )


@asynccontextmanager
async def refused(field: str) -> AsyncIterator[None]:
    """Expect INVALID_FIELD naming the field."""
    with pytest.raises(InvalidRequest) as caught:
        yield
    assert caught.value.reason is Reason.INVALID_FIELD
    assert caught.value.faults[0].field == field, caught.value.message


@asynccontextmanager
async def failing(kind: type[AgentdError], reason: Reason) -> AsyncIterator[None]:
    """Expect an error."""
    with pytest.raises(kind) as caught:
        yield
    assert caught.value.reason is reason
