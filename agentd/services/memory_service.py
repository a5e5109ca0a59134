"""Serve MemoryService: remember, find and forget."""
# ruff: noqa: N802  (methods bear the contract's names)

from agentd.runtime.memories import Memories
from agentd.services import checks, convert_memory, parse_memory
from agentd.services.caller import Caller
from agentd.services.pages import cut, parse_page
from agentd.v1 import memory_service_pb2 as pb

SEARCH_SIZE = 10
"""Matches of a page when nobody says."""
MAX_MATCHES = 1_000


class MemoryService:
    """The methods of `agentd.v1.MemoryService`."""

    def __init__(self, memories: Memories) -> None:
        self._memories = memories

    async def CreateMemory(
        self, request: pb.CreateMemoryRequest, caller: Caller
    ) -> pb.CreateMemoryResponse:
        """Remember something."""
        checks.required(request, "memory", "memory")
        created, existed = await self._memories.create(
            parse_memory.memory(request.memory, caller.namespace),
            request_id=checks.request_id(request.request_id),
        )
        return pb.CreateMemoryResponse(memory=convert_memory.memory(created), existed=existed)

    async def GetMemory(self, request: pb.GetMemoryRequest, caller: Caller) -> pb.GetMemoryResponse:
        """Return a memory."""
        found = await self._memories.get(caller.namespace, parse_memory.memory_id(request.name))
        return pb.GetMemoryResponse(memory=convert_memory.memory(found))

    async def ListMemories(
        self, request: pb.ListMemoriesRequest, caller: Caller
    ) -> pb.ListMemoriesResponse:
        """List memories, newest first."""
        query = parse_memory.query(
            request, caller.namespace, include_superseded=request.include_superseded
        )
        scope = parse_memory.fingerprint(query)
        page = parse_page(request, str, "ListMemories", caller.namespace, *scope)
        found = await self._memories.list(query, after=page.position or "", limit=page.size + 1)
        shown, more = cut([convert_memory.memory(each) for each in found], page.size)
        token = page.token(self._memories.cursor_of(found[len(shown) - 1])) if more else ""
        return pb.ListMemoriesResponse(memories=shown, next_page_token=token)

    async def SearchMemories(
        self, request: pb.SearchMemoriesRequest, caller: Caller
    ) -> pb.SearchMemoriesResponse:
        """Find memories by meaning and by words, best first."""
        query = parse_memory.query(request, caller.namespace)
        text = parse_memory.search_text(request.query)
        scope = (*parse_memory.fingerprint(query), text)
        page = parse_page(request, int, "SearchMemories", caller.namespace, *scope)
        size = page.size if request.page_size else SEARCH_SIZE
        first = page.position or 0
        recall = await self._memories.search(query, text, limit=min(first + size + 1, MAX_MATCHES))
        rest = recall.matches[first:]
        shown, more = cut([convert_memory.match(each) for each in rest], size)
        token = page.token(first + len(shown)) if more else ""
        return pb.SearchMemoriesResponse(
            matches=shown, next_page_token=token, method=convert_memory.method(recall.method)
        )

    async def DeleteMemory(
        self, request: pb.DeleteMemoryRequest, caller: Caller
    ) -> pb.DeleteMemoryResponse:
        """Forget a memory."""
        await self._memories.delete(caller.namespace, parse_memory.memory_id(request.name))
        return pb.DeleteMemoryResponse()
