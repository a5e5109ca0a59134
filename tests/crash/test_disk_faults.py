"""A disk that fails or is full: nothing false is acknowledged, and work goes on afterwards."""

import asyncio
import errno
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

from agentd.agent.events import Entry
from agentd.agent.ids import DEFAULT_NAMESPACE, RunIdentity
from agentd.agent.run import RunView
from agentd.agent.state import State
from agentd.errors import AgentdError, Exhausted, Reason, Unavailable
from agentd.runtime.journal.schema import Options
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.ports import Checkpoint, Record, Selector
from tests.crash.power import Disk
from tests.fakes.runs import FixedClock, create_run, leased

RUNS = 3
ROUNDS = 40


@dataclass(slots=True)
class Ledger:
    """What a client has seen."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    errors: list[AgentdError] = field(default_factory=list)
    heard: list[Entry] = field(default_factory=list)


async def work(journal: SqliteJournal, runs: list[RunIdentity], ledger: Ledger) -> None:
    """Append to each run; after an error read what is there and go on from that."""

    async def drive(run: RunIdentity) -> None:
        sequence = ledger.acknowledged[run.id]
        for number in range(ROUNDS):
            checkpoint = Checkpoint(RunView(), State()) if number % 3 == 2 else None
            try:
                written = await journal.append(run, sequence, [leased(1), leased(2)], checkpoint)
            except AgentdError as error:
                ledger.errors.append(error)
                read = await journal.read_run(run)
                assert len(read) in (sequence, sequence + 2)
                sequence = len(read)
            else:
                sequence = written[-1].sequence
            ledger.acknowledged[run.id] = sequence

    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(drive(run))


async def open_faulty(
    directory: Path, ledger: Ledger, options: Options | None = None
) -> tuple[SqliteJournal, Disk, list[RunIdentity]]:
    await (await SqliteJournal.open(directory, FixedClock())).close()
    disk = Disk(f"faulty-{directory.name}")
    options = options or Options(vfs=disk.name, checkpoint_pages=10, heads_rows=20)
    journal = await SqliteJournal.open(directory, FixedClock(), options)
    journal.subscribe(ledger.heard.extend)
    runs = [await create_run(journal, f"r{number}") for number in range(RUNS)]
    ledger.acknowledged.update({run.id: 1 for run in runs})
    return journal, disk, runs


async def contents(journal: SqliteJournal, runs: list[RunIdentity]) -> dict[str, list[Entry]]:
    return {run.id: list(await journal.read_run(run)) for run in runs}


async def everything(journal: SqliteJournal) -> list[Entry]:
    entries, reached = await journal.scan(
        Selector(DEFAULT_NAMESPACE), after_revision=0, limit=10_000
    )
    assert reached == journal.revision
    return list(entries)


@pytest.mark.parametrize("position", [*range(1, 21), 25, 30, 35, 40])
async def test_a_failed_sync_acknowledges_nothing_false(tmp_path: Path, position: int) -> None:
    ledger = Ledger()
    journal, disk, runs = await open_faulty(tmp_path, ledger)
    first = disk.syncs
    disk.failing_syncs = lambda count: count - first == position
    await work(journal, runs, ledger)
    assert disk.syncs - first >= position
    assert all(
        isinstance(error, Unavailable) and error.reason is Reason.OUTCOME_UNKNOWN
        for error in ledger.errors
    )
    in_memory = await contents(journal, runs)
    assert {name: len(entries) for name, entries in in_memory.items()} == ledger.acknowledged
    assert ledger.heard == await everything(journal)
    await journal.close()
    journal = await SqliteJournal.open(tmp_path, FixedClock())
    assert await contents(journal, runs) == in_memory
    assert await everything(journal) == ledger.heard
    await journal.close()


async def test_some_failed_syncs_are_those_of_commits(tmp_path: Path) -> None:
    ledger = Ledger()
    journal, disk, runs = await open_faulty(tmp_path, ledger)
    first = disk.syncs
    disk.failing_syncs = lambda count: count - first == 1
    await work(journal, runs, ledger)
    await journal.close()
    assert len(ledger.errors) == RUNS


@pytest.mark.parametrize("position", [1, 2, 3, 4, 5, 8, 13, 21, 34])
async def test_a_full_disk_degrades_and_recovers(tmp_path: Path, position: int) -> None:
    ledger = Ledger()
    journal, disk, runs = await open_faulty(tmp_path, ledger)
    first = disk.writes
    disk.failing_writes = lambda count: count - first >= position
    await work(journal, runs, ledger)
    assert ledger.errors
    assert {error.reason for error in ledger.errors} == {Reason.DISK_FULL}
    assert all(isinstance(error, Exhausted) for error in ledger.errors)
    assert len(await everything(journal)) == sum(ledger.acknowledged.values())

    disk.failing_writes = lambda _: False
    failures = len(ledger.errors)
    await work(journal, runs, ledger)
    assert len(ledger.errors) == failures
    in_memory = await contents(journal, runs)
    assert {name: len(entries) for name, entries in in_memory.items()} == ledger.acknowledged
    assert ledger.heard == await everything(journal)
    await journal.close()
    journal = await SqliteJournal.open(tmp_path, FixedClock())
    assert await contents(journal, runs) == in_memory
    await journal.close()


async def test_documents_fail_with_the_rest(tmp_path: Path) -> None:
    journal, disk, _ = await open_faulty(tmp_path, Ledger())
    first = disk.syncs
    disk.failing_syncs = lambda count: count == first + 1
    claim = Record("claim", DEFAULT_NAMESPACE, "a", b"x")
    with pytest.raises(Unavailable):
        await journal.put([claim])
    assert await journal.get("claim", DEFAULT_NAMESPACE, "a") in (None, claim)
    await journal.put([claim])
    assert await journal.get("claim", DEFAULT_NAMESPACE, "a") == claim
    await journal.close()


async def test_what_was_stored_in_spite_of_an_error_is_heard(tmp_path: Path) -> None:
    failures = ["appended"]

    def fail_once(boundary: str) -> None:
        if boundary in failures and len(ledger.acknowledged) == RUNS:
            failures.remove(boundary)
            raise apsw.IOError(errno.EIO, "the disk failed")

    ledger = Ledger()
    options = Options(on_boundary=fail_once)
    journal, _, runs = await open_faulty(tmp_path, ledger, options)
    with pytest.raises(Unavailable):
        await journal.append(runs[0], 1, [leased(1)])
    assert [entry.event for entry in await journal.read_run(runs[0])][1:] == [leased(1)]
    assert ledger.heard == await everything(journal)
    assert ledger.heard[-1].event == leased(1)
    await journal.append(runs[0], 2, [leased(2)])
    await journal.close()


async def test_what_was_queued_behind_a_fault_fails_with_it(tmp_path: Path) -> None:
    ledger = Ledger()
    journal, disk, runs = await open_faulty(tmp_path, ledger)
    first = disk.syncs
    disk.failing_syncs = lambda count: count == first + 1

    async def append(sequence: int) -> bool:
        try:
            await journal.append(runs[0], sequence, [leased(sequence)])
        except AgentdError:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        tasks = []
        for sequence in range(1, 60):
            tasks.append(group.create_task(append(sequence)))
            await asyncio.sleep(0)
    assert not any(task.result() for task in tasks)
    assert len(await journal.read_run(runs[0])) == 1
    await journal.append(runs[0], 1, [leased(1)])
    await journal.close()


async def test_a_closing_journal_gives_up_on_a_broken_disk(tmp_path: Path) -> None:
    journal, disk, runs = await open_faulty(tmp_path, Ledger())
    disk.failing_syncs = lambda _: True
    with pytest.raises(Unavailable):
        await journal.append(runs[0], 1, [leased(1)])
    await journal.close()
    disk.failing_syncs = lambda _: False
    journal = await SqliteJournal.open(tmp_path, FixedClock())
    assert len(await journal.read_run(runs[0])) in (1, 2)
    await journal.close()
