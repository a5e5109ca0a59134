"""Watching: where reading the journal hands over to following it, nothing is lost or repeated."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from agentd.agent.events import Entry, MessagePosted, RunCancelling, RunEnded, RunState
from agentd.agent.ids import DEFAULT_NAMESPACE, RunIdentity
from agentd.agent.run import RunView
from agentd.errors import Exhausted, OutOfRange
from agentd.runtime.ports import Checkpoint, Selector
from agentd.runtime.watch import Watches, WatchLimits
from tests.fakes.journal import MemoryJournal
from tests.fakes.runs import FixedClock, create_run
from tests.simulation.loop import VirtualLoop

Listener = Callable[[Sequence[Entry]], None]


class LateJournal(MemoryJournal):
    """A journal whose index is ahead of what it has published, until it is told to publish."""

    def __init__(self) -> None:
        super().__init__(FixedClock())
        self.held: list[tuple[Listener, Sequence[Entry]]] = []
        self.holds = False
        self.published = 0

    @property
    def revision(self) -> int:
        return self.published

    def subscribe(self, listener: Listener) -> None:
        def hear(entries: Sequence[Entry]) -> None:
            if self.holds:
                self.held.append((listener, entries))
            else:
                self.published = entries[-1].revision
                listener(entries)

        super().subscribe(hear)

    async def scan(
        self, selector: Selector, *, after_revision: int, limit: int
    ) -> tuple[Sequence[Entry], int]:
        entries, looked_at = await super().scan(
            selector, after_revision=after_revision, limit=limit
        )
        known = [entry for entry in entries if entry.revision <= self.published]
        return known, min(looked_at, self.published)

    def publish(self) -> None:
        for listener, entries in self.held:
            self.published = entries[-1].revision
            listener(entries)
        self.held.clear()


async def end(journal: MemoryJournal, run: RunIdentity) -> None:
    """Record the end of a run whose only event is its creation, as its driver does."""
    events = (RunCancelling(RunState.CANCELLED), RunEnded(RunState.CANCELLED))
    view = RunView(RunState.CANCELLED, last_sequence=3)
    await journal.append(run, 1, events, Checkpoint(view))


async def follow(watches: Watches, selector: Selector, after: int = 0) -> list[int]:
    """Return the sequences that a watch which lasts until the end yields."""
    seen: list[int] = []
    watch = watches.watch(selector, after_revision=after, until_ended=True)
    async for batch in watch:
        seen += [entry.sequence for entry in batch.entries]
    return seen


async def test_an_end_that_the_index_knows_first_is_still_passed_on() -> None:
    journal = LateJournal()
    watches = Watches(journal)
    run = await create_run(journal, "r1")
    journal.holds = True
    await end(journal, run)
    async with asyncio.TaskGroup() as group:
        followed = group.create_task(
            follow(watches, Selector(DEFAULT_NAMESPACE, frozenset([run.id])))
        )
        for _ in range(10):  # As many turns of the loop as the reader needs to catch up.
            await asyncio.sleep(0)
        journal.publish()
    assert followed.result() == [1, 2, 3]


async def test_a_watch_of_a_run_whose_end_was_seen_ends_at_once() -> None:
    journal = MemoryJournal(FixedClock())
    watches = Watches(journal)
    run = await create_run(journal, "r1")
    await end(journal, run)
    selector = Selector(DEFAULT_NAMESPACE, frozenset([run.id]))
    assert await follow(watches, selector) == [1, 2, 3]
    assert await follow(watches, selector, after=journal.revision) == []


async def test_a_reader_that_does_not_come_back_is_cut_with_its_place() -> None:
    journal = MemoryJournal(FixedClock())
    watches = Watches(journal, WatchLimits(coalesce_s=0.0, backlog=4))
    run = await create_run(journal, "r1")
    watch = watches.watch(Selector(DEFAULT_NAMESPACE), after_revision=0)
    assert [entry.sequence for entry in (await anext(watch)).entries] == [1]

    async def post() -> None:
        await asyncio.sleep(0)  # The reader has joined.
        await journal.append(run, 1, (MessagePosted("more"),))

    async with asyncio.TaskGroup() as group:
        group.create_task(post())
        assert [entry.sequence for entry in (await anext(watch)).entries] == [2]
    for sequence in range(2, 9):
        await journal.append(run, sequence, (MessagePosted("more"),))
    with pytest.raises(Exhausted) as cut:
        await anext(watch)
    assert cut.value.metadata["last_revision"] == "2"


async def test_a_revision_that_was_not_reached_is_refused() -> None:
    watches = Watches(MemoryJournal(FixedClock()))
    with pytest.raises(OutOfRange) as refused:
        await anext(watches.watch(Selector(DEFAULT_NAMESPACE), after_revision=7))
    assert refused.value.metadata == {"newest_revision": "0"}


def test_an_end_does_not_wait_for_the_next_round() -> None:
    async def main() -> None:
        loop, journal = asyncio.get_running_loop(), MemoryJournal(FixedClock())
        watches = Watches(journal)
        run = await create_run(journal, "r1")
        others = watches.watch(Selector(DEFAULT_NAMESPACE), after_revision=-1)
        async with asyncio.TaskGroup() as group:
            group.create_task(anext(others))
            followed = group.create_task(
                follow(watches, Selector(DEFAULT_NAMESPACE, frozenset([run.id])))
            )
            await asyncio.sleep(1.0)
            await journal.append(run, 1, (MessagePosted("more"),))
            await asyncio.sleep(0.001)  # The message began a pause between rounds.
            events = (RunCancelling(RunState.CANCELLED), RunEnded(RunState.CANCELLED))
            await journal.append(run, 2, events, Checkpoint(RunView(RunState.CANCELLED)))
            began = loop.time()
            assert await followed == [1, 2, 3, 4]
            assert loop.time() == began

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
