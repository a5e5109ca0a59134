"""What the journal tests share."""

from agentd.agent.events import Entry
from agentd.agent.ids import DEFAULT_NAMESPACE, Namespace
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.ports import Record, Selector
from tests.fakes.journal import MemoryJournal

AnyJournal = SqliteJournal | MemoryJournal
EVERYTHING = Selector(DEFAULT_NAMESPACE)
OTHER = Namespace("other")


def record(id: str, revision: int = 1, *, kind: str = "agent", body: bytes = b"x") -> Record:
    return Record(kind, DEFAULT_NAMESPACE, id, body, revision, 7)


async def scan_all(
    journal: AnyJournal, selector: Selector, *, after: int = 0, limit: int = 100
) -> list[Entry]:
    found: list[Entry] = []
    while after < journal.revision:
        entries, reached = await journal.scan(selector, after_revision=after, limit=limit)
        assert reached > after
        found += entries
        after = reached
    return found
