"""What every store of memories promises, whatever holds its vectors."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentd.agent.ids import Namespace
from agentd.agent.memory import Memory, MemoryId, MemoryKind, Vector
from agentd.memory.place import Place
from agentd.memory.store import Store
from agentd.memory.vectors import unit

NAMESPACE = Namespace("default")
OTHER = Namespace("other")
NOW = 1_000_000
SPACE = "three-d"
EAST, NORTH, UP = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)

needs_chroma = pytest.mark.skipif(
    importlib.util.find_spec("chromadb") is None, reason="needs the extra 'chroma'"
)
pytestmark = [
    # Of packages that Chroma imports, which warn about each other.
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(60),
]


@pytest.fixture(params=["sqlite", pytest.param("chroma", marks=needs_chroma)])
def kind(request: pytest.FixtureRequest) -> str:
    """Each of the adapters."""
    return str(request.param)


@asynccontextmanager
async def opened(directory: Path, kind: str) -> AsyncIterator[Store]:
    store = Store(directory, chroma=kind == "chroma")
    try:
        yield store
        assert store.name == kind
    finally:
        await store.close()


def memory(
    id: str,
    text: str = "",
    *,
    namespace: Namespace = NAMESPACE,
    scope: str = "shared",
    kind: MemoryKind = MemoryKind.FACT,
    expire_time_ms: int = 0,
) -> Memory:
    return Memory(namespace, MemoryId(id), kind, scope, text or id, expire_time_ms=expire_time_ms)


async def fill(store: Store, *pairs: tuple[Memory, Vector], space: str = SPACE) -> None:
    await store.put([memory for memory, _ in pairs])
    await store.put_vectors(
        space, [(memory.namespace, memory.id, unit(vector)) for memory, vector in pairs]
    )


def place(
    namespace: Namespace = NAMESPACE, scopes: tuple[str, ...] = (), *kinds: MemoryKind
) -> Place:
    return Place(namespace, NOW, frozenset(scopes), frozenset(kinds))


async def words(store: Store, query: str, where: Place | None = None) -> list[str]:
    return [hit.id for hit in await store.by_words(where or place(), query, 10)]


async def near(
    store: Store, vector: Vector, where: Place | None = None, space: str = SPACE
) -> list[str]:
    return [hit.id for hit in await store.by_vector(where or place(), space, vector, 10)]


async def test_finds_by_words_best_first(tmp_path: Path, kind: str) -> None:
    async with opened(tmp_path, kind) as store:
        await fill(
            store,
            (memory("port", "The deploy port is 8080"), EAST),
            (memory("cafe", "Café orders are deployed by hand, and deploys are slow"), NORTH),
            (memory("cat", "Cats sleep"), UP),
        )
        assert await words(store, "DEPLOYING ports") == ["port", "cafe"]
        assert await words(store, "cafe") == ["cafe"]
        assert await words(store, 'no "such* NEAR( thing') == []
        assert await words(store, "?!") == []


async def test_finds_the_nearest_vectors_in_order(tmp_path: Path, kind: str) -> None:
    async with opened(tmp_path, kind) as store:
        await fill(
            store,
            (memory("e"), EAST),
            (memory("en"), (1.0, 1.0, 0.0)),
            (memory("n"), NORTH),
            (memory("w"), (-1.0, 0.0, 0.0)),
        )
        hits = await store.by_vector(place(), SPACE, EAST, 3)
        assert [hit.id for hit in hits] == ["e", "en", "n"]
        assert [round(hit.similarity, 3) for hit in hits] == [1.0, 0.707, 0.0]


async def test_keeps_to_namespace_scope_and_kind(tmp_path: Path, kind: str) -> None:
    lesson = MemoryKind.LESSON
    async with opened(tmp_path, kind) as store:
        await fill(
            store,
            (memory("mine", "rain"), EAST),
            (memory("theirs", "rain", namespace=OTHER), EAST),
            (memory("team", "rain", scope="team/a"), EAST),
            (memory("lesson", "rain", kind=lesson), EAST),
        )
        for where, found in (
            (place(), {"mine", "team", "lesson"}),
            (place(OTHER), {"theirs"}),
            (place(NAMESPACE, ("team/a",)), {"team"}),
            (place(NAMESPACE, ("team/a", "shared")), {"mine", "team", "lesson"}),
            (place(NAMESPACE, (), lesson), {"lesson"}),
            (place(NAMESPACE, ("shared",), MemoryKind.FACT), {"mine"}),
            (place(NAMESPACE, ("nowhere",)), set()),
            (place(Namespace("empty")), set()),
        ):
            assert set(await words(store, "rain", where)) == found
            assert set(await near(store, EAST, where)) == found


async def test_a_removed_memory_is_found_in_no_way(tmp_path: Path, kind: str) -> None:
    async with opened(tmp_path, kind) as store:
        await fill(store, (memory("a", "rain"), EAST), (memory("b", "rain"), NORTH))
        await store.remove(NAMESPACE, [MemoryId("a"), MemoryId("never")])
        assert await words(store, "rain") == ["b"]
        assert await near(store, EAST) == ["b"]
        assert await store.known(NAMESPACE, "", 10) == ["b"]
        assert await store.count() == await store.count(NAMESPACE) == 1
    async with opened(tmp_path, kind) as store:
        assert await near(store, EAST) == ["b"]


async def test_what_was_removed_leaves_no_word_on_disk(tmp_path: Path, kind: str) -> None:
    async with opened(tmp_path, kind) as store:
        await fill(store, (memory("a", "xylophonist rehearsal"), EAST), (memory("b"), NORTH))
        await store.remove(NAMESPACE, [MemoryId("a")])
        assert await near(store, EAST) == ["b"]
    assert b"xylophon" not in all_bytes(tmp_path)


def all_bytes(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def test_expired_memories_are_not_found_by_words(tmp_path: Path, kind: str) -> None:
    async with opened(tmp_path, kind) as store:
        await fill(
            store,
            (memory("over", "rain", expire_time_ms=NOW), EAST),
            (memory("later", "rain", expire_time_ms=NOW + 1), EAST),
            (memory("never", "rain"), EAST),
        )
        assert set(await words(store, "rain")) == {"later", "never"}
        assert await store.expired(NOW, 10) == [(NAMESPACE, "over")]
        assert await store.expired(NOW + 1, 1) == [(NAMESPACE, "over")]


async def test_a_memory_put_again_loses_its_old_words_and_vector(tmp_path: Path, kind: str) -> None:
    async with opened(tmp_path, kind) as store:
        await fill(store, (memory("a", "rain"), EAST))
        await store.put([memory("a", "snow")])
        assert await words(store, "rain") == []
        assert await words(store, "snow") == ["a"]
        assert await near(store, EAST) == []
        assert await store.without_vector(SPACE, 10) == [(NAMESPACE, "a")]
        assert await store.count() == 1


async def test_vectors_of_another_embedder_are_not_compared(tmp_path: Path, kind: str) -> None:
    async with opened(tmp_path, kind) as store:
        await fill(store, (memory("a"), EAST), (memory("b"), NORTH))
        assert await near(store, EAST) == ["a", "b"]
        assert await store.count_without_vector(SPACE) == 0
        assert await store.count_without_vector("newer") == 2
        assert {name for _, name in await store.without_vector("newer", 10)} == {"a", "b"}
        await store.put_vectors("newer", [(NAMESPACE, MemoryId("a"), (1.0, 0.0))])
        assert await near(store, (1.0, 0.0), space="newer") == ["a"]
        assert await store.without_vector("newer", 10) == [(NAMESPACE, "b")]


async def test_a_vector_of_what_is_not_there_is_left_out(tmp_path: Path, kind: str) -> None:
    async with opened(tmp_path, kind) as store:
        await fill(store, (memory("a"), EAST))
        await store.put_vectors(SPACE, [(NAMESPACE, MemoryId("gone"), NORTH)])
        assert await near(store, NORTH) == ["a"]


async def test_everything_is_there_after_a_restart(tmp_path: Path, kind: str) -> None:
    async with opened(tmp_path, kind) as store:
        await fill(store, (memory("a", "rain"), EAST), (memory("b", namespace=OTHER), EAST))
    async with opened(tmp_path, kind) as store:
        assert await words(store, "rain") == ["a"]
        assert await near(store, EAST) == ["a"]
        assert set(await store.namespaces()) == {NAMESPACE, OTHER}
        assert await store.count(OTHER) == 1
        assert await store.count_without_vector(SPACE) == 0


@pytest.mark.parametrize("damaged", ["index.db", "chroma/chroma.sqlite3"])
async def test_a_damaged_file_is_made_anew(tmp_path: Path, kind: str, damaged: str) -> None:
    async with opened(tmp_path, kind) as store:
        await fill(store, (memory("a", "rain"), EAST))
    path = tmp_path / damaged
    if not path.exists():
        assert kind == "sqlite"  # It has no folder of Chroma's: nothing is damaged.
        return
    for beside in path.parent.glob(f"{path.name}-*"):
        beside.unlink()
    path.write_bytes(b"not a database " * 1000)
    async with opened(tmp_path, kind) as store:
        await store.put([memory("a", "rain")])
        assert await store.without_vector(SPACE, 10) == [(NAMESPACE, "a")]
        await store.put_vectors(SPACE, [(NAMESPACE, MemoryId("a"), EAST)])
        assert await words(store, "rain") == ["a"]
        assert await near(store, EAST) == ["a"]
        assert store.faults == ()


async def test_many_at_once(tmp_path: Path, kind: str) -> None:
    async with opened(tmp_path, kind) as store:

        async def live(number: int) -> None:
            name = f"m{number}"
            await fill(store, (memory(name, f"rain {name}"), (1.0, number / 50, 0.0)))
            assert name in await words(store, name)
            if number % 2:
                await store.remove(NAMESPACE, [MemoryId(name)])

        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(live(number))
        expected = {f"m{number}" for number in range(0, 50, 2)}
        assert set(await store.known(NAMESPACE, "", 100)) == expected
        hits = await store.by_vector(place(), SPACE, EAST, 100)
        assert {hit.id for hit in hits} == expected


async def test_more_than_are_compared_one_by_one(tmp_path: Path, kind: str) -> None:
    """The nearest is found among thousands whose codes must be compared first."""
    async with opened(tmp_path, kind) as store:
        pairs = []
        for number in range(2_000):
            bits = [1.0 if number >> bit & 1 else -1.0 for bit in range(11)]
            pairs.append((memory(f"m{number}"), tuple(bits)))
        await fill(store, *pairs)
        for number in (0, 77, 1_999):
            hits = await store.by_vector(place(), SPACE, unit(pairs[number][1]), 1)
            assert [hit.id for hit in hits] == [f"m{number}"]
