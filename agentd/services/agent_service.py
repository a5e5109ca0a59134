"""Serve AgentService: create, read and revise agents."""
# ruff: noqa: N802  (methods bear the contract's names)

from agentd.errors import invalid_field
from agentd.runtime.library import Library
from agentd.services import checks, convert, parse
from agentd.services.caller import Caller
from agentd.services.pages import cut, parse_page
from agentd.v1 import agent_service_pb2 as pb


class AgentService:
    """The methods of `agentd.v1.AgentService`."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def CreateAgent(
        self, request: pb.CreateAgentRequest, caller: Caller
    ) -> pb.CreateAgentResponse:
        """Create an agent."""
        checks.required(request, "agent", "agent")
        agent = parse.agent(request.agent, caller.namespace)
        created = await self._library.create_agent(
            agent, request_id=checks.request_id(request.request_id)
        )
        return pb.CreateAgentResponse(agent=convert.agent(created))

    async def GetAgent(self, request: pb.GetAgentRequest, caller: Caller) -> pb.GetAgentResponse:
        """Return an agent at its newest or a named revision."""
        agent = parse.agent_id(request.name)
        revision = checks.number(request.revision, "revision")
        found = await self._library.get_agent(caller.namespace, agent, revision)
        return pb.GetAgentResponse(agent=convert.agent(found))

    async def ListAgents(
        self, request: pb.ListAgentsRequest, caller: Caller
    ) -> pb.ListAgentsResponse:
        """List agents by name."""
        page = parse_page(request, str, "ListAgents", caller.namespace)
        found = await self._library.list_agents(
            caller.namespace, after=page.position or "", limit=page.size + 1
        )
        shown, more = cut([convert.agent(agent) for agent in found], page.size)
        token = page.token(found[len(shown) - 1].id) if more else ""
        return pb.ListAgentsResponse(agents=shown, next_page_token=token)

    async def UpdateAgent(
        self, request: pb.UpdateAgentRequest, caller: Caller
    ) -> pb.UpdateAgentResponse:
        """Make a new revision of an agent."""
        checks.required(request, "agent", "agent")
        if not request.agent.name:
            raise invalid_field("agent.name", "is required")
        updated = await self._library.update_agent(
            parse.agent(request.agent, caller.namespace),
            fields=parse.update_mask(request.update_mask),
            etag=request.agent.etag,
            request_id=checks.request_id(request.request_id),
        )
        return pb.UpdateAgentResponse(agent=convert.agent(updated))

    async def DeleteAgent(
        self, request: pb.DeleteAgentRequest, caller: Caller
    ) -> pb.DeleteAgentResponse:
        """Delete an agent."""
        await self._library.delete_agent(caller.namespace, parse.agent_id(request.name))
        return pb.DeleteAgentResponse()

    async def ListAgentRevisions(
        self, request: pb.ListAgentRevisionsRequest, caller: Caller
    ) -> pb.ListAgentRevisionsResponse:
        """List the revisions of one agent, newest first."""
        agent = parse.agent_id(request.name)
        page = parse_page(request, int, "ListAgentRevisions", caller.namespace, agent)
        found = await self._library.list_agent_revisions(
            caller.namespace, agent, before=page.position or 0, limit=page.size + 1
        )
        shown, more = cut([convert.agent(revision) for revision in found], page.size)
        token = page.token(found[len(shown) - 1].revision) if more else ""
        return pb.ListAgentRevisionsResponse(agents=shown, next_page_token=token)
