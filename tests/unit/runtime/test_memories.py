"""Memories: what is kept once, what takes the place of what, what is forgotten, and how the index
follows the journal whatever happens to it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentd.agent.ids import DEFAULT_NAMESPACE, Namespace, RunId
from agentd.agent.memory import Memory, MemoryId, MemoryKind, Vector
from agentd.agent.permission import Labels
from agentd.errors import (
    AgentdError,
    AlreadyExists,
    Conflict,
    Denied,
    Exhausted,
    InvalidRequest,
    NotFound,
    Reason,
    Unavailable,
)
from agentd.memory.hashing import HashedNgrams
from agentd.memory.place import Hit
from agentd.memory.store import Store
from agentd.runtime.claims import RequestClaims
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.memories import Memories, MemoryLimits, MemoryParts
from agentd.runtime.shelving import MEMORY, ORDER, TEXT, MemoryQuery
from agentd.runtime.system import SystemEntropy
from tests.fakes.runs import FixedClock

OTHER = Namespace("other")
NOW = 1_000_000
DAY_MS = 86_400_000


@dataclass
class Fragile:
    """An embedder that answers or not, as it is told."""

    works: bool = True
    name: str = "hashed-ngrams"
    lexical: bool = True
    floor: float = HashedNgrams.floor

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        if not self.works:
            raise Unavailable(Reason.UNREACHABLE, "the embedder is away")
        return await HashedNgrams().embed(texts)

    async def close(self) -> None:
        """Hold nothing."""


@dataclass
class Home:
    """Memories and what is behind them."""

    memories: Memories
    journal: SqliteJournal
    store: Store
    clock: FixedClock
    embedder: Fragile

    async def remember(self, text: str, **fields: Any) -> Memory:
        return (await self.create(text, **fields))[0]

    async def create(
        self, text: str, *, request_id: str = "", **fields: Any
    ) -> tuple[Memory, bool]:
        values: dict[str, Any] = {
            "namespace": DEFAULT_NAMESPACE,
            "id": MemoryId(""),
            "kind": MemoryKind.FACT,
            "scope": "",
            **fields,
        }
        return await self.memories.create(Memory(text=text, **values), request_id=request_id)

    async def found(self, text: str, **query: Any) -> list[str]:
        wanted = MemoryQuery(**{"namespace": DEFAULT_NAMESPACE, **query})
        recall = await self.memories.search(wanted, text, limit=10)
        return [match.memory.text for match in recall.matches]

    async def listed(self, **query: Any) -> list[str]:
        wanted = MemoryQuery(**{"namespace": DEFAULT_NAMESPACE, **query})
        return [each.text for each in await self.memories.list(wanted, after="", limit=100)]


@asynccontextmanager
async def opened(
    directory: Path, *, limits: MemoryLimits | None = None, upkeep: bool = True, **fields: Any
) -> AsyncIterator[Home]:
    clock = FixedClock(fields.pop("now_ms", NOW))
    journal = await SqliteJournal.open(directory, clock)
    store, embedder = Store(directory / "memory", chroma=False), Fragile()
    memories = Memories(
        journal,
        clock,
        SystemEntropy(),
        RequestClaims(journal, clock),
        MemoryParts(store, embedder, limits or MemoryLimits()),
        redact=fields.pop("redact", None),
    )
    home = Home(memories, journal, store, clock, embedder)
    try:
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(memories.keep() if upkeep else asyncio.sleep(0))
            yield home
            keeper.cancel()
    finally:
        await store.close()
        await journal.close()


@asynccontextmanager
async def failing(kind: type[AgentdError], reason: Reason) -> AsyncIterator[AgentdError]:
    error = kind(reason, "")
    with pytest.raises(kind) as caught:
        yield error
    assert caught.value.reason is reason


async def test_what_is_remembered_has_all_that_the_daemon_knows(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        made = await home.remember(
            "It rains", source_run=RunId("r1"), labels=Labels(untrusted=True)
        )
        assert made.id.startswith("m")
        assert made == await home.memories.get(DEFAULT_NAMESPACE, made.id)
        assert (made.scope, made.create_time_ms, made.expire_time_ms) == ("shared", NOW, 0)
        assert (made.source_run, made.labels.untrusted) == ("r1", True)
        async with failing(NotFound, Reason.MEMORY_NOT_FOUND):
            await home.memories.get(OTHER, made.id)


@pytest.mark.parametrize(
    ("first", "second", "once"),
    [
        ("The port is 80.", "the port is 80", True),
        ("The port is 80", "The port is 81", False),
    ],
)
async def test_a_fact_is_kept_once(tmp_path: Path, first: str, second: str, once: bool) -> None:
    async with opened(tmp_path) as home:
        made = await home.remember(first)
        again, existed = await home.create(second)
        assert (again.id == made.id, existed) == (once, once)
        assert len(await home.listed()) == (1 if once else 2)


async def test_what_is_not_the_same_is_kept_beside(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        for fields in (
            {},
            {"scope": "team/a"},
            {"kind": MemoryKind.LESSON},
            {"kind": MemoryKind.EPISODE},
            {"kind": MemoryKind.EPISODE},
            {"namespace": OTHER},
        ):
            assert (await home.create("It rains", **fields))[1] is False
        assert len(await home.listed()) == 5


async def test_many_at_once_make_one_fact(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        made: list[Memory] = []

        async def remember() -> None:
            made.append(await home.remember("It rains"))

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(remember())
        assert len({memory.id for memory in made}) == 1
        assert await home.listed() == await home.found("rains") == ["It rains"]


async def test_what_contradicts_supersedes_and_history_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        old = await home.remember("The port is 80")
        [near] = await home.memories.near(replace_text(old, "The port is 81"))
        assert near.memory.id == old.id
        new = await home.remember("The port is 81", supersedes=(old.id,))
        assert await home.found("port") == await home.listed() == ["The port is 81"]
        assert len(await home.listed(include_superseded=True)) == 2
        past = await home.memories.get(DEFAULT_NAMESPACE, old.id)
        assert (past.superseded_by, past.text) == (new.id, "The port is 80")
        # What no longer holds may hold again.
        third, existed = await home.create("The port is 80", supersedes=(new.id,))
        assert not existed
        assert await home.found("port") == ["The port is 80"]
        assert third.id != old.id


def replace_text(memory: Memory, text: str) -> Memory:
    return msgspec.structs.replace(memory, id=MemoryId(""), text=text)


async def test_refuses_to_supersede(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        old = await home.remember("The port is 80")
        async with failing(NotFound, Reason.MEMORY_NOT_FOUND):
            await home.remember("x", supersedes=(MemoryId("none"),))
        async with failing(InvalidRequest, Reason.INVALID_FIELD):
            await home.remember("x", scope="elsewhere", supersedes=(old.id,))
        async with failing(Denied, Reason.PERMISSION_DENIED):
            await home.remember("x", labels=Labels(untrusted=True), supersedes=(old.id,))
        await home.remember("y", supersedes=(old.id,))
        async with failing(Conflict, Reason.CONCURRENT_UPDATE):
            await home.remember("z", supersedes=(old.id,))
        assert await home.listed() == ["y"]


async def test_only_one_of_two_takes_a_place(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        old = await home.remember("The port is 80")
        refused = 0

        async def supersede(text: str) -> None:
            nonlocal refused
            try:
                await home.remember(text, supersedes=(old.id,))
            except Conflict:
                refused += 1

        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(supersede(f"The port is {number}"))
        assert refused == 4
        assert len(await home.listed()) == 1


async def test_a_request_is_repeated_with_the_first_answer(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        episode = MemoryKind.EPISODE
        made, _ = await home.create("It rained", kind=episode, request_id="r")
        again, existed = await home.create("It rained", kind=episode, request_id="r")
        assert (again, existed) == (made, True)
        async with failing(InvalidRequest, Reason.REQUEST_ID_REUSED):
            await home.create("It snowed", kind=episode, request_id="r")
        assert await home.listed() == ["It rained"]


@pytest.mark.parametrize(
    ("fields", "kind", "reason"),
    [
        ({"text": " "}, InvalidRequest, Reason.INVALID_FIELD),
        ({"text": "x" * 101}, InvalidRequest, Reason.INVALID_FIELD),
        ({"scope": "a*"}, InvalidRequest, Reason.INVALID_FIELD),
        ({"expire_time_ms": NOW}, InvalidRequest, Reason.INVALID_FIELD),
        ({"id": MemoryId("taken")}, AlreadyExists, Reason.NAME_TAKEN),
        ({"supersedes": (MemoryId("m"),) * 65}, InvalidRequest, Reason.INVALID_FIELD),
    ],
)
async def test_refuses(
    tmp_path: Path, fields: dict[str, Any], kind: type[AgentdError], reason: Reason
) -> None:
    async with opened(tmp_path, limits=MemoryLimits(max_text_bytes=100)) as home:
        await home.remember("first", id=MemoryId("taken"))
        async with failing(kind, reason):
            await home.remember(**{"text": "second", **fields})
        assert await home.listed() == ["first"]


async def test_a_namespace_has_so_much_room(tmp_path: Path) -> None:
    async with opened(tmp_path, limits=MemoryLimits(max_memories=2)) as home:
        made = await home.remember("one")
        await home.remember("two")
        async with failing(Exhausted, Reason.LIMIT_REACHED):
            await home.remember("three")
        await home.remember("elsewhere", namespace=OTHER)
        await home.memories.delete(DEFAULT_NAMESPACE, made.id)
        await home.remember("three")


async def test_secrets_are_not_remembered(tmp_path: Path) -> None:
    def redact(text: str) -> str:
        return text.replace("hunter2", "[secret]")

    async with opened(tmp_path, redact=redact) as home:
        await home.remember("The password is hunter2")
        assert await home.listed() == ["The password is [secret]"]
        assert await home.found("hunter2") == []


async def test_what_was_deleted_is_gone_from_everything(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        made = await home.remember("It rains")
        await home.memories.delete(DEFAULT_NAMESPACE, made.id)
        assert await home.found("rains") == await home.listed() == []
        assert await home.store.count() == 0
        async with failing(NotFound, Reason.MEMORY_NOT_FOUND):
            await home.memories.delete(DEFAULT_NAMESPACE, made.id)
        for kind in (MEMORY, ORDER, TEXT):
            assert not await home.journal.list_newest(kind, DEFAULT_NAMESPACE, after="", limit=9)
        assert (await home.create("It rains"))[1] is False


async def test_a_working_memory_is_forgotten_by_itself(tmp_path: Path) -> None:
    async with opened(tmp_path, limits=MemoryLimits(working_ttl_ms=500)) as home:
        made = await home.remember("Step three", kind=MemoryKind.WORKING)
        await home.remember("For ever")
        assert made.expire_time_ms == NOW + 500
        assert await home.found("step") == ["Step three"]
        home.clock.time_ms += 500
        assert await home.found("step") == []
        assert await home.listed() == ["For ever"]
        async with failing(NotFound, Reason.MEMORY_NOT_FOUND):
            await home.memories.get(DEFAULT_NAMESPACE, made.id)
    async with opened(tmp_path, now_ms=NOW + 500) as home:
        await home.memories._indexing.catch_up()
        assert await home.journal.get(MEMORY, DEFAULT_NAMESPACE, made.id) is None
        assert await home.store.count() == 1


async def test_history_is_forgotten_by_itself_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        old = await home.remember("The port is 80", expire_time_ms=NOW + 500)
        await home.remember("The port is 81", supersedes=(old.id,))
    async with opened(tmp_path, now_ms=NOW + 500, upkeep=False) as home:
        await home.memories._indexing.catch_up()
        assert await home.journal.get(MEMORY, DEFAULT_NAMESPACE, old.id) is None
        assert await home.listed(include_superseded=True) == ["The port is 81"]


async def test_what_is_over_is_not_recalled_whatever_the_index_says(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        made = await home.remember("It rains", expire_time_ms=NOW + 500)
        old = await home.remember("It pours")
        await home.remember("It drips", supersedes=(old.id,))

        async def everything(*_: object) -> Sequence[Hit]:
            return [Hit(made.id, 0.9), Hit(old.id, 0.9), Hit(MemoryId("gone"), 0.9)]

        home.store.by_vector = everything  # type: ignore[assignment]
        assert await home.found("rains") == ["It rains"]
        home.clock.time_ms += 500
        assert await home.found("rains") == []


async def test_lists_newest_first_in_pages(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        for number in range(7):
            home.clock.time_ms += 1
            await home.remember(f"fact {number}", scope="even" if number % 2 == 0 else "odd")
        query = MemoryQuery(DEFAULT_NAMESPACE, ("even",))
        first = await home.memories.list(query, after="", limit=3)
        assert [memory.text for memory in first] == ["fact 6", "fact 4", "fact 2"]
        after = home.memories.cursor_of(first[-1])
        rest = await home.memories.list(query, after=after, limit=3)
        assert [memory.text for memory in rest] == ["fact 0"]


# The index and the journal.


async def test_an_index_that_was_lost_is_made_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        old = await home.remember("The port is 80")
        await home.remember("The port is 81", supersedes=(old.id,))
        await home.remember("Cats sleep", namespace=OTHER)
    shutil.rmtree(tmp_path / "memory")
    async with opened(tmp_path) as home:
        await home.memories._indexing.catch_up()
        recall = await home.memories.search(MemoryQuery(DEFAULT_NAMESPACE), "port", limit=5)
        [match] = recall.matches
        assert (match.memory.text, match.vector_rank, match.word_rank) == ("The port is 81", 1, 1)
        assert recall.method.faults == ()
        assert await home.store.count() == 2


async def test_what_a_crash_left_between_journal_and_index_is_put_right(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        gone = await home.remember("Gone")
        await home.remember("Stays")
        # As if the daemon had died after the journal's part of a deletion, and of a creation.
        await home.journal.delete(MEMORY, DEFAULT_NAMESPACE, gone.id)
        lost = await home.remember("Lost to the index")
        await home.store.remove(DEFAULT_NAMESPACE, [lost.id])
        assert await home.found("gone") == []
    async with opened(tmp_path) as home:
        await home.memories._indexing.catch_up()
        assert await home.found("index") == ["Lost to the index"]
        assert set(await home.store.known(DEFAULT_NAMESPACE, "", 9)) != set()
        assert gone.id not in await home.store.known(DEFAULT_NAMESPACE, "", 9)


async def test_an_index_of_many_is_compared_page_by_page(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        async with asyncio.TaskGroup() as group:
            for number in range(1_100):
                name = MemoryId(f"m{number:04d}")
                group.create_task(home.remember(f"fact number {number}", id=name))
        for number in range(0, 1_100, 7):
            await home.store.remove(DEFAULT_NAMESPACE, [MemoryId(f"m{number:04d}")])
        stray = Memory(DEFAULT_NAMESPACE, MemoryId("m0500x"), MemoryKind.FACT, "shared", "stray")
        await home.store.put([stray, msgspec.structs.replace(stray, id=MemoryId("zz"))])
        [vector] = await home.embedder.embed(["stray"])
        await home.store.put_vectors(
            home.embedder.name,
            [(DEFAULT_NAMESPACE, MemoryId(name), vector) for name in ("m0500x", "zz")],
        )
    async with opened(tmp_path) as home:
        await home.memories._indexing.catch_up()
        known = await home.store.known(DEFAULT_NAMESPACE, "", 2_000)
        assert known == [f"m{number:04d}" for number in range(1_100)]


async def test_without_its_embedder_words_are_found_and_vectors_come_later(tmp_path: Path) -> None:
    async with opened(tmp_path, upkeep=False) as home:
        home.embedder.works = False
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(home.memories.keep())
            await home.remember("It rains")
            recall = await home.memories.search(MemoryQuery(DEFAULT_NAMESPACE), "rains", limit=5)
            assert [match.memory.text for match in recall.matches] == ["It rains"]
            assert recall.method.faults == ("the embedder is away",)
            assert (recall.method.store, recall.method.embedder) == ("", "")
            status = await home.memories.status()
            assert (status.indexed_count, status.pending_count) == (1, 1)
            assert status.faults == ("the embedder is away",)
            keeper.cancel()
    async with opened(tmp_path) as home:
        await home.memories._indexing.catch_up()
        recall = await home.memories.search(MemoryQuery(DEFAULT_NAMESPACE), "rains", limit=5)
        assert recall.matches[0].vector_rank == 1


async def test_without_its_store_runs_go_on_and_are_told(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("not a folder")
    async with opened(tmp_path) as home:
        made = await home.remember("It rains")
        assert await home.listed() == ["It rains"]
        recall = await home.memories.search(MemoryQuery(DEFAULT_NAMESPACE), "rains", limit=5)
        assert recall.matches == ()
        assert recall.method.faults
        await home.memories.delete(DEFAULT_NAMESPACE, made.id)
        assert await home.listed() == []


async def test_a_caller_that_goes_away_leaves_the_index_to_upkeep(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        entered = asyncio.Event()
        real = home.store.put

        async def stuck(_: Sequence[Memory]) -> None:
            entered.set()
            await asyncio.Event().wait()

        home.store.put = stuck  # type: ignore[assignment]
        async with asyncio.TaskGroup() as group:
            task = group.create_task(home.remember("It rains"))
            await entered.wait()
            task.cancel()
        home.store.put = real  # type: ignore[method-assign]
        assert await home.found("rains") == []
        await home.memories._indexing.catch_up()
        assert await home.found("rains") == ["It rains"]


async def test_nothing_is_made_on_disk_without_memories(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        assert await home.found("anything") == []
        await home.memories.status()
    assert not (tmp_path / "memory").exists()


async def test_without_its_vectors_recall_goes_on_and_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        await home.remember("It rains")

        async def broken(*_: object) -> Sequence[Hit]:
            raise Unavailable(Reason.UNREACHABLE, "chroma cannot be searched")

        home.store.by_vector = broken  # type: ignore[assignment]
        recall = await home.memories.search(MemoryQuery(DEFAULT_NAMESPACE), "rains", limit=5)
        assert [match.why for match in recall.matches] == ["words #1"]
        assert recall.method.faults == ("chroma cannot be searched",)
