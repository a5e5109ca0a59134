"""Agents have revisions that never change, whatever becomes of their names."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from agentd.agent.budget import Budget
from agentd.agent.ids import DEFAULT_AGENT, AgentId, Namespace
from agentd.agent.message import Purpose
from agentd.agent.spec import Agent, OnUnknown
from agentd.errors import AlreadyExists, Conflict, InvalidRequest, NotFound, Reason
from agentd.runtime import library as module
from agentd.runtime.claims import RequestClaims
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.library import CHANGEABLE, Library, etag_of
from tests.unit.runtime.shelf import CountingEntropy, HandClock, opened

HOME, OTHER = Namespace("default"), Namespace("other")
DEFAULT = Agent(HOME, DEFAULT_AGENT, instructions="Help.")
HELPER = Agent(
    HOME,
    AgentId("helper"),
    display_name="Helper",
    instructions="Help.",
    models={Purpose.EXECUTION: "scripted/demo", Purpose.PLANNING: "scripted/plan"},
    tools=("files/*",),
    budget=Budget(max_turns=3),
    on_unknown=OnUnknown.TELL_MODEL,
    max_parallel_calls=2,
    annotations={"team": "a"},
)


@dataclass
class Desk:
    journal: SqliteJournal
    clock: HandClock
    library: Library


@asynccontextmanager
async def desk(directory: Path) -> AsyncIterator[Desk]:
    async with opened(directory) as journal:
        clock = HandClock()
        claims = RequestClaims(journal, clock)
        yield Desk(journal, clock, Library(journal, clock, CountingEntropy(), claims, DEFAULT))


async def test_creates_and_returns(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        created = await d.library.create_agent(HELPER)
        assert created == replace(HELPER, create_time_ms=1_000_000, update_time_ms=1_000_000)
        assert await d.library.get_agent(HOME, AgentId("helper")) == created
        assert await d.library.get_agent(HOME, AgentId("helper"), 1) == created
    async with desk(tmp_path) as d:  # and again from the disk
        assert await d.library.get_agent(HOME, AgentId("helper")) == created


async def test_makes_an_id(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        one = await d.library.create_agent(replace(HELPER, id=AgentId("")))
        two = await d.library.create_agent(replace(HELPER, id=AgentId("")))
        assert one.id != two.id


async def test_a_name_is_taken_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.library.create_agent(HELPER)
        await d.library.create_agent(replace(HELPER, namespace=OTHER))
        with pytest.raises(AlreadyExists) as caught:
            await d.library.create_agent(HELPER)
        assert caught.value.reason is Reason.NAME_TAKEN
        assert caught.value.metadata == {"name": "agents/helper"}


async def test_one_of_many_at_once_gets_the_name(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        outcomes: list[str] = []

        async def create() -> None:
            try:
                await d.library.create_agent(HELPER)
                outcomes.append("created")
            except AlreadyExists:
                outcomes.append("taken")

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(create())
        assert sorted(outcomes) == ["created"] + ["taken"] * 7


async def test_an_unknown_agent_names_what_exists(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.library.create_agent(HELPER)
        with pytest.raises(NotFound) as caught:
            await d.library.get_agent(HOME, AgentId("none"))
        assert caught.value.reason is Reason.AGENT_NOT_FOUND
        assert caught.value.message == "there is no agent 'none'; there are: helper"
        with pytest.raises(NotFound) as caught:
            await d.library.get_agent(OTHER, AgentId("helper"))
        assert caught.value.metadata["existing"] == "none"
        with pytest.raises(NotFound) as caught:
            await d.library.get_agent(HOME, AgentId("helper"), 2)
        assert caught.value.metadata["newest_revision"] == "1"


async def test_the_default_agent_is_made_on_first_use(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(d.library.get_agent(OTHER, DEFAULT_AGENT)) for _ in range(5)]
        assert {task.result().revision for task in tasks} == {1}
        assert tasks[0].result().instructions == "Help."
        assert tasks[0].result().namespace == OTHER
        assert await d.library.list_agents(HOME, after="", limit=10) == []
        assert len(await d.library.list_agents(OTHER, after="", limit=10)) == 1


async def test_an_update_makes_a_revision_of_the_named_fields(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        created = await d.library.create_agent(HELPER)
        d.clock.time_ms += 5
        change = Agent(HOME, AgentId("helper"), instructions="Be brief.")
        updated = await d.library.update_agent(change, fields=frozenset({"instructions"}), etag="")
        assert updated == replace(
            created, revision=2, instructions="Be brief.", update_time_ms=1_000_005
        )
        assert await d.library.get_agent(HOME, AgentId("helper")) == updated
        assert await d.library.get_agent(HOME, AgentId("helper"), 1) == created
        emptied = await d.library.update_agent(change, fields=frozenset(), etag="")
        assert emptied == replace(
            change, revision=3, create_time_ms=1_000_000, update_time_ms=1_000_005
        )


async def test_an_update_that_changes_nothing_makes_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        created = await d.library.create_agent(HELPER)
        for fields in (frozenset[str](), frozenset({"tools"}), CHANGEABLE):
            assert await d.library.update_agent(HELPER, fields=fields, etag="") == created


async def test_etags_protect_updates(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        created = await d.library.create_agent(HELPER)
        change = replace(HELPER, instructions="Be brief.")
        updated = await d.library.update_agent(change, fields=CHANGEABLE, etag=etag_of(created))
        assert etag_of(updated) != etag_of(created)
        with pytest.raises(Conflict) as caught:
            await d.library.update_agent(HELPER, fields=CHANGEABLE, etag=etag_of(created))
        assert caught.value.reason is Reason.ETAG_MISMATCH
        assert caught.value.metadata["etag"] == etag_of(updated)


async def test_concurrent_updates_are_all_kept(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.library.create_agent(HELPER)
        async with asyncio.TaskGroup() as group:
            for index in range(8):
                change = replace(HELPER, instructions=f"Rule {index}.")
                group.create_task(d.library.update_agent(change, fields=CHANGEABLE, etag=""))
        listed = await d.library.list_agent_revisions(HOME, HELPER.id, before=0, limit=20)
        assert [each.revision for each in listed] == list(range(9, 0, -1))
        assert await d.library.get_agent(HOME, HELPER.id) == listed[0]


async def test_a_deleted_agent_is_gone_but_for_its_runs(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        created = await d.library.create_agent(HELPER)
        await d.library.delete_agent(HOME, HELPER.id)
        for revision in (0, 1, 2):
            with pytest.raises(NotFound):
                await d.library.get_agent(HOME, HELPER.id, revision)
        with pytest.raises(NotFound):
            await d.library.list_agent_revisions(HOME, HELPER.id, before=0, limit=10)
        with pytest.raises(NotFound):
            await d.library.update_agent(HELPER, fields=CHANGEABLE, etag="")
        with pytest.raises(NotFound):
            await d.library.delete_agent(HOME, HELPER.id)
        assert await d.library.list_agents(HOME, after="", limit=10) == []
        assert await d.library.get_kept_agent(HOME, HELPER.id, 1) == created
        with pytest.raises(NotFound):
            await d.library.get_kept_agent(HOME, HELPER.id, 2)


async def test_a_new_agent_of_a_deleted_name_counts_on(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        old = await d.library.create_agent(HELPER)
        await d.library.delete_agent(HOME, HELPER.id)
        d.clock.time_ms += 1
        new = await d.library.create_agent(replace(HELPER, instructions="Anew."))
        assert new.revision == 3
        with pytest.raises(NotFound):
            await d.library.get_agent(HOME, HELPER.id, 1)
        assert await d.library.get_kept_agent(HOME, HELPER.id, 1) == old
        listed = await d.library.list_agent_revisions(HOME, HELPER.id, before=0, limit=10)
        assert listed == [new]


async def test_the_default_agent_comes_back_after_its_deletion(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.library.delete_agent(HOME, DEFAULT_AGENT)
        assert (await d.library.get_agent(HOME, DEFAULT_AGENT)).revision == 3


async def test_lists_in_pages_and_skips_the_deleted(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        for name in "abcdef":
            await d.library.create_agent(replace(HELPER, id=AgentId(name)))
        for name in "bce":
            await d.library.delete_agent(HOME, AgentId(name))
        first = await d.library.list_agents(HOME, after="", limit=2)
        assert [each.id for each in first] == ["a", "d"]
        rest = await d.library.list_agents(HOME, after="d", limit=2)
        assert [each.id for each in rest] == ["f"]


async def test_lists_revisions_in_pages(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.library.create_agent(HELPER)
        for index in range(4):
            change = replace(HELPER, instructions=str(index))
            await d.library.update_agent(change, fields=CHANGEABLE, etag="")
        first = await d.library.list_agent_revisions(HOME, HELPER.id, before=0, limit=2)
        assert [each.revision for each in first] == [5, 4]
        rest = await d.library.list_agent_revisions(HOME, HELPER.id, before=4, limit=9)
        assert [each.revision for each in rest] == [3, 2, 1]


async def test_repeats_answer_as_the_first_time(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        nameless = replace(HELPER, id=AgentId(""))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(d.library.create_agent(nameless, request_id="q1"))
                for _ in range(4)
            ]
        assert len({task.result().id for task in tasks}) == 1
        agent = tasks[0].result()
        change = replace(agent, instructions="Second.")
        second = await d.library.update_agent(
            change, fields=CHANGEABLE, etag=etag_of(agent), request_id="q2"
        )
        await d.library.update_agent(
            replace(agent, instructions="Third."), fields=CHANGEABLE, etag=""
        )
        again = await d.library.update_agent(
            change, fields=CHANGEABLE, etag=etag_of(agent), request_id="q2"
        )
        assert again == second
        assert await d.library.create_agent(nameless, request_id="q1") == agent
        with pytest.raises(InvalidRequest) as caught:
            await d.library.create_agent(HELPER, request_id="q1")
        assert caught.value.reason is Reason.REQUEST_ID_REUSED


async def test_a_repeat_of_an_update_without_effect_has_none_later(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        created = await d.library.create_agent(HELPER)
        assert (
            await d.library.update_agent(HELPER, fields=CHANGEABLE, etag="", request_id="q")
            == created
        )
        change = replace(HELPER, instructions="Second.")
        second = await d.library.update_agent(change, fields=CHANGEABLE, etag="")
        assert (
            await d.library.update_agent(HELPER, fields=CHANGEABLE, etag="", request_id="q")
            == created
        )
        assert await d.library.get_agent(HOME, HELPER.id) == second


async def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CACHED", 3)
    async with desk(tmp_path) as d:
        for index in range(6):
            await d.library.create_agent(replace(HELPER, id=AgentId(f"a{index}")))
        for index in range(6):
            assert (await d.library.get_agent(HOME, AgentId(f"a{index}"))).id == f"a{index}"
            assert len(d.library._newest) <= 3
