"""Memories cross the contract unharmed; what the contract forbids is refused by field."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from agentd.errors import AlreadyExists, NotFound, Reason
from agentd.v1 import memory_pb2, system_service_pb2
from agentd.v1 import memory_service_pb2 as pb
from agentd.v1.memory_pb2 import MemoryKind
from tests.unit.services.house import CALLER, STRANGER, House, failing, house, refused

FACT, LESSON = MemoryKind.MEMORY_KIND_FACT, MemoryKind.MEMORY_KIND_LESSON


def creation(**fields: Any) -> pb.CreateMemoryRequest:
    request_id = fields.pop("request_id", "")
    memory = memory_pb2.Memory(**{"kind": FACT, "text": "It rains", **fields})
    return pb.CreateMemoryRequest(memory=memory, request_id=request_id)


async def create(home: House, **fields: Any) -> memory_pb2.Memory:
    return (await home.memories.CreateMemory(creation(**fields), CALLER)).memory


async def test_creates_and_returns(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        old = await create(home, text="It snows", scope="team/a")
        created = await create(
            home,
            name="memories/rain",
            scope="team/a",
            source_run="runs/r1",
            source_revision=77,
            expire_time=Timestamp(seconds=4_000_000_000, nanos=5_000_000),
            create_time=Timestamp(seconds=1),
            supersedes=[old.name],
            superseded_by="memories/nonsense",
            private=True,
        )
        assert created == memory_pb2.Memory(
            name="memories/rain",
            kind=FACT,
            scope="team/a",
            text="It rains",
            source_run="runs/r1",
            create_time=created.create_time,
            expire_time=Timestamp(seconds=4_000_000_000, nanos=5_000_000),
            supersedes=[old.name],
            private=True,
        )
        assert created.create_time.seconds > 1
        got = await home.memories.GetMemory(pb.GetMemoryRequest(name="memories/rain"), CALLER)
        assert got.memory == created
        past = await home.memories.GetMemory(pb.GetMemoryRequest(name=old.name), CALLER)
        assert past.memory.superseded_by == "memories/rain"
        async with failing(NotFound, Reason.MEMORY_NOT_FOUND):
            await home.memories.GetMemory(pb.GetMemoryRequest(name="memories/rain"), STRANGER)
        async with failing(AlreadyExists, Reason.NAME_TAKEN):
            await create(home, name="memories/rain", text="other")


async def test_says_that_it_was_known(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        first = await home.memories.CreateMemory(creation(), CALLER)
        again = await home.memories.CreateMemory(creation(text="It RAINS!"), CALLER)
        assert (first.existed, again.existed) == (False, True)
        assert again.memory == first.memory


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"text": ""}, "memory.text"),
        ({"text": "x" * 32_769}, "memory.text"),
        ({"kind": 0}, "memory.kind"),
        ({"kind": 99}, "memory.kind"),
        ({"name": "rain"}, "memory.name"),
        ({"scope": "a b"}, "memory.scope"),
        ({"scope": "*"}, "memory.scope"),
        ({"source_run": "r1"}, "memory.source_run"),
        ({"supersedes": ["memories/a", "b"]}, "memory.supersedes[1]"),
        ({"expire_time": Timestamp(seconds=5)}, "memory.expire_time"),
        ({"expire_time": Timestamp(nanos=-1)}, "memory.expire_time"),
        ({"request_id": "x" * 129}, "request_id"),
    ],
)
async def test_refuses_to_create(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    async with house(tmp_path) as home, refused(field):
        await home.memories.CreateMemory(creation(**fields), CALLER)


async def test_refuses_to_create_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as home, refused("memory"):
        await home.memories.CreateMemory(pb.CreateMemoryRequest(), CALLER)


async def test_lists_in_pages(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        names = [
            (await create(home, text=f"fact {number}", scope="a", kind=LESSON)).name
            for number in range(5)
        ]
        await create(home)
        found: list[str] = []
        request = pb.ListMemoriesRequest(scope="a", kinds=[LESSON], page_size=2)
        while True:
            answer = await home.memories.ListMemories(request, CALLER)
            found += [memory.name for memory in answer.memories]
            if not answer.next_page_token:
                break
            request.page_token = answer.next_page_token
        assert sorted(found) == sorted(names)
        first = await home.memories.ListMemories(pb.ListMemoriesRequest(page_size=1), CALLER)
        async with refused("page_token"):
            await home.memories.ListMemories(
                pb.ListMemoriesRequest(page_token=first.next_page_token, scope="a"), CALLER
            )
        async with refused("kinds[0]"):
            await home.memories.ListMemories(
                pb.ListMemoriesRequest(kinds=[MemoryKind.MEMORY_KIND_UNSPECIFIED]), CALLER
            )


async def test_searches_in_pages_and_says_how(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for number in range(5):
            await create(home, text=f"rain {number}")
        await create(home, text="cats")
        request = pb.SearchMemoriesRequest(query="rain", page_size=2)
        first = await home.memories.SearchMemories(request, CALLER)
        assert first.method == pb.MemorySearchMethod(
            store="sqlite", embedder="hashed-ngrams", lexical=True
        )
        found = [match.memory.text for match in first.matches]
        best = first.matches[0]
        assert 0 < best.score <= 1
        assert (best.vector_rank, best.word_rank) != (0, 0)
        while first.next_page_token:
            request.page_token = first.next_page_token
            first = await home.memories.SearchMemories(request, CALLER)
            found += [match.memory.text for match in first.matches]
        assert sorted(found) == [f"rain {number}" for number in range(5)]
        stranger = await home.memories.SearchMemories(
            pb.SearchMemoriesRequest(query="rain"), STRANGER
        )
        assert not stranger.matches
        for wrong, field in (
            ({"query": ""}, "query"),
            ({"query": "x", "scope": "*"}, "scope"),
            ({"query": "x" * 40_000}, "query"),
            ({"query": "x", "page_size": -1}, "page_size"),
        ):
            async with refused(field):
                await home.memories.SearchMemories(pb.SearchMemoriesRequest(**wrong), CALLER)


async def test_deletes(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        made = await create(home)
        async with failing(NotFound, Reason.MEMORY_NOT_FOUND):
            await home.memories.DeleteMemory(pb.DeleteMemoryRequest(name=made.name), STRANGER)
        await home.memories.DeleteMemory(pb.DeleteMemoryRequest(name=made.name), CALLER)
        async with failing(NotFound, Reason.MEMORY_NOT_FOUND):
            await home.memories.DeleteMemory(pb.DeleteMemoryRequest(name=made.name), CALLER)
        found = await home.memories.SearchMemories(pb.SearchMemoriesRequest(query="rain"), CALLER)
        assert not found.matches


async def test_the_daemon_says_how_its_memory_stands(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await create(home)
        info = await home.system.GetInfo(system_service_pb2.GetInfoRequest(), CALLER)
        assert info.memory == system_service_pb2.MemoryStatus(
            store="sqlite", embedder="hashed-ngrams", lexical=True, indexed_count=1
        )
