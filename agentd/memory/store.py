"""The store of memories: words in the ledger, vectors in Chroma or beside the words, one thread.

It is an index of what the journal has, and can be made again from that. Words are always there;
what is wrong with the vectors is told, and does not keep words from being found.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, TypeVar

import apsw

from agentd.agent.ids import Namespace
from agentd.agent.memory import Memory, MemoryId, Vector
from agentd.errors import Exhausted, Reason, Unavailable
from agentd.memory.chroma import ChromaVectors
from agentd.memory.ledger import FILE, Ledger, Name
from agentd.memory.place import Hit, Place, Row
from agentd.memory.scanned import ScannedVectors

MAX_WAITING: Final = 1_024
"""Requests that may wait for the thread; more are refused."""
WORK_S: Final = 30.0
"""How long one request may take, its waiting included."""

T = TypeVar("T")


class Vectors(Protocol):
    """What holds vectors."""

    name: str

    def put(self, space: str, rows: Sequence[Row]) -> None:
        """Keep vectors, in place of those of the same names."""

    def remove(self, namespace: Namespace, rows: Sequence[tuple[int, MemoryId]]) -> None:
        """Forget vectors."""

    def nearest(self, space: str, place: Place, vector: Vector, limit: int) -> Sequence[Hit]:
        """Return the memories whose vectors are nearest, the nearest first."""

    def close(self) -> None:
        """Release what is held."""


class Store:
    """The port `MemoryStore` on one directory; in memory without one. Opens its files when they
    are needed."""

    def __init__(self, directory: Path | None, *, chroma: bool = True) -> None:
        self._directory = directory
        self._wants_chroma = chroma and directory is not None
        self._worker = ThreadPoolExecutor(1, "memory")
        self._waiting = 0
        self._ledger: Ledger | None = None
        self._vectors: Vectors | None = None
        self._fault = ""

    @property
    def name(self) -> str:
        """What holds the vectors: `chroma` or `sqlite`; before the first one, what is to."""
        if self._vectors is not None:
            return self._vectors.name
        return ChromaVectors.name if self._wants_chroma else ScannedVectors.name

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the vectors are not where they should be, for people."""
        return (self._fault,) if self._fault else ()

    async def close(self) -> None:
        """Release the files."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._close)
        self._worker.shutdown(wait=False)

    # What there is.

    async def put(self, memories: Sequence[Memory]) -> None:
        """Have words find these, in place of what has their names; their vectors come later."""
        await self._work(lambda: self._put(memories))

    async def remove(self, namespace: Namespace, ids: Sequence[MemoryId]) -> None:
        """Forget memories, those that are not there too. Vectors that cannot be deleted now are
        deleted later, and are not found meanwhile by whoever asks the journal too."""
        await self._work(lambda: self._remove(namespace, ids))

    async def known(self, namespace: Namespace, after: str, limit: int) -> Sequence[MemoryId]:
        """Return the names above `after` that words can find, in order."""
        return await self._look(lambda ledger: ledger.known(namespace, after, limit), ())

    async def namespaces(self) -> Sequence[Namespace]:
        """Return the namespaces of which something is there."""
        return await self._look(lambda ledger: ledger.namespaces(), ())

    async def expired(self, now_ms: int, limit: int) -> Sequence[Name]:
        """Return memories whose time has come."""
        return await self._look(lambda ledger: ledger.expired(now_ms, limit), ())

    async def count(self, namespace: Namespace | None = None) -> int:
        """Return how many memories words can find."""
        return await self._look(lambda ledger: ledger.count(namespace), 0)

    # Vectors.

    async def put_vectors(
        self, embedder: str, vectors: Sequence[tuple[Namespace, MemoryId, Vector]]
    ) -> None:
        """Have vectors find these memories; those that are not there any more are left out."""
        await self._work(lambda: self._put_vectors(embedder, vectors))

    async def without_vector(self, embedder: str, limit: int) -> Sequence[Name]:
        """Return memories that have no vector of this embedder."""
        return await self._look(lambda ledger: self._without(ledger, embedder, limit), ())

    async def count_without_vector(self, embedder: str) -> int:
        """Return how many memories have no vector of this embedder, where vectors are now."""
        return await self._look(lambda ledger: ledger.count_without(self._space(embedder)), 0)

    # Finding.

    async def by_words(self, place: Place, query: str, limit: int) -> Sequence[Hit]:
        """Return memories that share words with the query, the best first."""
        return await self._look(lambda ledger: ledger.by_words(place, query, limit), ())

    async def by_vector(
        self, place: Place, embedder: str, vector: Vector, limit: int
    ) -> Sequence[Hit]:
        """Return the memories whose vectors are nearest, the nearest first."""
        return await self._look(
            lambda ledger: self._by_vector(ledger, place, embedder, vector, limit), ()
        )

    # In the thread.

    async def _work(self, job: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise Exhausted(
                Reason.LIMIT_REACHED,
                f"{MAX_WAITING} requests wait for the memory already",
                metadata={"limit": "memory.waiting", "value": str(MAX_WAITING)},
                retry_after_s=1.0,
            )
        self._waiting += 1
        try:
            async with asyncio.timeout(WORK_S):
                return await asyncio.get_running_loop().run_in_executor(self._worker, job)
        except TimeoutError as error:
            message = f"the memory did not answer in {WORK_S:g} s"
            raise Unavailable(Reason.UNREACHABLE, message) from error
        except (apsw.Error, OSError) as error:
            message = f"the memory's index does not work: {error}"
            raise Unavailable(Reason.UNREACHABLE, message) from error
        finally:
            self._waiting -= 1

    async def _look(self, read: Callable[[Ledger], T], nothing: T) -> T:
        """Read, and make no file for it where nothing was ever stored."""

        def job() -> T:
            directory = self._directory if self._ledger is None else None
            if directory is not None and not (directory / FILE).exists():
                return nothing
            return read(self._open())

        return await self._work(job)

    def _open(self) -> Ledger:
        if self._ledger is None:
            self._ledger = Ledger(self._directory)
        return self._ledger

    def _open_vectors(self) -> Vectors:
        if self._vectors is None:
            ledger = self._open()
            self._vectors = self._open_chroma(ledger) or ScannedVectors(ledger)
        return self._vectors

    def _open_chroma(self, ledger: Ledger) -> Vectors | None:
        if not self._wants_chroma or self._directory is None:
            return None
        try:
            chroma = ChromaVectors(self._directory)
        except Unavailable as error:
            self._fault = f"{error.message}; vectors are scanned instead"
            return None
        if chroma.emptied:
            ledger.unmark()
        return chroma

    def _space(self, embedder: str) -> str:
        return f"{self.name}-{embedder}"

    def _put(self, memories: Sequence[Memory]) -> None:
        # What has the name of another one must not keep that one's vector.
        self._drop_vectors([(memory.namespace, memory.id) for memory in memories])
        self._open().put(memories)

    def _remove(self, namespace: Namespace, ids: Sequence[MemoryId]) -> None:
        self._drop_vectors([(namespace, memory) for memory in ids])
        self._open().remove(namespace, ids)

    def _drop_vectors(self, names: Sequence[Name]) -> None:
        """Delete the vectors of memories that are there."""
        ledger = self._open()
        for name, (key, _, _) in ledger.places(names).items():
            namespace, memory = name
            try:
                self._open_vectors().remove(namespace, [(key, memory)])
            except Unavailable:
                ledger.orphan([name])

    def _drop_orphans(self, ledger: Ledger) -> None:
        """Delete the vectors that could not be deleted before. Raises Unavailable."""
        for name in ledger.orphans(MAX_WAITING):
            namespace, memory = name
            if not ledger.places([name]):
                self._open_vectors().remove(namespace, [(0, memory)])
            ledger.bury([name])

    def _put_vectors(
        self, embedder: str, items: Sequence[tuple[Namespace, MemoryId, Vector]]
    ) -> None:
        ledger, vectors = self._open(), self._open_vectors()
        space = self._space(embedder)
        places = ledger.places([(namespace, memory) for namespace, memory, _ in items])
        rows = []
        for namespace, memory, vector in items:
            if (namespace, memory) in places:
                key, scope, kind = places[namespace, memory]
                rows.append(Row(key, namespace, memory, scope, kind, vector))
        with ledger.transaction():
            vectors.put(space, rows)
            ledger.mark([row.key for row in rows], space)

    def _without(self, ledger: Ledger, embedder: str, limit: int) -> Sequence[Name]:
        if ledger.count():
            self._open_vectors()  # Which decides what the space is called.
        self._drop_orphans(ledger)
        return ledger.without(self._space(embedder), limit)

    def _by_vector(
        self, ledger: Ledger, place: Place, embedder: str, vector: Vector, limit: int
    ) -> Sequence[Hit]:
        if not ledger.count(place.namespace):
            return ()
        vectors = self._open_vectors()
        return vectors.nearest(self._space(embedder), place, vector, limit)

    def _close(self) -> None:
        if self._vectors is not None:
            self._vectors.close()
        if self._ledger is not None:
            self._ledger.close()
        self._vectors = self._ledger = None
