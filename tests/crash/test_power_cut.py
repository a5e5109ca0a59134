"""A power cut at any moment loses nothing that was acknowledged; and the test can tell."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from agentd.agent.events import Event
from agentd.agent.ids import DEFAULT_NAMESPACE, RunId, RunIdentity
from agentd.agent.run import RunView
from agentd.agent.state import State
from agentd.errors import AgentdError, Corrupt, Unavailable
from agentd.runtime.journal.schema import Options
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.ports import Checkpoint, Record, Selector
from tests.crash.power import Acknowledged, Disk, FailedSync, Image, Loss, Operation, images
from tests.fakes.runs import CREATED, FixedClock, create_run, ended, leased

RUNS = 4
ROUNDS = 20
SMALL = Options(checkpoint_pages=12, heads_rows=25)
"""So small that checkpoints of both kinds happen often."""


def event(run: str, sequence: int) -> Event:
    """The event that the run has at a sequence."""
    if sequence == 1:
        return CREATED
    number = int(run[1:]) * 1_000 + sequence
    return leased(number) if sequence % 2 else ended(number)


async def work(journal: SqliteJournal, disk: Disk) -> None:
    """Have several runs append at once, and note what was acknowledged."""
    runs: list[RunIdentity] = []

    async def begin(number: int) -> None:
        claim = Record("claim", DEFAULT_NAMESPACE, f"r{number}", b"claimed")
        runs.append(await create_run(journal, f"r{number}", records=[claim]))
        disk.note(Acknowledged(f"r{number}", 1))

    async def go_on(run: RunIdentity) -> None:
        sequence = 1
        for number in range(ROUNDS):
            checkpoint = Checkpoint(RunView(), State(turn=number)) if number % 5 == 4 else None
            events = [event(run.id, sequence + 1), event(run.id, sequence + 2)]
            try:
                await journal.append(run, sequence, events, checkpoint)
            except Unavailable:
                sequence = len(await journal.read_run(run))
            else:
                sequence += 2
            disk.note(Acknowledged(run.id, sequence))

    async with asyncio.TaskGroup() as group:
        for number in range(RUNS):
            group.create_task(begin(number))
    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(go_on(run))


async def record(
    directory: Path, options: Options, failing_sync: int = 0
) -> tuple[dict[str, bytes], list[Operation]]:
    """Return the files before the work, and everything that the work did to them. One sync of the
    work may fail."""
    await (await SqliteJournal.open(directory, FixedClock())).close()
    base = {"journal.db": (directory / "journal.db").read_bytes()}
    disk = Disk(f"disk-{directory.name}")
    journal = await SqliteJournal.open(directory, FixedClock(), replace(options, vfs=disk.name))
    begin = disk.syncs + RUNS
    disk.failing_syncs = lambda count: count == begin + failing_sync and failing_sync > 0
    await work(journal, disk)
    await journal.close()
    disk.unregister()
    return base, disk.operations


def lay(directory: Path, image: Image) -> None:
    """Make the files of a directory those of an image."""
    directory.mkdir(exist_ok=True)
    for leftover in directory.iterdir():
        leftover.unlink()
    for name, content in image.files.items():
        (directory / name).write_bytes(content)


async def check(directory: Path, image: Image) -> str:
    """Open an image and return what is wrong with it: `lost`, `corrupt` or nothing."""
    lay(directory, image)
    try:
        journal = await SqliteJournal.open(directory, FixedClock(), Options(synchronous="OFF"))
    except Corrupt:
        return "corrupt"
    try:
        return await inspect(journal, image.acknowledged)
    except AgentdError:
        return "corrupt"
    finally:
        await journal.close()


async def inspect(journal: SqliteJournal, acknowledged: dict[str, int]) -> str:
    found: dict[tuple[str, int], int] = {}
    for stored in await journal.unfinished_runs():
        run = stored.run.identity
        entries = await journal.read_run(run)
        sequences = [entry.sequence for entry in entries]
        if sequences != list(range(1, stored.last_sequence + 1)):
            return "corrupt"
        if [entry.event for entry in entries] != [event(run.id, each) for each in sequences]:
            return "corrupt"
        if await journal.get("claim", DEFAULT_NAMESPACE, run.id) is None:
            return "corrupt"
        found |= {(run.id, entry.sequence): entry.revision for entry in entries}
    scanned, _ = await journal.scan(
        Selector(DEFAULT_NAMESPACE), after_revision=0, limit=len(found) + 1
    )
    if {(entry.run.id, entry.sequence): entry.revision for entry in scanned} != found:
        return "corrupt"
    lost = any((run, events) not in found for run, events in acknowledged.items())
    return "lost" if lost else ""


async def verdicts(
    directory: Path, options: Options, losses: list[Loss], step: int
) -> AsyncIterator[str]:
    recording, rebuilt = directory / "recording", directory / "rebuilt"
    base, operations = await record(recording, options)
    for number, image in enumerate(images(base, operations, losses, seed=7)):
        if number % step == 0:
            yield await check(rebuilt, image)


async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    losses = [Loss.DROPPED, Loss.KEPT, Loss.TORN]
    found = [verdict async for verdict in verdicts(tmp_path, SMALL, losses, step=1)]
    assert len(found) > 500
    assert set(found) == {""}


async def test_the_last_image_holds_everything(tmp_path: Path) -> None:
    base, operations = await record(tmp_path / "recording", SMALL)
    *_, last = images(base, operations, [Loss.DROPPED], seed=7)
    assert set(last.acknowledged.values()) == {1 + 2 * ROUNDS}
    assert await check(tmp_path / "rebuilt", last) == ""
    last.acknowledged["r0"] += 1
    assert await check(tmp_path / "rebuilt", last) == "lost"


async def test_normal_loses_acknowledged_events(tmp_path: Path) -> None:
    """A control: without a sync at each commit this very test finds the loss."""
    options = replace(SMALL, synchronous="NORMAL")
    found = [verdict async for verdict in verdicts(tmp_path, options, [Loss.DROPPED], step=3)]
    assert "lost" in found
    assert "corrupt" not in found


async def test_off_damages_the_database(tmp_path: Path) -> None:
    """A control: without any sync the database itself is damaged."""
    options = replace(SMALL, synchronous="OFF")
    found = [verdict async for verdict in verdicts(tmp_path, options, [Loss.TORN], step=3)]
    assert "corrupt" in found


async def test_a_run_of_an_image_can_go_on(tmp_path: Path) -> None:
    base, operations = await record(tmp_path / "recording", SMALL)
    for image in list(images(base, operations, [Loss.TORN], seed=11))[40::60]:
        await check(tmp_path / "rebuilt", image)
        journal = await SqliteJournal.open(tmp_path / "rebuilt", FixedClock())
        stored = await journal.get_run(DEFAULT_NAMESPACE, RunId("r0"))
        if stored is not None:
            run, last = stored.run.identity, stored.last_sequence
            await journal.append(run, last, [event(run.id, last + 1)])
            assert len(await journal.read_run(run)) == last + 1
        await journal.close()


@pytest.mark.parametrize("forgotten", list(Loss))
@pytest.mark.parametrize("failing_sync", [1, 3, 8, 24])
async def test_a_failed_sync_before_a_power_cut_loses_nothing(
    tmp_path: Path, failing_sync: int, forgotten: Loss
) -> None:
    """What was read as missing after the fault may not come back either: the next event took its
    place."""
    base, operations = await record(tmp_path / "recording", SMALL, failing_sync)
    assert any(isinstance(operation, FailedSync) for operation in operations)
    cuts = list(images(base, operations, list(Loss), seed=3, forgotten=forgotten))
    for image in [*cuts[::25], cuts[-1]]:
        assert await check(tmp_path / "rebuilt", image) == ""


async def fail_a_commit(directory: Path) -> tuple[SqliteJournal, Disk, RunIdentity, bytes]:
    """Return a journal whose newest commit has just failed, on a disk whose syncs still fail, and
    the database before the work."""
    await (await SqliteJournal.open(directory, FixedClock())).close()
    base = (directory / "journal.db").read_bytes()
    disk = Disk(f"disk-{directory.name}")
    journal = await SqliteJournal.open(directory, FixedClock(), Options(vfs=disk.name))
    run = await create_run(journal, "r1")
    disk.failing_syncs = lambda _: True
    with pytest.raises(Unavailable):
        await journal.append(run, 1, [event("r1", 2)])
    return journal, disk, run, base


async def final(directory: Path, image: Image) -> list[int]:
    """Return the sequences of the run in an image."""
    lay(directory, image)
    journal = await SqliteJournal.open(directory, FixedClock())
    stored = await journal.get_run(DEFAULT_NAMESPACE, RunId("r1"))
    assert stored is not None
    sequences = [entry.sequence for entry in await journal.read_run(stored.run.identity)]
    await journal.close()
    return sequences


@pytest.mark.parametrize("forgotten", list(Loss))
async def test_what_was_read_as_missing_stays_missing(tmp_path: Path, forgotten: Loss) -> None:
    journal, disk, run, base = await fail_a_commit(tmp_path / "recording")
    disk.failing_syncs = lambda _: False
    assert len(await journal.read_run(run)) == 1
    operations = list(disk.operations)
    for loss in Loss:
        *_, last = images({"journal.db": base}, operations, [loss], seed=5, forgotten=forgotten)
        assert await final(tmp_path / "rebuilt", last) == [1]
    await journal.close()


async def test_nothing_rests_on_what_only_the_page_cache_has(tmp_path: Path) -> None:
    """A commit fails, the process is killed, the next one finds the events in the page cache and
    goes on from them; then the power is cut."""
    journal, disk, run, base = await fail_a_commit(tmp_path / "first")
    *_, platter = images({"journal.db": base}, disk.operations, [Loss.DROPPED], seed=5)
    second = tmp_path / "second"
    second.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        (second / name).write_bytes((tmp_path / "first" / name).read_bytes())
    await journal.close()

    disk = Disk("disk-second")
    journal = await SqliteJournal.open(second, FixedClock(), Options(vfs=disk.name))
    assert len(await journal.read_run(run)) == 2
    await journal.append(run, 2, [event("r1", 3)])
    operations = list(disk.operations)
    await journal.close()
    *_, last = images(platter.files, operations, [Loss.DROPPED], seed=5)
    assert await final(tmp_path / "rebuilt", last) == [1, 2, 3]
