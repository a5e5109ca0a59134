"""Where memories are in the journal: which documents one is made of, and how they are read."""

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from agentd.agent.ids import Namespace
from agentd.agent.memory import Memory, MemoryId, MemoryKind
from agentd.memory.words import sameness
from agentd.runtime.claims import KeyedLocks
from agentd.runtime.ports import Journal, Record

MEMORY = "memory"
"""A memory by its id."""
ORDER = "memory-order"
"""The same bodies under ids that sort by age, newest first."""
TEXT = "memory-text"
"""The ids of what is kept once, by a digest of its scope, kind and text."""
PAGE = 500
"""Documents that are read at a time."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Memory).decode


class MemoryQuery(msgspec.Struct, frozen=True):
    """Which memories of a namespace are meant. Empty means any."""

    namespace: Namespace
    scopes: tuple[str, ...] = ()
    """In the order of preference."""
    kinds: frozenset[MemoryKind] = frozenset()
    include_superseded: bool = False

    def matches(self, memory: Memory) -> bool:
        """Whether a memory of the namespace is meant."""
        return (
            (not self.scopes or memory.scope in self.scopes)
            and (not self.kinds or memory.kind in self.kinds)
            and (self.include_superseded or memory.superseded_by is None)
        )


class Shelf:
    """The documents of memories. Nobody else reads or writes these."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._locks = KeyedLocks()

    @asynccontextmanager
    async def hold(self, namespace: Namespace, names: Iterable[str]) -> AsyncIterator[None]:
        """Keep others from changing what has these names and digests meanwhile."""
        async with AsyncExitStack() as stack:
            for name in sorted({name for name in names if name}):  # One order: no deadlock.
                await stack.enter_async_context(self._locks.hold((namespace, name)))
            yield

    async def find(self, namespace: Namespace, memory: MemoryId) -> Memory | None:
        """Return a memory, or None."""
        record = await self._journal.get(MEMORY, namespace, memory)
        return _decode(record.body) if record else None

    async def find_same(self, memory: Memory) -> Memory | None:
        """Return a memory of its kind and scope that says the same, or None."""
        digest = digest_of(memory)
        record = await self._journal.get(TEXT, memory.namespace, digest) if digest else None
        return await self.find(memory.namespace, MemoryId(record.body.decode())) if record else None

    async def put(self, memory: Memory, changed: Sequence[Memory], more: Sequence[Record]) -> None:
        """Store a new memory, changes of others and further documents, in one transaction. Call it
        while all of them are held.

        Raises Conflict (CONCURRENT_UPDATE) when its name is taken.
        """
        records = [*_records(memory)]
        if digest := digest_of(memory):
            body, now = memory.id.encode(), memory.create_time_ms
            records.append(Record(TEXT, memory.namespace, digest, body, 1, now))
        for other in changed:
            records += _records(other)
        await self._journal.put([*records, *more], expected_revision=0)

    async def delete(self, memory: Memory) -> None:
        """Delete a memory. In this order a crash leaves one that can be deleted again."""
        namespace, digest = memory.namespace, digest_of(memory)
        async with self.hold(namespace, (digest, memory.id)):
            if digest:
                record = await self._journal.get(TEXT, namespace, digest)
                if record is not None and record.body.decode() == memory.id:
                    await self._journal.delete(TEXT, namespace, digest)
            await self._journal.delete(ORDER, namespace, cursor_of(memory))
            await self._journal.delete(MEMORY, namespace, memory.id)

    async def newest(self, namespace: Namespace, after: str) -> AsyncIterator[Memory]:
        """Yield memories with cursors above `after`, newest first."""
        while True:
            records = await self._journal.list_newest(ORDER, namespace, after=after, limit=PAGE)
            for record in records:
                yield _decode(record.body)
            if len(records) < PAGE:
                return
            after = records[-1].id

    async def by_name(self, namespace: Namespace) -> AsyncIterator[Sequence[Memory]]:
        """Yield all memories by the order of their ids, a page at a time."""
        after = ""
        while True:
            records = await self._journal.list_newest(MEMORY, namespace, after=after, limit=PAGE)
            if records:
                yield [_decode(record.body) for record in records]
            if len(records) < PAGE:
                return
            after = records[-1].id

    async def namespaces(self) -> Sequence[Namespace]:
        """Return the namespaces that have memories."""
        return await self._journal.namespaces(MEMORY)


def cursor_of(memory: Memory) -> str:
    """Return a memory's place among the newest."""
    return f"{10**16 - memory.create_time_ms:016d}-{memory.id}"


def digest_of(memory: Memory) -> str:
    """Return what tells that two memories say the same; empty for a kind that is not kept once."""
    if not memory.kind.kept_once:
        return ""
    said = "\0".join((memory.scope, str(memory.kind.value), sameness(memory.text)))
    return hashlib.sha256(said.encode()).hexdigest()


def _records(memory: Memory) -> tuple[Record, Record]:
    namespace, body, now = memory.namespace, _encode(memory), memory.create_time_ms
    return (
        Record(MEMORY, namespace, memory.id, body, 1, now),
        Record(ORDER, namespace, cursor_of(memory), body, 1, now),
    )
