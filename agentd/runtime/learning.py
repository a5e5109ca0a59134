"""What runs of the protocol `lifecycle` know of earlier work: the port `Remembering` over memories.

An agent learns in a scope of its own, and recalls from that and from what is shared.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from agentd.agent.ids import RunIdentity
from agentd.agent.lifecycle import NewMemory, RecalledMemory
from agentd.agent.memory import SHARED_SCOPE, Memory, MemoryId, MemoryKind
from agentd.agent.permission import Labels
from agentd.errors import AlreadyExists, Conflict, Denied, NotFound
from agentd.runtime.memories import Memories, id_of
from agentd.runtime.shelving import MemoryQuery

RECALLED = 12
"""Memories that are told to a run at the most."""
_KINDS = {
    "episode": MemoryKind.EPISODE,
    "fact": MemoryKind.FACT,
    "lesson": MemoryKind.LESSON,
}


class Learning:
    """The memories of runs."""

    def __init__(self, memories: Memories) -> None:
        self._memories = memories

    async def recall(self, run: RunIdentity, query: str) -> Sequence[RecalledMemory]:
        """Return what may help with a goal, best first. Raises AgentdError."""
        kinds = frozenset(_KINDS.values())
        wanted = MemoryQuery(run.namespace, (_scope_of(run), SHARED_SCOPE), kinds)
        recall = await self._memories.search(wanted, query, limit=RECALLED)
        return [
            RecalledMemory(
                f"memories/{match.memory.id}",
                match.memory.kind.name.lower(),
                match.memory.text,
                match.why,
                match.memory.labels,
            )
            for match in recall.matches
        ]

    async def remember(
        self, run: RunIdentity, key: str, memories: Sequence[NewMemory], labels: Labels
    ) -> Sequence[str]:
        """Store what a run has learned, each under an id that follows from run and key, so that
        storing it again stores nothing. Raises AgentdError."""
        names = []
        for index, new in enumerate(memories):
            memory = Memory(
                run.namespace,
                id_of(f"runs/{run.id}/{key}/{index}"),
                _KINDS[new.kind],
                _scope_of(run),
                new.text,
                source_run=run.id,
                labels=labels,
                supersedes=_replaced(new),
            )
            names.append(f"memories/{await self._store(memory)}")
        return names

    async def _store(self, memory: Memory) -> MemoryId:
        try:
            stored, _ = await self._memories.create(memory)
        except AlreadyExists:
            return memory.id
        except (NotFound, Conflict, Denied):
            # What it contradicts is gone, was contradicted before, or is trusted more: the new one
            # stands beside it.
            if not memory.supersedes:
                raise
            return await self._store(replace(memory, supersedes=()))
        return stored.id


def _scope_of(run: RunIdentity) -> str:
    return f"agents/{run.agent}"


def _replaced(new: NewMemory) -> tuple[MemoryId, ...]:
    name = new.replaces.removeprefix("memories/")
    return (MemoryId(name),) if name else ()
