"""Find memories by meaning and by words at once, and say how they were found."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

from agentd.agent.memory import Match, Memory, MemoryId, Method, Recall
from agentd.errors import AgentdError
from agentd.memory.place import Hit, Place
from agentd.memory.ranking import Candidate, Weights, fuse
from agentd.runtime.ports import Clock, Embedder, MemoryStore
from agentd.runtime.shelving import MemoryQuery, Shelf

DEPTH: Final = 50
"""How many of each list are joined at least."""
MAX_MATCHES: Final = 1_000
EMBED_S: Final = 10.0
"""How long a query's vector is waited for."""
MEANING: Final = Weights(vector=1.0, words=0.2)
"""Words settle what meanings leave open, and find names and numbers, which have no meaning."""
SPELLING: Final = Weights(vector=0.6, words=1.0)
"""The weights of an embedder that compares spellings: words stand for the same, and know which are
rare."""


class Recalling:
    """Searches. Reads, and changes nothing."""

    def __init__(self, shelf: Shelf, store: MemoryStore, embedder: Embedder, clock: Clock) -> None:
        self._shelf = shelf
        self._store = store
        self._embedder = embedder
        self._clock = clock

    async def search(
        self, query: MemoryQuery, text: str, *, limit: int, faults: Sequence[str]
    ) -> Recall:
        """Return what fits a text, best first. `faults` say what the index lacks."""
        limit = min(limit, MAX_MATCHES)
        now = self._clock.now_ms()
        place = Place(query.namespace, now, frozenset(query.scopes), query.kinds)
        depth = max(DEPTH, 2 * limit)
        told = [*faults]
        by_words = await _try(self._store.by_words(place, text, depth), told)
        by_vector = await _try(self._by_vector(place, text, depth), told)
        vectors = by_vector is not None
        by_words, by_vector = by_words or (), by_vector or ()
        memories = await self._present(query, now, (*by_words, *by_vector))
        candidates = {
            name: Candidate(memory.create_time_ms, _scope_rank(query, memory))
            for name, memory in memories.items()
        }
        weights = SPELLING if self._embedder.lexical else MEANING
        ranked = fuse(by_vector, by_words, candidates, now, weights)
        matches = tuple(
            Match(
                memories[each.id],
                each.score,
                each.vector_rank,
                each.similarity,
                each.word_rank,
            )
            for each in ranked[:limit]
        )
        return Recall(matches, self._method(told, vectors=vectors))

    async def _by_vector(self, place: Place, text: str, depth: int) -> Sequence[Hit]:
        embedder = self._embedder
        async with asyncio.timeout(EMBED_S):
            [vector] = await embedder.embed([text])
        hits = await self._store.by_vector(place, embedder.name, vector, depth)
        return [hit for hit in hits if hit.similarity >= embedder.floor]

    async def _present(
        self, query: MemoryQuery, now: int, hits: Sequence[Hit]
    ) -> Mapping[MemoryId, Memory]:
        """Return what the journal has of what the index found: it may be gone since, or over."""
        found = {}
        for name in dict.fromkeys(hit.id for hit in hits):
            memory = await self._shelf.find(query.namespace, name)
            if memory is not None and query.matches(memory) and not memory.is_over(now):
                found[name] = memory
        return found

    def _method(self, faults: Sequence[str], *, vectors: bool) -> Method:
        embedder = self._embedder
        known = tuple(dict.fromkeys((*faults, *self._store.faults)))
        if not vectors:
            return Method("", "", lexical=True, faults=known)
        return Method(self._store.name, embedder.name, embedder.lexical, known)


async def _try(search: Awaitable[Sequence[Hit]], faults: list[str]) -> Sequence[Hit] | None:
    """Return what a search finds; None, and a fault more, when it does not work."""
    try:
        return await search
    except AgentdError as error:
        faults.append(error.message)
    except TimeoutError:
        faults.append("the embedder did not answer in time: only words were compared")
    return None


def _scope_rank(query: MemoryQuery, memory: Memory) -> int:
    return query.scopes.index(memory.scope) if query.scopes else 0
