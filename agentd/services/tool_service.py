"""Serve ToolService: show which tools are known."""
# ruff: noqa: N802  (methods bear the contract's names)

from collections.abc import Awaitable, Callable

from agentd.agent.ids import parse_name
from agentd.runtime.hosts import Hosts
from agentd.runtime.local import LocalTools
from agentd.services import checks, convert, parse
from agentd.services.caller import Caller
from agentd.services.pages import cut, parse_page
from agentd.tools.registry import Manifest, Registry
from agentd.v1 import tool_pb2
from agentd.v1 import tool_service_pb2 as pb


class ToolService:
    """The methods of `agentd.v1.ToolService`."""

    def __init__(
        self,
        registry: Registry,
        hosts: Hosts,
        local: LocalTools,
        accept: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """`accept` accepts what a toolset's server offers under a digest; it raises NotFound
        (TOOL_NOT_FOUND) and Conflict (ETAG_MISMATCH)."""
        self._registry = registry
        self._hosts = hosts
        self._local = local
        self._accept = accept

    async def ListTools(self, request: pb.ListToolsRequest, caller: Caller) -> pb.ListToolsResponse:
        """List the known tools by name."""
        await self._local.settled()
        toolset = parse_name(request.toolset, "toolsets", "toolset") if request.toolset else None
        page = parse_page(request, str, "ListTools", caller.namespace, request.toolset)
        found = self._registry.list(
            caller.namespace, toolset, after=page.position or "", limit=page.size + 1
        )
        shown, more = cut([self._shown(manifest) for manifest in found], page.size)
        token = page.token(found[len(shown) - 1].tool.path) if more else ""
        return pb.ListToolsResponse(tools=shown, next_page_token=token)

    async def GetTool(self, request: pb.GetToolRequest, caller: Caller) -> pb.GetToolResponse:
        """Return a tool."""
        await self._local.settled()
        path = parse.tool_path(request.name)
        manifest = self._registry.manifest(caller.namespace, path)
        return pb.GetToolResponse(tool=self._shown(manifest))

    async def AcceptTools(
        self, request: pb.AcceptToolsRequest, _caller: Caller
    ) -> pb.AcceptToolsResponse:
        """Accept the changed tools of an MCP server."""
        toolset = parse_name(request.name, "toolsets", "name")
        checks.required(request, "digest", "digest")
        await self._accept(toolset, request.digest)
        return pb.AcceptToolsResponse()

    def _shown(self, manifest: Manifest) -> tool_pb2.Tool:
        path = manifest.tool.path
        available = path in self._local or self._hosts.available(manifest.namespace, path)
        return convert.tool(manifest, available=available)
