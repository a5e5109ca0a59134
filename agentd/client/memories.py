"""What agents remember, as methods of Python: MemoryService."""

from collections.abc import AsyncIterator, Iterable

from agentd.client.transport import Transport
from agentd.v1 import memory_service_pb2 as pb
from agentd.v1.memory_pb2 import Memory, MemoryKind


class Memories:
    """Remembers, finds and forgets."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, memory: Memory, *, request_id: str = "") -> pb.CreateMemoryResponse:
        """Remember something. The answer says whether it was known already."""
        request = pb.CreateMemoryRequest(memory=memory, request_id=request_id)
        return await self._transport.call(request, pb.CreateMemoryResponse)

    async def get(self, name: str) -> Memory:
        """Return a memory."""
        request = pb.GetMemoryRequest(name=name)
        return (await self._transport.call(request, pb.GetMemoryResponse)).memory

    async def list(
        self,
        *,
        scope: str = "",
        kinds: Iterable[MemoryKind] = (),
        include_superseded: bool = False,
    ) -> AsyncIterator[Memory]:
        """Yield memories, newest first."""
        request = pb.ListMemoriesRequest(
            scope=scope, kinds=tuple(kinds), include_superseded=include_superseded
        )
        async for page in self._transport.pages(request, pb.ListMemoriesResponse):
            for memory in page.memories:
                yield memory

    async def search(
        self, query: str, *, scope: str = "", kinds: Iterable[MemoryKind] = (), limit: int = 10
    ) -> pb.SearchMemoriesResponse:
        """Return the memories that fit a query, best first, and how they were found."""
        request = pb.SearchMemoriesRequest(
            query=query, scope=scope, kinds=tuple(kinds), page_size=limit
        )
        return await self._transport.call(request, pb.SearchMemoriesResponse)

    async def delete(self, name: str) -> None:
        """Forget a memory."""
        await self._transport.call(pb.DeleteMemoryRequest(name=name), pb.DeleteMemoryResponse)
