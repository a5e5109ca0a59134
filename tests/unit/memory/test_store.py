"""A store whose vectors fail: words are found all the same, and nothing deleted stays behind."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from agentd.agent.ids import DEFAULT_NAMESPACE, Namespace
from agentd.agent.memory import Memory, MemoryId, MemoryKind, Vector
from agentd.errors import Reason, Unavailable
from agentd.memory.place import Hit, Place, Row
from agentd.memory.store import Store, Vectors

PLACE = Place(DEFAULT_NAMESPACE, 1)
SPACE = "two-d"
EAST: Vector = (1.0, 0.0)


@dataclass
class Faulty:
    """Vectors that work or not, as they are told."""

    within: Vectors
    works: bool = True
    removed: list[str] = field(default_factory=list)
    name: str = "sqlite"

    def put(self, space: str, rows: Sequence[Row]) -> None:
        self._check()
        self.within.put(space, rows)

    def remove(self, namespace: Namespace, rows: Sequence[tuple[int, MemoryId]]) -> None:
        self._check()
        self.removed += [name for _, name in rows]
        self.within.remove(namespace, rows)

    def nearest(self, space: str, place: Place, vector: Vector, limit: int) -> Sequence[Hit]:
        self._check()
        return self.within.nearest(space, place, vector, limit)

    def close(self) -> None:
        self.within.close()

    def _check(self) -> None:
        if not self.works:
            raise Unavailable(Reason.UNREACHABLE, "the vectors are away")


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    made = Store(None)
    try:
        yield made
    finally:
        await made.close()


async def faulty(store: Store, *names: str) -> Faulty:
    """Fill a store with memories and their vectors, and return what breaks them."""
    await store.put([memory(name) for name in names])
    await store.put_vectors(SPACE, [(DEFAULT_NAMESPACE, MemoryId(name), EAST) for name in names])
    assert store._vectors is not None
    store._vectors = made = Faulty(store._vectors)
    return made


def memory(name: str) -> Memory:
    return Memory(DEFAULT_NAMESPACE, MemoryId(name), MemoryKind.FACT, "shared", f"rain {name}")


async def test_words_are_found_without_vectors(store: Store) -> None:
    vectors = await faulty(store, "a")
    vectors.works = False
    assert [hit.id for hit in await store.by_words(PLACE, "rain", 9)] == ["a"]
    with pytest.raises(Unavailable, match="away"):
        await store.by_vector(PLACE, SPACE, EAST, 9)


async def test_what_could_not_be_deleted_is_deleted_later(store: Store) -> None:
    vectors = await faulty(store, "a", "b")
    vectors.works = False
    await store.remove(DEFAULT_NAMESPACE, [MemoryId("a")])
    assert [hit.id for hit in await store.by_words(PLACE, "rain", 9)] == ["b"]
    assert await store.count() == 1
    with pytest.raises(Unavailable):
        await store.without_vector(SPACE, 9)
    vectors.works = True
    assert await store.without_vector(SPACE, 9) == []
    assert vectors.removed == ["a"]
    await store.without_vector(SPACE, 9)
    assert vectors.removed == ["a"]


async def test_what_came_back_meanwhile_keeps_its_vector(store: Store) -> None:
    vectors = await faulty(store, "a")
    vectors.works = False
    await store.remove(DEFAULT_NAMESPACE, [MemoryId("a")])
    await store.put([memory("a")])
    vectors.works = True
    await store.put_vectors(SPACE, [(DEFAULT_NAMESPACE, MemoryId("a"), EAST)])
    assert await store.without_vector(SPACE, 9) == []
    assert [hit.id for hit in await store.by_vector(PLACE, SPACE, EAST, 9)] == ["a"]
    assert vectors.removed == []


async def test_a_vector_that_was_not_written_is_still_missing(store: Store) -> None:
    vectors = await faulty(store, "a")
    await store.put([memory("b")])
    vectors.works = False
    with pytest.raises(Unavailable):
        await store.put_vectors(SPACE, [(DEFAULT_NAMESPACE, MemoryId("b"), EAST)])
    assert await store.count_without_vector(SPACE) == 1
