"""What every journal promises its readers: all of it, in order, nothing twice."""

import asyncio

import pytest

from agentd.agent.events import (
    CallEnded,
    Entry,
)
from agentd.agent.ids import (
    DEFAULT_NAMESPACE,
    AgentId,
    Namespace,
    RunId,
    SessionId,
)
from agentd.errors import OutOfRange, Reason
from agentd.runtime.ports import Selector
from tests.conformance.journal.helpers import EVERYTHING, OTHER, AnyJournal, scan_all
from tests.fakes.runs import create_run, ended, leased


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


@pytest.mark.parametrize("limit", [1, 4, 100])
@pytest.mark.parametrize(
    "names", [{"r1"}, {"nobody"}, {"r0", "r3", "nobody"}, {f"r{i}" for i in range(40)}]
)
async def test_a_scan_of_some_runs_is_that_part_of_the_whole(
    journal: AnyJournal, names: set[str], limit: int
) -> None:
    runs = [await create_run(journal, f"r{number}") for number in range(5)]
    for number in range(1, 6):
        for run in runs:
            await journal.append(run, number, [leased(number)])
    selector = Selector(DEFAULT_NAMESPACE, runs=frozenset(map(RunId, names)))
    expected = [entry for entry in await scan_all(journal, EVERYTHING) if selector.matches(entry)]
    assert await scan_all(journal, selector, limit=limit) == expected
    middle = journal.revision // 2
    tail = [entry for entry in expected if entry.revision > middle]
    assert await scan_all(journal, selector, after=middle, limit=limit) == tail


async def test_a_long_run_is_scanned(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    await create_run(journal, "b")
    await journal.append(run, 1, [leased(number) for number in range(200)])
    selector = Selector(DEFAULT_NAMESPACE, runs=frozenset({run.id}))
    entries = await scan_all(journal, selector, limit=60)
    assert [entry.sequence for entry in entries] == list(range(1, 202))


async def test_a_scan_of_a_run_amid_appends_skips_nothing(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    selector = Selector(DEFAULT_NAMESPACE, runs=frozenset({run.id}))
    async with asyncio.TaskGroup() as group:
        for number in range(1, 30):
            group.create_task(journal.append(run, number, [leased(number)]))
        await asyncio.sleep(0)
        scanning = group.create_task(journal.scan(selector, after_revision=0, limit=99))
    entries, reached = scanning.result()
    whole, _ = await journal.scan(selector, after_revision=0, limit=99)
    assert list(entries) == [entry for entry in whole if entry.revision <= reached]


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
