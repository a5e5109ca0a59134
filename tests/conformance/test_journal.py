"""What every journal promises: the same tests on SQLite and on the fake in memory."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from agentd.agent.events import (
    CallEnded,
    Entry,
    MessagePosted,
    RunEnded,
    RunState,
    RunWaiting,
    WaitReason,
)
from agentd.agent.ids import (
    DEFAULT_NAMESPACE,
    AgentId,
    Namespace,
    RunId,
    RunIdentity,
    RunKey,
    SessionId,
)
from agentd.agent.run import Run, RunView
from agentd.agent.state import State
from agentd.errors import AlreadyExists, Conflict, NotFound, OutOfRange, Reason, Unavailable
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.ports import Checkpoint, Record, RunQuery, Selector
from tests.fakes.journal import MemoryJournal
from tests.fakes.runs import CREATED, SPEC, FixedClock, create_run, ended, leased

AnyJournal = SqliteJournal | MemoryJournal
EVERYTHING = Selector(DEFAULT_NAMESPACE)
OTHER = Namespace("other")


class Lab:
    """A journal that can be closed and opened again."""

    def __init__(self, kind: str, directory: Path) -> None:
        self._directory = directory
        self._kind = kind
        self._open: AnyJournal | None = None
        self.clock = FixedClock()

    async def open(self) -> AnyJournal:
        if self._kind == "sqlite":
            self._open = await SqliteJournal.open(self._directory, self.clock)
        else:
            self._open = MemoryJournal(self.clock)
        return self._open

    async def reopen(self) -> AnyJournal:
        journal = self._open
        assert journal is not None
        await journal.close()
        if isinstance(journal, MemoryJournal):
            self._open = journal.crash()
        else:
            await self.open()
        assert self._open is not None
        return self._open

    async def close(self) -> None:
        if self._open is not None:
            await self._open.close()


@pytest.fixture(params=["sqlite", "memory"])
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(request.param, tmp_path)
    yield lab
    await lab.close()


@pytest.fixture
async def journal(lab: Lab) -> AnyJournal:
    return await lab.open()


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


async def test_an_empty_journal_has_nothing(journal: AnyJournal) -> None:
    assert (journal.revision, journal.oldest_revision) == (0, 0)
    assert await journal.scan(EVERYTHING, after_revision=0, limit=10) == ([], 0)
    assert await journal.unfinished_runs() == []
    assert await journal.get_run(DEFAULT_NAMESPACE, RunId("a")) is None
    assert await journal.get("agent", DEFAULT_NAMESPACE, "a") is None


async def test_what_was_appended_is_read_in_order(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    written = await journal.append(run, 1, [leased(1), ended(1)])
    written = [*written, *await journal.append(run, 3, [leased(2)])]
    assert [entry.sequence for entry in written] == [2, 3, 4]
    read = await journal.read_run(run)
    assert [entry.event for entry in read] == [CREATED, leased(1), ended(1), leased(2)]
    assert list(read[1:]) == written
    assert journal.revision == written[-1].revision
    assert await journal.read_run(run, after_sequence=4) == []


async def test_runs_do_not_mix(journal: AnyJournal) -> None:
    runs = [await create_run(journal, f"r{number}") for number in range(3)]
    for number in range(1, 6):
        for run in runs:
            await journal.append(run, number, [leased(number)])
    for run in runs:
        entries = await journal.read_run(run)
        assert [entry.sequence for entry in entries] == [1, 2, 3, 4, 5, 6]
        assert {entry.run for entry in entries} == {run}


@pytest.mark.parametrize(("after", "limit"), [(0, 3), (2, 2), (5, 0), (198, 10), (0, 0), (150, 1)])
async def test_a_part_of_a_run_is_read(journal: AnyJournal, after: int, limit: int) -> None:
    run = await create_run(journal, "a")
    for number in range(1, 200, 2):
        snapshot = Checkpoint(RunView(), State()) if number == 99 else None
        await journal.append(run, number, [leased(number), leased(number + 1)], snapshot)
    last = min(201, after + limit) if limit else 201
    entries = await journal.read_run(run, after_sequence=after, limit=limit)
    assert [entry.sequence for entry in entries] == list(range(after + 1, last + 1))


async def test_an_append_after_another_sequence_is_refused(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    for sequence in (0, 2):
        with pytest.raises(Conflict) as caught:
            await journal.append(run, sequence, [leased(1)])
        assert caught.value.reason is Reason.CONCURRENT_UPDATE
    assert len(await journal.read_run(run)) == 1


async def test_of_two_appends_at_once_one_wins(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    async with asyncio.TaskGroup() as group:
        first = group.create_task(journal.append(run, 1, [leased(1)]))
        second = group.create_task(_refused(journal.append(run, 1, [leased(2)])))
    assert [entry.sequence for entry in first.result()] == [2]
    assert second.result()


async def _refused(append: object) -> bool:
    with pytest.raises(Conflict):
        await append  # type: ignore[misc]
    return True


async def test_appends_may_be_queued_without_waiting(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    async with asyncio.TaskGroup() as group:
        for number in range(1, 50):
            group.create_task(journal.append(run, number, [leased(number)]))
    assert [entry.sequence for entry in await journal.read_run(run)] == list(range(1, 51))


async def test_a_read_amid_appends_sees_a_whole_chain(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    async with asyncio.TaskGroup() as group:
        for number in range(1, 20):
            group.create_task(journal.append(run, number, [leased(number)]))
        reading = group.create_task(journal.read_run(run))
    sequences = [entry.sequence for entry in reading.result()]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_an_unknown_run_is_not_found(journal: AnyJournal) -> None:
    nobody = RunIdentity(RunKey(99), DEFAULT_NAMESPACE, RunId("x"), AgentId("a"))
    with pytest.raises(NotFound):
        await journal.append(nobody, 0, [leased(1)])
    with pytest.raises(NotFound):
        await journal.read_run(nobody)


async def test_a_cancelled_caller_does_not_cancel_the_write(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    async with asyncio.TaskGroup() as group:
        append = group.create_task(journal.append(run, 1, [leased(1)]))
        group.create_task(_cancel(append))
    assert append.cancelled()
    await journal.append(run, 2, [leased(2)])
    assert len(await journal.read_run(run)) == 3


async def _cancel(task: "asyncio.Task[Sequence[Entry]]") -> None:
    task.cancel()


async def test_times_come_from_the_clock_and_never_go_back(lab: Lab) -> None:
    journal = await lab.open()
    run = await create_run(journal, "a")
    for time_ms in (5_000, 2_000):
        lab.clock.time_ms = time_ms
        stored = await journal.read_run(run)
        await journal.append(run, len(stored), [leased(1)])
    journal = await lab.reopen()
    await journal.append(run, 3, [leased(1)])
    assert [entry.time_ms for entry in await journal.read_run(run)] == [1_000, 5_000, 5_000, 5_000]


async def test_listeners_hear_every_entry_once_in_order(journal: AnyJournal) -> None:
    heard: list[Entry] = []
    journal.subscribe(heard.extend)
    runs = [await create_run(journal, f"r{number}") for number in range(5)]
    async with asyncio.TaskGroup() as group:
        for run in runs:
            for number in range(1, 20):
                group.create_task(journal.append(run, number, [leased(number)]))
    assert heard == await scan_all(journal, EVERYTHING)
    assert len(heard) == 100


async def test_an_entry_is_heard_before_its_append_returns(journal: AnyJournal) -> None:
    heard: list[Entry] = []
    run = await create_run(journal, "a")
    journal.subscribe(heard.extend)
    written = await journal.append(run, 1, [leased(1)])
    assert heard == list(written)


async def test_a_name_is_taken_once_in_its_namespace(journal: AnyJournal) -> None:
    await create_run(journal, "a")
    with pytest.raises(AlreadyExists) as caught:
        await create_run(journal, "a")
    assert caught.value.reason is Reason.NAME_TAKEN
    await create_run(journal, "a", namespace=OTHER)
    assert len(await scan_all(journal, EVERYTHING)) == 1


async def test_a_taken_name_harms_nobody_else_of_the_same_commit(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    heard: list[Entry] = []
    journal.subscribe(heard.extend)

    async def taken() -> None:
        with pytest.raises(AlreadyExists):
            await create_run(journal, "a", records=[record("lost")])

    async with asyncio.TaskGroup() as group:
        group.create_task(journal.append(run, 1, [leased(1)]))
        group.create_task(taken())
        created = group.create_task(create_run(journal, "b", records=[record("claim")]))
        group.create_task(journal.append(run, 2, [leased(2)]))
    assert [entry.sequence for entry in await journal.read_run(run)] == [1, 2, 3]
    assert len(await journal.read_run(created.result())) == 1
    assert await journal.get("agent", DEFAULT_NAMESPACE, "lost") is None
    assert await journal.get("agent", DEFAULT_NAMESPACE, "claim") == record("claim")
    assert [entry.event for entry in heard] == [leased(1), CREATED, leased(2)]


async def test_a_refused_run_does_not_exist(journal: AnyJournal) -> None:
    await create_run(journal, "a")
    twin = RunIdentity(journal.next_run_key(), DEFAULT_NAMESPACE, RunId("a"), AgentId("default"))
    with pytest.raises(AlreadyExists):
        await journal.create_run(Run(twin, SPEC, RunView()), [CREATED])
    with pytest.raises(NotFound):
        await journal.append(twin, 1, [leased(1)])
    with pytest.raises(NotFound):
        await journal.read_run(twin)


async def test_a_taken_document_refuses_the_run(journal: AnyJournal) -> None:
    await journal.put([record("claim")])
    with pytest.raises(AlreadyExists):
        await create_run(journal, "a", records=[record("new"), record("claim", body=b"y")])
    assert await journal.get_run(DEFAULT_NAMESPACE, RunId("a")) is None
    assert await journal.get("agent", DEFAULT_NAMESPACE, "new") is None
    assert await journal.get("agent", DEFAULT_NAMESPACE, "claim") == record("claim")
    await create_run(journal, "a", records=[record("new")])


async def test_keys_are_never_given_twice(lab: Lab) -> None:
    journal = await lab.open()
    run = await create_run(journal, "a")
    assert journal.next_run_key() > run.key
    journal = await lab.reopen()
    assert journal.next_run_key() > run.key


async def test_a_run_is_stored_with_its_checkpoint(lab: Lab) -> None:
    journal = await lab.open()
    run = await create_run(journal, "a", session=SessionId("s"))
    waiting = RunWaiting(WaitReason.MESSAGE, "for an answer")
    view = RunView(state=RunState.WAITING, last_sequence=2, wait_reason=WaitReason.MESSAGE)
    state = State(run=RunState.WAITING, created=True, waiting=waiting)
    await journal.append(run, 1, [waiting], Checkpoint(view, state))
    await journal.append(run, 2, [MessagePosted("hello")])
    for reopened in (False, True):
        if reopened:
            journal = await lab.reopen()
        stored = await journal.get_run(DEFAULT_NAMESPACE, RunId("a"))
        assert stored is not None
        assert stored.run == Run(run, SPEC, view)
        assert (stored.snapshot, stored.snapshot_sequence) == (state, 2)
        assert stored.last_sequence == 3


async def test_a_checkpoint_without_a_state_keeps_the_snapshot(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    await journal.append(run, 1, [leased(1)], Checkpoint(RunView(), State(turn=4)))
    await journal.append(run, 2, [leased(2)], Checkpoint(RunView(RunState.RUNNING)))
    stored = await journal.get_run(DEFAULT_NAMESPACE, RunId("a"))
    assert stored is not None
    assert stored.run.view == RunView(RunState.RUNNING)
    assert (stored.snapshot, stored.snapshot_sequence) == (State(turn=4), 2)


async def test_of_checkpoints_in_one_commit_the_newest_counts(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    async with asyncio.TaskGroup() as group:
        for number in range(1, 6):
            checkpoint = Checkpoint(RunView(last_sequence=number + 1), State(turn=number))
            group.create_task(journal.append(run, number, [leased(number)], checkpoint))
    stored = await journal.get_run(DEFAULT_NAMESPACE, RunId("a"))
    assert stored is not None
    assert stored.run.view.last_sequence == 6
    assert (stored.snapshot, stored.snapshot_sequence) == (State(turn=5), 6)


async def test_ended_runs_are_not_unfinished_and_keep_evidence(lab: Lab) -> None:
    journal = await lab.open()
    run = await create_run(journal, "a")
    waiting = await create_run(journal, "b", state=RunState.RUNNING)
    view = RunView(state=RunState.SUCCEEDED, last_sequence=2)
    await journal.append(run, 1, [RunEnded(RunState.SUCCEEDED, "42")], Checkpoint(view))
    journal = await lab.reopen()
    assert [stored.run.identity for stored in await journal.unfinished_runs()] == [waiting]
    await journal.append(run, 2, [ended(9)])
    journal = await lab.reopen()
    assert [entry.sequence for entry in await journal.read_run(run)] == [1, 2, 3]
    stored = await journal.get_run(DEFAULT_NAMESPACE, RunId("a"))
    assert stored is not None
    assert stored.last_sequence == 3


async def test_runs_are_listed_newest_first_by_pages(journal: AnyJournal) -> None:
    for number in range(5):
        await create_run(journal, f"r{number}")
    await create_run(journal, "foreign", namespace=OTHER)
    query = RunQuery(DEFAULT_NAMESPACE)
    first = await journal.list_runs(query, before=None, limit=3)
    assert [stored.run.identity.id for stored in first] == ["r4", "r3", "r2"]
    rest = await journal.list_runs(query, before=first[-1].run.identity.key, limit=3)
    assert [stored.run.identity.id for stored in rest] == ["r1", "r0"]


async def test_runs_are_listed_by_what_they_are(journal: AnyJournal) -> None:
    await create_run(journal, "a", agent=AgentId("x"), session=SessionId("s"))
    await create_run(journal, "b", agent=AgentId("x"), state=RunState.RUNNING)
    await create_run(journal, "c", agent=AgentId("y"), session=SessionId("s"))

    async def listed(query: RunQuery) -> list[str]:
        runs = await journal.list_runs(query, before=None, limit=10)
        return [stored.run.identity.id for stored in runs]

    assert await listed(RunQuery(DEFAULT_NAMESPACE, agent=AgentId("x"))) == ["b", "a"]
    assert await listed(RunQuery(DEFAULT_NAMESPACE, session=SessionId("s"))) == ["c", "a"]
    states = frozenset({RunState.RUNNING, RunState.PAUSED})
    assert await listed(RunQuery(DEFAULT_NAMESPACE, states=states)) == ["b"]
    assert await listed(RunQuery(OTHER)) == []


async def test_a_scan_selects(journal: AnyJournal) -> None:
    first = await create_run(journal, "a", agent=AgentId("x"), session=SessionId("s"))
    second = await create_run(journal, "b", agent=AgentId("y"))
    third = await create_run(journal, "a", namespace=OTHER)
    for run in (first, second, third):
        await journal.append(run, 1, [leased(1), ended(1)])

    async def found(selector: Selector) -> list[tuple[str, int]]:
        entries = await scan_all(journal, selector)
        assert all(selector.matches(entry) for entry in entries)
        return [(entry.run.id, entry.sequence) for entry in entries]

    whole = [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2), ("b", 3)]
    assert await found(EVERYTHING) == whole
    assert await found(Selector(DEFAULT_NAMESPACE, runs=frozenset({RunId("b")}))) == [
        ("b", 1),
        ("b", 2),
        ("b", 3),
    ]
    kinds = frozenset({CallEnded})
    assert await found(Selector(DEFAULT_NAMESPACE, kinds=kinds)) == [("a", 3), ("b", 3)]
    assert len(await found(Selector(DEFAULT_NAMESPACE, agent=AgentId("x")))) == 3
    assert len(await found(Selector(DEFAULT_NAMESPACE, session=SessionId("s")))) == 3
    assert await found(Selector(Namespace("none"))) == []


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_a_scan_goes_on_where_it_ended(journal: AnyJournal, limit: int) -> None:
    run = await create_run(journal, "a")
    await journal.append(run, 1, [leased(number) for number in range(40)])
    entries = await scan_all(journal, EVERYTHING, limit=limit)
    assert [entry.sequence for entry in entries] == list(range(1, 42))
    tail = await scan_all(journal, EVERYTHING, after=entries[30].revision, limit=limit)
    assert tail == entries[31:]


async def test_a_scan_cannot_start_in_the_future(journal: AnyJournal) -> None:
    await create_run(journal, "a")
    with pytest.raises(OutOfRange) as caught:
        await journal.scan(EVERYTHING, after_revision=journal.revision + 1, limit=1)
    assert caught.value.reason is Reason.FUTURE_REVISION


async def test_everything_is_there_again_after_reopening(lab: Lab) -> None:
    journal = await lab.open()
    runs = [await create_run(journal, f"r{number}") for number in range(3)]
    for run in runs:
        await journal.append(run, 1, [leased(1), ended(1)])
    await journal.put([record("x")])
    before = await scan_all(journal, EVERYTHING)
    revision = journal.revision
    journal = await lab.reopen()
    assert journal.revision == revision
    assert await scan_all(journal, EVERYTHING) == before
    assert [stored.last_sequence for stored in await journal.unfinished_runs()] == [3, 3, 3]
    written = await journal.append(runs[0], 3, [leased(2)])
    assert written[0].revision > revision
    assert await journal.get("agent", DEFAULT_NAMESPACE, "x") == record("x")


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


async def test_a_closed_journal_refuses(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    await journal.close()
    with pytest.raises(Unavailable) as caught:
        await journal.append(run, 1, [leased(1)])
    assert caught.value.reason is Reason.DRAINING


async def test_closing_keeps_what_is_queued(lab: Lab) -> None:
    journal = await lab.open()
    run = await create_run(journal, "a")
    async with asyncio.TaskGroup() as group:
        for number in range(1, 30):
            group.create_task(journal.append(run, number, [leased(number)]))
        await asyncio.sleep(0)
        group.create_task(journal.close())
    journal = await lab.reopen()
    assert len(await journal.read_run(run)) == 30
