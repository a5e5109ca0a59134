"""Keep the index of memories like the journal: after a crash, after a fault, and as time passes."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from agentd.agent.ids import Namespace
from agentd.agent.memory import Memory, MemoryId, MemoryStatus
from agentd.errors import AgentdError
from agentd.log import get_logger
from agentd.runtime.ports import Clock, Embedder, MemoryStore
from agentd.runtime.shelving import Shelf

BATCH: Final = 64
"""Vectors that are made at a time: some 100 ms of a core with MiniLM."""
SWEEP: Final = 500
"""Memories that one sweep forgets at most."""
SWEEP_S: Final = 30.0
STATUS_AGE_S: Final = 1.0
STATUS_S: Final = 0.5
MAX_OWED: Final = 10_000
"""Beyond this the whole index is compared with the journal."""
READY_S: Final = 5.0
"""How long a search waits for an index that is being compared with the journal."""
EMBED_S: Final = 5.0
"""How long a memory's own vector is waited for when it is written; it is made later otherwise."""

_log = get_logger()


class Indexing:
    """Writes the index. What fails here is told, and tried again: the journal has everything."""

    def __init__(self, shelf: Shelf, store: MemoryStore, embedder: Embedder, clock: Clock) -> None:
        self._shelf = shelf
        self._store = store
        self._embedder = embedder
        self._clock = clock
        self._ready = asyncio.Event()
        self._owed: set[tuple[Namespace, MemoryId]] = set()
        """What the index may say wrongly: a write of it failed, or its caller went away."""
        self._fault = ""
        self._counts = 0, 0
        """How many memories words find, and how many of them vectors do not find."""
        self._stale_at = 0.0

    async def add(self, memory: Memory, gone: Sequence[MemoryId] = ()) -> None:
        """Index a memory that is stored, and take out those that it supersedes."""
        owed = self._owe(memory.namespace, (memory.id, *gone))
        try:
            if gone:
                await self._store.remove(memory.namespace, gone)
            await self._store.put([memory])
            self._owed -= owed
            async with asyncio.timeout(EMBED_S):
                [vector] = await self._embedder.embed([memory.text])
            await self._store.put_vectors(
                self._embedder.name, [(memory.namespace, memory.id, vector)]
            )
        except (AgentdError, TimeoutError) as error:
            self._failed(error)

    async def drop(self, namespace: Namespace, ids: Sequence[MemoryId]) -> None:
        """Take out memories that were deleted."""
        owed = self._owe(namespace, ids)
        try:
            await self._store.remove(namespace, ids)
            self._owed -= owed
        except AgentdError as error:
            self._failed(error)

    async def count(self, namespace: Namespace) -> int:
        """Return how many memories of a namespace can be found; 0 when the index does not work."""
        try:
            return await self._store.count(namespace)
        except AgentdError as error:
            self._failed(error)
            return 0

    async def settled(self) -> Sequence[str]:
        """Wait until the index is like the journal; return why it is not, for people."""
        if not self._ready.is_set():
            try:
                async with asyncio.timeout(READY_S):
                    await self._ready.wait()
            except TimeoutError:
                return ("the index is still being made: some memories may be missing",)
        if self._fault and self._owed:
            return (f"the newest memories may be missing: {self._fault}",)
        return ()

    async def status(self) -> MemoryStatus:
        """Return how the memory stands, as of a second ago at most. A store that is busy is not
        waited for: then the counts are those of before."""
        now = asyncio.get_running_loop().time()
        if now >= self._stale_at:
            self._stale_at = now + STATUS_AGE_S  # First: others that ask meanwhile do not wait.
            try:
                async with asyncio.timeout(STATUS_S):
                    indexed = await self._store.count()
                    pending = await self._store.count_without_vector(self._embedder.name)
                self._counts = indexed, pending
            except (AgentdError, TimeoutError) as error:
                self._fault = str(error) or self._fault
        embedder = self._embedder
        faults = dict.fromkeys((*self._store.faults, *((self._fault,) if self._fault else ())))
        return MemoryStatus(
            self._store.name, embedder.name, embedder.lexical, *self._counts, tuple(faults)
        )

    async def keep(self) -> None:
        """Catch up with the journal again and again, until cancelled."""
        while True:
            await self.catch_up()
            await asyncio.sleep(SWEEP_S)

    async def catch_up(self) -> None:
        """Compare the index with the journal if that was not done, write what is owed, make what
        vectors are missing and forget what is over."""
        try:
            if not self._ready.is_set():
                await self._rebuild()
                self._ready.set()
            await self._settle()
            while await self._forget_expired() or await self._embed_missing():
                pass
            if not self._owed:  # A write may have failed meanwhile.
                self._fault = ""
        except AgentdError as error:
            self._failed(error)

    def _owe(
        self, namespace: Namespace, ids: Iterable[MemoryId]
    ) -> set[tuple[Namespace, MemoryId]]:
        """Take note of what is to be written, before it is tried."""
        if len(self._owed) > MAX_OWED:
            self._owed.clear()
            self._ready.clear()
        owed = {(namespace, name) for name in ids}
        self._owed |= owed
        return owed

    async def _settle(self) -> None:
        """Write what is owed, as the journal has it now."""
        for namespace, name in tuple(self._owed):
            memory = await self._shelf.find(namespace, name)
            if memory is None or memory.superseded_by or memory.is_over(self._clock.now_ms()):
                await self._store.remove(namespace, [name])
            else:
                await self._store.put([memory])
            self._owed.discard((namespace, name))

    def _failed(self, error: BaseException) -> None:
        self._fault = str(error) or "the embedder did not answer in time"
        _log.warning("memory_index_behind", error=self._fault)

    async def _rebuild(self) -> None:
        """Make what the index has the same as what the journal has."""
        there = await self._shelf.namespaces()
        known = await self._store.namespaces()
        for namespace in {*there, *known}:
            await self._compare(namespace)

    async def _compare(self, namespace: Namespace) -> None:
        """Walk over both in the order of their names."""
        now, after = self._clock.now_ms(), MemoryId("")
        async for page in self._shelf.by_name(namespace):
            last = page[-1].id
            indexed = await self._known(namespace, after, last)
            wanted = {}
            for memory in page:
                if memory.is_over(now):  # What was superseded is in no index, and is over too.
                    await self._shelf.delete(memory)
                elif memory.superseded_by is None:
                    wanted[memory.id] = memory
            await self._store.remove(namespace, [each for each in indexed if each not in wanted])
            missing = wanted.keys() - set(indexed)
            await self._store.put([wanted[name] for name in sorted(missing)])
            after = last
        if extra := await self._known(namespace, after, None):
            await self._store.remove(namespace, extra)

    async def _known(
        self, namespace: Namespace, after: str, last: MemoryId | None
    ) -> list[MemoryId]:
        """Return the names in the index above `after` and up to `last`."""
        found: list[MemoryId] = []
        while page := await self._store.known(namespace, after, SWEEP):
            found += [name for name in page if last is None or name <= last]
            if last is not None and page[-1] > last:
                break
            after = page[-1]
        return found

    async def _embed_missing(self) -> bool:
        """Make some of the missing vectors; return whether there were any."""
        names = await self._store.without_vector(self._embedder.name, BATCH)
        found = [await self._shelf.find(namespace, memory) for namespace, memory in names]
        memories = [memory for memory in found if memory is not None]
        for (namespace, name), memory in zip(names, found, strict=True):
            if memory is None:
                await self._store.remove(namespace, [name])
        if memories:
            vectors = await self._embedder.embed([memory.text for memory in memories])
            await self._store.put_vectors(
                self._embedder.name,
                [
                    (memory.namespace, memory.id, vector)
                    for memory, vector in zip(memories, vectors, strict=True)
                ],
            )
        return bool(names)

    async def _forget_expired(self) -> bool:
        """Delete some of the memories whose time has come; return whether there were any."""
        now = self._clock.now_ms()
        names = await self._store.expired(now, SWEEP)
        for namespace, name in names:
            memory = await self._shelf.find(namespace, name)
            if memory is not None and memory.is_over(now):
                await self._shelf.delete(memory)
            await self._store.remove(namespace, [name])
        return bool(names)
