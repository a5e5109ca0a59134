"""What every journal promises of documents."""

import pytest

from agentd.agent.ids import (
    DEFAULT_NAMESPACE,
)
from agentd.errors import Conflict, Reason
from tests.conformance.journal.helpers import OTHER, AnyJournal, record


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
