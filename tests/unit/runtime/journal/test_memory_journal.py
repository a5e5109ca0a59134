"""The faults of the journal in memory, which simulations rest on."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from agentd.agent.events import Entry
from agentd.errors import AgentdError, Exhausted, Reason, Unavailable
from tests.fakes.journal import STORED, Commit, MemoryJournal, Outcome
from tests.fakes.runs import FixedClock, create_run, leased


def planned(*commits: Commit) -> Callable[[], Commit]:
    """Return a plan for the first commits; the rest is well."""
    rest: Iterator[Commit] = iter(commits)
    return lambda: next(rest, STORED)


@pytest.mark.parametrize(
    ("outcome", "error", "length"),
    [(Outcome.LOST, Unavailable, 1), (Outcome.KEPT, Unavailable, 2), (Outcome.FULL, Exhausted, 1)],
)
async def test_a_commit_fails_as_planned(
    outcome: Outcome, error: type[AgentdError], length: int
) -> None:
    journal = MemoryJournal(FixedClock(), planned(STORED, Commit(outcome)))
    heard: list[Entry] = []
    journal.subscribe(heard.extend)
    run = await create_run(journal, "a")
    with pytest.raises(error):
        await journal.append(run, 1, [leased(1)])
    assert len(await journal.read_run(run)) == len(heard) == length
    await journal.append(run, length, [leased(2)])
    assert len(await journal.read_run(run)) == len(heard) == length + 1


async def test_what_is_queued_behind_a_failed_commit_fails_with_it() -> None:
    journal = MemoryJournal(FixedClock(), planned(STORED, Commit(Outcome.LOST, delay_s=0.01)))
    run = await create_run(journal, "a")

    async def append(sequence: int) -> Reason:
        with pytest.raises(Unavailable) as caught:
            await journal.append(run, sequence, [leased(sequence)])
        return caught.value.reason

    async with asyncio.TaskGroup() as group:
        first = group.create_task(append(1))
        for _ in range(3):
            await asyncio.sleep(0)
        second = group.create_task(append(2))
    assert first.result() is second.result() is Reason.OUTCOME_UNKNOWN
    assert len(await journal.read_run(run)) == 1


@pytest.mark.parametrize("stored", [0, 1, 2])
async def test_a_crash_keeps_what_is_durable_and_no_more(stored: int) -> None:
    journal = MemoryJournal(FixedClock(), planned(STORED, Commit(delay_s=60.0)))
    run = await create_run(journal, "a")
    async with asyncio.TaskGroup() as group:
        appends = [
            group.create_task(journal.append(run, sequence, [leased(sequence)]))
            for sequence in (1, 2)
        ]
        for _ in range(3):
            await asyncio.sleep(0)
        assert journal.in_flight == 2
        survivor = journal.crash(stored=stored)
        for append in appends:
            append.cancel()
    assert len(await survivor.read_run(run)) == 1 + stored
    await survivor.append(run, 1 + stored, [leased(9)])
    with pytest.raises(Unavailable):
        await journal.append(run, 3, [leased(1)])


async def test_a_delayed_commit_answers_when_its_time_has_come() -> None:
    journal = MemoryJournal(FixedClock(), planned(Commit(delay_s=0.02)))
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await create_run(journal, "a")
    assert loop.time() - begin >= 0.02
