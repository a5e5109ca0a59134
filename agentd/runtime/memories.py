"""Keep memories: what is remembered, what takes the place of what, and what is forgotten.

The journal's documents are what is remembered. The index only finds them: whatever it says is
looked up here, so what was deleted is never recalled, however far behind the index is.
"""

import hashlib
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from agentd.agent.ids import Namespace
from agentd.agent.memory import (
    SHARED_SCOPE,
    Match,
    Memory,
    MemoryId,
    MemoryKind,
    MemoryStatus,
    Recall,
    check_scope,
)
from agentd.errors import (
    AlreadyExists,
    Conflict,
    Denied,
    Exhausted,
    NotFound,
    Reason,
    invalid_field,
)
from agentd.runtime.claims import RequestClaims, request_digest
from agentd.runtime.indexing import Indexing
from agentd.runtime.ports import Clock, Embedder, Entropy, Journal, MemoryStore
from agentd.runtime.recalling import Recalling
from agentd.runtime.redacting import Redact
from agentd.runtime.shelving import MemoryQuery, Shelf, cursor_of, digest_of

METHOD = "CreateMemory"
MAX_SUPERSEDED = 64
"""Memories whose place one takes at most."""
CONTRADICTORY = 0.5
"""The cosine from which another fact is near enough to be about the same thing."""


def id_of(key: str) -> MemoryId:
    """Return the one id of what is remembered under a key, however often that is attempted."""
    return MemoryId(f"m{hashlib.sha256(key.encode()).hexdigest()[:24]}")


class MemoryLimits(msgspec.Struct, frozen=True):
    """What may be remembered."""

    max_memories: int = 100_000
    """Of one namespace."""
    max_text_bytes: int = 32_768
    working_ttl_ms: int = 24 * 3_600_000
    """How long a working memory lives when nobody says."""


class MemoryParts(msgspec.Struct, frozen=True):
    """The adapters that memories are found with, and how much may be remembered."""

    store: MemoryStore
    embedder: Embedder
    limits: MemoryLimits = MemoryLimits()

    async def close(self) -> None:
        """Release what they hold."""
        await self.embedder.close()
        await self.store.close()


class Memories:
    """Memories, over the journal's documents. Nobody else writes these."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        entropy: Entropy,
        claims: RequestClaims,
        parts: MemoryParts,
        *,
        redact: Redact | None = None,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self._claims = claims
        self._limits = parts.limits
        self._redact: Redact = redact or str
        self._shelf = Shelf(journal)
        self._indexing = Indexing(self._shelf, parts.store, parts.embedder, clock)
        self._recalling = Recalling(self._shelf, parts.store, parts.embedder, clock)

    async def create(self, memory: Memory, *, request_id: str = "") -> tuple[Memory, bool]:
        """Remember something; return it, and whether it was known already and nothing was stored.

        An empty id, an empty scope and the expiry of a working memory are filled in. Of facts and
        lessons, one that its scope has already is returned as it is. What `supersedes` names is
        marked in the same transaction.

        Raises InvalidRequest (INVALID_FIELD, REQUEST_ID_REUSED), NotFound (MEMORY_NOT_FOUND) for
        what is to be superseded, Conflict (CONCURRENT_UPDATE) when that is superseded already,
        Denied (PERMISSION_DENIED) when untrusted text would supersede what is trusted,
        AlreadyExists (NAME_TAKEN) and Exhausted (LIMIT_REACHED).
        """
        namespace = memory.namespace
        digest = request_digest(memory) if request_id else ""
        async with self._claims.hold(namespace, request_id):
            answer = await self._claims.find(namespace, request_id, METHOD, digest)
            if answer is not None:
                return await self.get(namespace, MemoryId(answer)), True
            new = self._filled(memory)
            await self._check_room(namespace)
            async with self._shelf.hold(namespace, (digest_of(new), new.id, *new.supersedes)):
                same = await self._same(new)
                known = same or new
                claim = self._claims.records(namespace, request_id, METHOD, digest, known.id)
                if same is not None:
                    if claim:
                        await self._journal.put(claim)
                    return same, True
                if await self._shelf.find(namespace, new.id):
                    raise _name_taken(new.id)
                replaced = [await self._superseded(new, name) for name in new.supersedes]
                await self._shelf.put(new, replaced, claim)
                await self._indexing.add(new, new.supersedes)
        return new, False

    async def get(self, namespace: Namespace, memory: MemoryId) -> Memory:
        """Return a memory, or raise NotFound (MEMORY_NOT_FOUND)."""
        found = await self._shelf.find(namespace, memory)
        if found is None or found.is_over(self._clock.now_ms()):
            raise _unknown(memory)
        return found

    async def list(self, query: MemoryQuery, *, after: str, limit: int) -> Sequence[Memory]:
        """Return memories with cursors above `after`, newest first."""
        now, found = self._clock.now_ms(), []
        async for memory in self._shelf.newest(query.namespace, after):
            if query.matches(memory) and not memory.is_over(now):
                found.append(memory)
                if len(found) == limit:
                    break
        return found

    async def search(self, query: MemoryQuery, text: str, *, limit: int) -> Recall:
        """Return the memories that fit a text, best first. What does not work makes the answer
        poorer and is told: this raises nothing for it."""
        faults = await self._indexing.settled()
        return await self._recalling.search(query, text, limit=limit, faults=faults)

    async def near(self, memory: Memory, *, limit: int = 5) -> Sequence[Match]:
        """Return known facts of the same scope that a new one may contradict: those about the same
        thing. Whether they do, and so are superseded, is for the caller to say."""
        query = MemoryQuery(
            memory.namespace, (memory.scope or SHARED_SCOPE,), frozenset({MemoryKind.FACT})
        )
        found = await self.search(query, memory.text, limit=4 * limit)
        near = [
            match
            for match in found.matches
            if match.memory.id != memory.id
            and (match.similarity >= CONTRADICTORY or match.word_rank == 1)
        ]
        return near[:limit]

    async def delete(self, namespace: Namespace, memory: MemoryId) -> None:
        """Forget a memory. Raises NotFound (MEMORY_NOT_FOUND)."""
        found = await self.get(namespace, memory)
        await self._shelf.delete(found)
        await self._indexing.drop(namespace, [memory])

    async def status(self) -> MemoryStatus:
        """Return how the memory stands."""
        return await self._indexing.status()

    async def keep(self) -> None:
        """Keep the index up to date, and forget what is over, until cancelled."""
        await self._indexing.keep()

    cursor_of = staticmethod(cursor_of)

    def _filled(self, memory: Memory) -> Memory:
        """Return a new memory with all that the daemon has to say of it."""
        now, text = self._clock.now_ms(), self._redact(memory.text)
        scope = check_scope(memory.scope or SHARED_SCOPE, "memory.scope")
        if not text.strip():
            raise invalid_field("memory.text", "is required")
        size, most = len(text.encode()), self._limits.max_text_bytes
        if size > most:
            raise invalid_field("memory.text", f"has {size} bytes, and at most {most} may be")
        if len(memory.supersedes) > MAX_SUPERSEDED:
            raise invalid_field("memory.supersedes", f"has more than {MAX_SUPERSEDED} entries")
        expiry = memory.expire_time_ms
        if expiry and expiry <= now:
            raise invalid_field("memory.expire_time", "is over")
        if memory.kind is MemoryKind.WORKING and not expiry:
            expiry = now + self._limits.working_ttl_ms
        return replace(
            memory,
            id=memory.id or MemoryId(self._entropy.id("m")),
            scope=scope,
            text=text,
            supersedes=tuple(dict.fromkeys(memory.supersedes)),
            superseded_by=None,
            source_revision=self._journal.revision,
            create_time_ms=now,
            expire_time_ms=expiry,
        )

    async def _check_room(self, namespace: Namespace) -> None:
        most = self._limits.max_memories
        if await self._indexing.count(namespace) >= most:
            raise Exhausted(
                Reason.LIMIT_REACHED,
                f"a namespace has at most {most} memories: forget some",
                metadata={"limit": "memories", "value": str(most)},
            )

    async def _same(self, new: Memory) -> Memory | None:
        """Return a memory that says the same and holds still, or None."""
        same = await self._shelf.find_same(new)
        if same is None or same.superseded_by or same.is_over(new.create_time_ms):
            return None
        return None if same.id in new.supersedes else same

    async def _superseded(self, new: Memory, name: MemoryId) -> Memory:
        """Return a memory whose place the new one takes, marked so."""
        old = await self.get(new.namespace, name)
        if old.superseded_by:
            raise Conflict(
                Reason.CONCURRENT_UPDATE,
                f"memories/{name} was superseded by memories/{old.superseded_by} before",
                metadata={
                    "memory": f"memories/{name}",
                    "superseded_by": f"memories/{old.superseded_by}",
                },
            )
        if old.scope != new.scope:
            raise invalid_field(
                "memory.supersedes", f"memories/{name} is of the scope {old.scope!r}"
            )
        if new.labels.untrusted and not old.labels.untrusted:
            raise Denied(
                Reason.PERMISSION_DENIED,
                f"memories/{name} is trusted, and what comes from outside may not supersede it",
                metadata={"memory": f"memories/{name}"},
            )
        return replace(old, superseded_by=new.id)


def _unknown(memory: MemoryId) -> NotFound:
    name = f"memories/{memory}"
    return NotFound(Reason.MEMORY_NOT_FOUND, f"there is no {name}", metadata={"memory": name})


def _name_taken(memory: MemoryId) -> AlreadyExists:
    name = f"memories/{memory}"
    return AlreadyExists(Reason.NAME_TAKEN, f"{name} exists", metadata={"name": name})
