"""What every journal promises of its log: what was appended is there, in order, for good."""

import asyncio
from collections.abc import Sequence

import pytest

from agentd.agent.events import Entry
from agentd.agent.ids import (
    DEFAULT_NAMESPACE,
    AgentId,
    RunId,
    RunIdentity,
    RunKey,
)
from agentd.agent.run import RunView
from agentd.agent.state import State
from agentd.errors import Conflict, NotFound, Reason, Unavailable
from agentd.runtime.ports import Checkpoint
from tests.conformance.journal.conftest import Lab
from tests.conformance.journal.helpers import EVERYTHING, AnyJournal, record, scan_all
from tests.fakes.runs import CREATED, create_run, ended, leased


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
