"""The contract's resources as methods of Python: one class a service."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from agentd.client.transport import Transport
from agentd.v1 import (
    agent_service_pb2,
    run_service_pb2,
    session_service_pb2,
    system_service_pb2,
    tool_service_pb2,
)
from agentd.v1.agent_pb2 import Agent
from agentd.v1.budget_pb2 import Budget
from agentd.v1.call_pb2 import Call, CallState
from agentd.v1.run_pb2 import Run, RunState
from agentd.v1.session_pb2 import Session
from agentd.v1.tool_pb2 import Tool

ENDED = frozenset(
    {
        RunState.RUN_STATE_SUCCEEDED,
        RunState.RUN_STATE_FAILED,
        RunState.RUN_STATE_CANCELLED,
        RunState.RUN_STATE_ABANDONED,
    }
)
"""The terminal states of a run."""

_WAIT_S = 60.0
_ANSWER_S = 15.0


def duration(seconds: float) -> Duration:
    """Return a duration of the contract."""
    nanos = round(seconds * 1e9)
    return Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)


class Agents:
    """Manages agents: AgentService."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, agent: Agent) -> Agent:
        """Create an agent at revision 1. Raises AlreadyExists when the name is taken."""
        request = agent_service_pb2.CreateAgentRequest(agent=agent)
        answer = await self._transport.call(request, agent_service_pb2.CreateAgentResponse)
        return answer.agent

    async def get(self, name: str, *, revision: int = 0) -> Agent:
        """Return an agent at a revision; 0 means the newest."""
        request = agent_service_pb2.GetAgentRequest(name=name, revision=revision)
        answer = await self._transport.call(request, agent_service_pb2.GetAgentResponse)
        return answer.agent

    async def list(self) -> AsyncIterator[Agent]:
        """Yield every agent at its newest revision, ordered by name."""
        request = agent_service_pb2.ListAgentsRequest()
        async for page in self._transport.pages(request, agent_service_pb2.ListAgentsResponse):
            for agent in page.agents:
                yield agent

    async def update(self, agent: Agent, *, fields: Iterable[str] = ()) -> Agent:
        """Make a new revision with the named top-level fields changed; none means all of them."""
        request = agent_service_pb2.UpdateAgentRequest(
            agent=agent, update_mask=FieldMask(paths=tuple(fields))
        )
        answer = await self._transport.call(request, agent_service_pb2.UpdateAgentResponse)
        return answer.agent

    async def delete(self, name: str) -> None:
        """Delete an agent. Its runs go on."""
        request = agent_service_pb2.DeleteAgentRequest(name=name)
        await self._transport.call(request, agent_service_pb2.DeleteAgentResponse)

    async def revisions(self, name: str) -> AsyncIterator[Agent]:
        """Yield an agent at each of its revisions, newest first."""
        request = agent_service_pb2.ListAgentRevisionsRequest(name=name)
        response = agent_service_pb2.ListAgentRevisionsResponse
        async for page in self._transport.pages(request, response):
            for agent in page.agents:
                yield agent


class Sessions:
    """Manages sessions: SessionService."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, session: Session | None = None) -> Session:
        """Create an empty session; without a name, the daemon makes one."""
        request = session_service_pb2.CreateSessionRequest(session=session or Session())
        answer = await self._transport.call(request, session_service_pb2.CreateSessionResponse)
        return answer.session

    async def get(self, name: str) -> Session:
        """Return a session."""
        request = session_service_pb2.GetSessionRequest(name=name)
        answer = await self._transport.call(request, session_service_pb2.GetSessionResponse)
        return answer.session

    async def list(self) -> AsyncIterator[Session]:
        """Yield every session, newest first."""
        request = session_service_pb2.ListSessionsRequest()
        response = session_service_pb2.ListSessionsResponse
        async for page in self._transport.pages(request, response):
            for session in page.sessions:
                yield session

    async def delete(self, name: str) -> None:
        """Delete a session. Raises Conflict (SESSION_BUSY) while one of its runs is unfinished."""
        request = session_service_pb2.DeleteSessionRequest(name=name)
        await self._transport.call(request, session_service_pb2.DeleteSessionResponse)


class Runs:
    """Starts, steers and ends runs, and reads their calls: RunService."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, run: Run) -> run_service_pb2.CreateRunResponse:
        """Create a run. The answer's `revision` is the one to watch after, to see all of it."""
        request = run_service_pb2.CreateRunRequest(run=run)
        return await self._transport.call(request, run_service_pb2.CreateRunResponse)

    async def start(
        self,
        goal: str,
        *,
        agent: str = "",
        session: str = "",
        model: str = "",
        tools: Iterable[str] = (),
        budget: Budget | None = None,
    ) -> run_service_pb2.CreateRunResponse:
        """Create a run from what most runs are made of. Names are resource names."""
        run = Run(goal=goal, agent=agent, session=session, model=model, tools=tuple(tools))
        if budget is not None:
            run.budget.CopyFrom(budget)
        return await self.create(run)

    async def get(self, name: str) -> Run:
        """Return a run."""
        request = run_service_pb2.GetRunRequest(name=name)
        return (await self._transport.call(request, run_service_pb2.GetRunResponse)).run

    async def list(
        self, *, states: Iterable[RunState] = (), agent: str = "", session: str = ""
    ) -> AsyncIterator[Run]:
        """Yield runs, newest first."""
        request = run_service_pb2.ListRunsRequest(
            filter=run_service_pb2.RunFilter(states=tuple(states), agent=agent, session=session)
        )
        async for page in self._transport.pages(request, run_service_pb2.ListRunsResponse):
            for run in page.runs:
                yield run

    async def wait(self, name: str, *, timeout_s: float) -> Run:
        """Wait until the run has ended or the timeout has passed; return it as it is then."""
        now = asyncio.get_running_loop().time
        end = now() + timeout_s
        while True:
            patience = max(0.0, min(end - now(), _WAIT_S))
            request = run_service_pb2.WaitRunRequest(name=name, timeout=duration(patience))
            answer = await self._transport.call(
                request, run_service_pb2.WaitRunResponse, timeout_s=patience + _ANSWER_S
            )
            if answer.run.state in ENDED or now() >= end:
                return answer.run

    async def send(self, name: str, text: str) -> int:
        """Give an unfinished run a message; return the revision of its event."""
        request = run_service_pb2.SendMessageRequest(name=name, text=text)
        answer = await self._transport.call(request, run_service_pb2.SendMessageResponse)
        return answer.revision

    async def pause(self, name: str) -> Run:
        """Stop new work of a run."""
        request = run_service_pb2.PauseRunRequest(name=name)
        return (await self._transport.call(request, run_service_pb2.PauseRunResponse)).run

    async def resume(self, name: str) -> Run:
        """Let a paused run go on."""
        request = run_service_pb2.ResumeRunRequest(name=name)
        return (await self._transport.call(request, run_service_pb2.ResumeRunResponse)).run

    async def cancel(
        self, name: str, *, reason: str = "", timeout_s: float = 10.0
    ) -> run_service_pb2.CancelRunResponse:
        """Cancel a run and report what stopped, what refused and what still runs.

        The report is made when everything has ended, at the latest after `timeout_s`.
        """
        request = run_service_pb2.CancelRunRequest(
            name=name, reason=reason, timeout=duration(timeout_s)
        )
        response = run_service_pb2.CancelRunResponse
        return await self._transport.call(request, response, timeout_s=timeout_s + _ANSWER_S)

    async def calls(self, name: str, *, states: Iterable[CallState] = ()) -> AsyncIterator[Call]:
        """Yield the calls of a run (`runs/-`: of every unfinished run) in the model's order."""
        request = run_service_pb2.ListCallsRequest(parent=name, states=tuple(states))
        async for page in self._transport.pages(request, run_service_pb2.ListCallsResponse):
            for call in page.calls:
                yield call

    async def get_call(self, name: str) -> Call:
        """Return a call, `runs/{run}/calls/{call}`."""
        request = run_service_pb2.GetCallRequest(name=name)
        return (await self._transport.call(request, run_service_pb2.GetCallResponse)).call

    async def resolve_call(self, request: run_service_pb2.ResolveCallRequest) -> Call:
        """Say what became of a call whose outcome is unknown."""
        return (await self._transport.call(request, run_service_pb2.ResolveCallResponse)).call


class Tools:
    """Shows tools: ToolService. A ToolHost offers them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self, *, toolset: str = "") -> AsyncIterator[Tool]:
        """Yield the known tools, ordered by name, whether or not a host is connected."""
        request = tool_service_pb2.ListToolsRequest(toolset=toolset)
        async for page in self._transport.pages(request, tool_service_pb2.ListToolsResponse):
            for tool in page.tools:
                yield tool

    async def get(self, name: str) -> Tool:
        """Return a tool, `toolsets/{toolset}/tools/{tool}`."""
        request = tool_service_pb2.GetToolRequest(name=name)
        return (await self._transport.call(request, tool_service_pb2.GetToolResponse)).tool

    async def accept(self, toolset: str, digest: str) -> None:
        """Accept the changed tools of an MCP server: of `toolsets/mcp-{server}`, those that
        `System.info` showed with this `offered_digest`."""
        request = tool_service_pb2.AcceptToolsRequest(name=toolset, digest=digest)
        await self._transport.call(request, tool_service_pb2.AcceptToolsResponse)


class System:
    """Serves the daemon itself: SystemService."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def info(self, *, timeout_s: float = 10.0) -> system_service_pb2.GetInfoResponse:
        """Return what the daemon is and can do."""
        request = system_service_pb2.GetInfoRequest()
        response = system_service_pb2.GetInfoResponse
        return await self._transport.call(request, response, timeout_s=timeout_s)

    async def drain(self, *, timeout_s: float) -> bool:
        """Ask the daemon to let its work end; return whether all had ended at the timeout."""
        request = system_service_pb2.DrainRequest(timeout=duration(timeout_s))
        response = system_service_pb2.DrainResponse
        answer = await self._transport.call(request, response, timeout_s=timeout_s + _ANSWER_S)
        return answer.complete
