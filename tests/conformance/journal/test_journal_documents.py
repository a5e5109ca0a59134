"""What every journal promises of documents."""

import asyncio

import pytest

from agentd.agent.events import RunState
from agentd.agent.ids import DEFAULT_NAMESPACE
from agentd.agent.run import RunView
from agentd.errors import Conflict, Reason
from agentd.runtime.ports import Checkpoint
from tests.conformance.journal.conftest import Lab
from tests.conformance.journal.helpers import OTHER, AnyJournal, record
from tests.fakes.runs import create_run, leased


async def test_documents_are_kept_by_revision(journal: AnyJournal) -> None:
    await journal.put([record("a"), record("b")])
    await journal.put([record("a", 2, body=b"new")], expected_revision=1)
    assert await journal.get("agent", DEFAULT_NAMESPACE, "a") == record("a", 2, body=b"new")
    assert await journal.get("agent", DEFAULT_NAMESPACE, "a", 1) == record("a")
    assert await journal.get("agent", DEFAULT_NAMESPACE, "a", 3) is None
    assert await journal.get("agent", OTHER, "a") is None
    assert await journal.get("tool", DEFAULT_NAMESPACE, "a") is None


@pytest.mark.parametrize("expected", [0, 2])
async def test_a_document_of_another_revision_is_a_conflict(
    journal: AnyJournal, expected: int
) -> None:
    await journal.put([record("a")], expected_revision=0)
    with pytest.raises(Conflict) as caught:
        await journal.put([record("a", 5), record("b")], expected_revision=expected)
    assert caught.value.reason is Reason.CONCURRENT_UPDATE
    assert await journal.get("agent", DEFAULT_NAMESPACE, "a") == record("a")
    assert await journal.get("agent", DEFAULT_NAMESPACE, "b") is None


async def test_a_document_of_the_same_revision_is_replaced(journal: AnyJournal) -> None:
    await journal.put([record("a")])
    await journal.put([record("a", body=b"other")])
    assert await journal.get("agent", DEFAULT_NAMESPACE, "a") == record("a", body=b"other")


async def test_newest_documents_are_listed_by_pages(journal: AnyJournal) -> None:
    await journal.put([record(name, revision) for name in "cab" for revision in (1, 2)])
    await journal.put([record("d", kind="tool")])
    first = await journal.list_newest("agent", DEFAULT_NAMESPACE, after="", limit=2)
    assert list(first) == [record("a", 2), record("b", 2)]
    rest = await journal.list_newest("agent", DEFAULT_NAMESPACE, after="b", limit=2)
    assert list(rest) == [record("c", 2)]


async def test_revisions_are_listed_newest_first(journal: AnyJournal) -> None:
    await journal.put([record("a", revision) for revision in range(1, 13)])
    first = await journal.list_revisions("agent", DEFAULT_NAMESPACE, "a", before=0, limit=3)
    assert [each.revision for each in first] == [12, 11, 10]
    rest = await journal.list_revisions("agent", DEFAULT_NAMESPACE, "a", before=3, limit=3)
    assert [each.revision for each in rest] == [2, 1]


async def test_a_deleted_document_is_gone(journal: AnyJournal) -> None:
    await journal.put([record("a"), record("a", 2), record("b")])
    assert await journal.delete("agent", DEFAULT_NAMESPACE, "a")
    assert not await journal.delete("agent", DEFAULT_NAMESPACE, "a")
    assert await journal.get("agent", DEFAULT_NAMESPACE, "a") is None
    assert await journal.get("agent", DEFAULT_NAMESPACE, "b") == record("b")


async def test_documents_are_stored_with_the_events_that_they_belong_to(lab: Lab) -> None:
    journal = await lab.open()
    run = await create_run(journal, "r1")
    await journal.append(run, 1, [leased(1)], None, [record("a"), record("b")])
    view = RunView(RunState.WAITING, 3)
    await journal.append(run, 2, [leased(2)], Checkpoint(view), [record("a", 2, body=b"new")])
    assert await journal.get("agent", DEFAULT_NAMESPACE, "a") == record("a", 2, body=b"new")
    present = await lab.reopen()
    assert [entry.sequence for entry in await present.read_run(run)] == [1, 2, 3]
    assert await present.get("agent", DEFAULT_NAMESPACE, "a", 1) == record("a")
    assert await present.get("agent", DEFAULT_NAMESPACE, "a") == record("a", 2, body=b"new")
    assert await present.get("agent", DEFAULT_NAMESPACE, "b") == record("b")


async def test_a_document_of_an_append_replaces_what_is_there(journal: AnyJournal) -> None:
    run = await create_run(journal, "r1")
    await journal.put([record("a", body=b"old")])
    await journal.append(run, 1, [leased(1)], None, [record("a", body=b"new")])
    assert await journal.get("agent", DEFAULT_NAMESPACE, "a") == record("a", body=b"new")


async def test_an_append_that_is_refused_stores_no_documents(journal: AnyJournal) -> None:
    run = await create_run(journal, "r1")
    with pytest.raises(Conflict):
        await journal.append(run, 7, [leased(1)], None, [record("a")])
    assert await journal.get("agent", DEFAULT_NAMESPACE, "a") is None


async def test_runs_and_appends_with_documents_go_together(journal: AnyJournal) -> None:
    runs = [await create_run(journal, f"r{number}") for number in range(3)]
    async with asyncio.TaskGroup() as group:
        for number, run in enumerate(runs):
            group.create_task(
                journal.append(run, 1, [leased(number)], None, [record(f"a{number}")])
            )
        group.create_task(create_run(journal, "r9", records=[record("created")]))
    names = [f"a{number}" for number in range(3)] + ["created"]
    found = await journal.list_newest("agent", DEFAULT_NAMESPACE, after="", limit=9)
    assert [each.id for each in found] == names
