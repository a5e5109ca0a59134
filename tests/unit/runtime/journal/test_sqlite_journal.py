"""What only the journal in SQLite does: its files, its owner, its limits, its retention."""

import asyncio
import os
import struct
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from agentd.agent.events import RunEnded, RunState
from agentd.agent.ids import DEFAULT_NAMESPACE, RunId, RunIdentity, SessionId
from agentd.agent.run import RunView
from agentd.agent.state import State
from agentd.errors import Conflict, Corrupt, OutOfRange, Reason, Unavailable
from agentd.runtime.journal.schema import SCHEMA_VERSION, Options
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.ports import Checkpoint, Record, Selector
from tests.fakes.runs import FixedClock, create_run, ended, leased

EVERYTHING = Selector(DEFAULT_NAMESPACE)
ENDED = RunView(state=RunState.SUCCEEDED)


async def open_journal(directory: Path, options: Options | None = None) -> SqliteJournal:
    return await SqliteJournal.open(directory, FixedClock(), options)


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def modes(directory: Path) -> list[int]:
    return [path.stat().st_mode & 0o777 for path in directory.iterdir()]


def patch(path: Path, offset: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(content)


async def test_a_second_opener_is_told_who_has_the_journal(tmp_path: Path) -> None:
    journal = await open_journal(tmp_path)
    with pytest.raises(Unavailable, match=str(os.getpid())) as caught:
        await open_journal(tmp_path)
    assert caught.value.metadata["pid"] == str(os.getpid())
    await journal.close()
    await (await open_journal(tmp_path)).close()


async def test_a_failed_opening_releases_the_directory(tmp_path: Path) -> None:
    await (await open_journal(tmp_path)).close()
    whole = files(tmp_path)["journal.db"]
    patch(tmp_path / "journal.db", 0, b"garbage")
    with pytest.raises(Corrupt):
        await open_journal(tmp_path)
    (tmp_path / "journal.db").write_bytes(whole)
    await (await open_journal(tmp_path)).close()


async def test_the_journal_of_a_newer_daemon_is_not_touched(tmp_path: Path) -> None:
    await (await open_journal(tmp_path)).close()
    patch(tmp_path / "journal.db", 60, struct.pack(">I", SCHEMA_VERSION + 1))
    before = files(tmp_path)
    with pytest.raises(Conflict) as caught:
        await open_journal(tmp_path)
    assert caught.value.reason is Reason.JOURNAL_NEWER
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:60]),
        lambda path: path.write_bytes(b"x" * 8_192),
        lambda path: path.write_bytes(path.read_bytes()[:4_096]),
        lambda path: patch(path, 68, b"abcd"),
        lambda path: patch(path, 60, bytes(4)),
        lambda path: patch(path, 16, b"\x12\x34"),
        lambda path: patch(path, 100, bytes(2_000)),
    ],
    ids=["empty", "cut", "foreign", "one page", "id", "version", "page size", "first page"],
)
async def test_a_damaged_database_is_refused(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    await (await open_journal(tmp_path)).close()
    damage(tmp_path / "journal.db")
    with pytest.raises(Corrupt) as caught:
        await open_journal(tmp_path)
    assert caught.value.reason is Reason.JOURNAL_CORRUPT


async def test_a_crash_while_the_database_is_made_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "journal.draft").write_bytes(b"half")
    (tmp_path / "journal.draft-journal").write_bytes(b"half")
    await (await open_journal(tmp_path)).close()
    assert sorted(files(tmp_path)) == ["journal.db", "journal.lock"]


async def test_nobody_else_may_read_the_files(tmp_path: Path) -> None:
    journal = await open_journal(tmp_path)
    await create_run(journal, "a")
    assert modes(tmp_path) == [0o600] * 4
    await journal.close()


async def test_a_missing_event_is_told(tmp_path: Path) -> None:
    journal = await open_journal(tmp_path)
    run = await create_run(journal, "a")
    written = await journal.append(run, 1, [leased(1), leased(2), leased(3)])
    await journal.close()
    with apsw.Connection(str(tmp_path / "journal.db")) as connection:
        connection.execute("DELETE FROM log WHERE position = ?", (written[1].revision,))
    connection.close()
    journal = await open_journal(tmp_path)
    with pytest.raises(Corrupt):
        await journal.read_run(run)
    assert len(await journal.read_run(run, after_sequence=3)) == 1
    await journal.close()


async def test_boundaries_are_told_in_order(tmp_path: Path) -> None:
    told: list[str] = []
    journal = await open_journal(tmp_path, Options(on_boundary=told.append))
    run = await create_run(journal, "a")
    await journal.append(run, 1, [leased(1)])
    await journal.close()
    assert told == ["before_append", "appended", "acknowledged"] * 2


async def test_more_writes_than_the_queue_holds_wait_their_turn(tmp_path: Path) -> None:
    journal = await open_journal(tmp_path, Options(max_pending=8, max_batch=3))
    runs = [await create_run(journal, f"r{number}") for number in range(40)]
    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(journal.append(run, 1, [leased(1)]))
            group.create_task(journal.put([Record("tool", DEFAULT_NAMESPACE, run.id, b"")]))
    for run in runs:
        assert len(await journal.read_run(run)) == 2
    assert len(await journal.list_newest("tool", DEFAULT_NAMESPACE, after="", limit=99)) == 40
    await journal.close()


async def test_waiting_writes_are_refused_when_the_journal_closes(tmp_path: Path) -> None:
    journal = await open_journal(tmp_path, Options(max_pending=2))
    runs = [await create_run(journal, f"r{number}") for number in range(9)]

    async def append(run: RunIdentity) -> bool:
        try:
            await journal.append(run, 1, [leased(1)])
        except Unavailable as error:
            return error.reason is not Reason.DRAINING
        return True

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(append(run)) for run in runs]
        group.create_task(journal.close())
    journal = await open_journal(tmp_path)
    stored = [len(await journal.read_run(run)) == 2 for run in runs]
    assert stored == [task.result() for task in tasks]
    assert True in stored
    assert False in stored
    await journal.close()


async def test_quiet_heads_leave_the_memory_and_come_back(tmp_path: Path) -> None:
    journal = await open_journal(tmp_path, Options(heads_rows=10))
    quiet = await create_run(journal, "quiet")
    busy = await create_run(journal, "busy")
    for sequence in range(1, 80):
        await journal.append(busy, sequence, [leased(sequence)])
    assert set(journal._intake.heads) == {busy.key}
    stored = await journal.get_run(DEFAULT_NAMESPACE, RunId("quiet"))
    assert stored is not None
    assert stored.last_sequence == 1
    assert len(await journal.read_run(quiet)) == 1
    with pytest.raises(Conflict):
        await journal.append(quiet, 0, [leased(1)])
    await journal.append(quiet, 1, [leased(1)])
    assert [entry.sequence for entry in await journal.read_run(quiet)] == [1, 2]
    await journal.close()


@pytest.mark.parametrize("heads_rows", [3, 50, 100_000])
async def test_heads_are_found_again_after_a_kill(tmp_path: Path, heads_rows: int) -> None:
    journal = await open_journal(tmp_path / "live", Options(heads_rows=heads_rows))
    runs = [await create_run(journal, f"r{number}") for number in range(7)]
    for sequence in range(1, 30):
        for run in runs[: sequence % 7 + 1]:
            read = await journal.read_run(run)
            await journal.append(run, len(read), [leased(sequence)])
    lengths = [len(await journal.read_run(run)) for run in runs]
    (tmp_path / "killed").mkdir()
    for name in ("journal.db", "journal.db-wal"):
        (tmp_path / "killed" / name).write_bytes((tmp_path / "live" / name).read_bytes())
    await journal.close()
    journal = await open_journal(tmp_path / "killed")
    assert [stored.last_sequence for stored in await journal.unfinished_runs()] == lengths
    for run, length in zip(runs, lengths, strict=True):
        await journal.append(run, length, [ended(1)])
        assert len(await journal.read_run(run)) == length + 1
    await journal.close()


async def test_a_long_run_is_read_by_the_thread_as_by_the_loop(tmp_path: Path) -> None:
    journal = await open_journal(tmp_path)
    run = await create_run(journal, "a")
    await journal.append(run, 1, [leased(number) for number in range(500)])
    whole = await journal.read_run(run)
    assert [entry.sequence for entry in whole] == list(range(1, 502))
    assert await journal.read_run(run, after_sequence=480) == whole[480:]
    await journal.close()


async def finish(journal: SqliteJournal, run: RunIdentity) -> None:
    last = len(await journal.read_run(run))
    await journal.append(run, last, [RunEnded(RunState.SUCCEEDED)], Checkpoint(ENDED, State()))


async def compact_all(journal: SqliteJournal, before_ms: int, limit: int) -> int:
    removed = after = 0
    while True:
        step = await journal.compact(before_ms=before_ms, after=after, limit=limit)
        removed += step.removed
        after = step.after
        if not after:
            return removed


@pytest.mark.parametrize("limit", [1, 3, 1_000])
async def test_compaction_forgets_ended_runs_only(tmp_path: Path, limit: int) -> None:
    clock = FixedClock(1_000)
    journal = await SqliteJournal.open(tmp_path, clock)
    await journal.put([Record("session", DEFAULT_NAMESPACE, "alive", b"")])
    gone = await create_run(journal, "gone", session=SessionId("deleted"))
    kept = await create_run(journal, "kept", session=SessionId("alive"))
    live = await create_run(journal, "live")
    for run in (gone, kept):
        await finish(journal, run)
    floor = journal.revision
    clock.time_ms = 2_000
    young = await create_run(journal, "young")
    await finish(journal, young)

    assert await compact_all(journal, before_ms=2_000, limit=limit) == 2
    assert journal.oldest_revision == floor
    assert await journal.read_run(gone) == []
    assert [len(await journal.read_run(run)) for run in (kept, live, young)] == [2, 1, 2]
    with pytest.raises(OutOfRange) as caught:
        await journal.scan(EVERYTHING, after_revision=floor - 1, limit=9)
    assert caught.value.reason is Reason.COMPACTED
    assert caught.value.metadata == {"oldest_revision": str(floor)}
    entries, _ = await journal.scan(EVERYTHING, after_revision=floor, limit=9)
    assert [entry.run.id for entry in entries] == ["young", "young"]
    await journal.append(gone, 2, [ended(1)])
    assert [entry.sequence for entry in await journal.read_run(gone)] == [3]
    await journal.close()


async def test_compaction_outlives_a_restart(tmp_path: Path) -> None:
    journal = await open_journal(tmp_path)
    run = await create_run(journal, "a")
    await finish(journal, run)
    revision = journal.revision
    await compact_all(journal, before_ms=9_999, limit=100)
    await journal.close()
    journal = await open_journal(tmp_path)
    assert (journal.revision, journal.oldest_revision) == (revision, revision)
    other = await create_run(journal, "b")
    assert (await journal.read_run(other))[0].revision > revision
    stored = await journal.get_run(DEFAULT_NAMESPACE, RunId("a"))
    assert stored is not None
    assert stored.last_sequence == 2
    await journal.close()


async def test_a_run_that_ends_later_is_forgotten_later(tmp_path: Path) -> None:
    journal = await open_journal(tmp_path)
    run = await create_run(journal, "a")
    assert await compact_all(journal, before_ms=9_999, limit=100) == 0
    await finish(journal, run)
    assert await compact_all(journal, before_ms=9_999, limit=100) == 2
    await journal.close()


async def test_closing_leaves_one_file_and_can_be_repeated(tmp_path: Path) -> None:
    journal = await open_journal(tmp_path)
    await create_run(journal, "a")
    await journal.close()
    await journal.close()
    assert sorted(files(tmp_path)) == ["journal.db", "journal.lock"]
