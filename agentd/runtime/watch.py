"""Watching the journal: batches of entries for any number of readers, from any revision.

A reader first reads the journal from its revision in pages, then joins a channel. Readers with
the same selector share one channel and its batches, so that an entry is matched and encoded once
for all of them. While entries keep coming, channels collect for some milliseconds and are flushed
in rounds; after a quiet moment an entry is passed on at once. The stream is a view of the journal:
nothing is published that is not durable, and deltas, which are not, carry no revision.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from msgspec.structs import replace

from agentd.agent.events import Entry, RunEnded
from agentd.agent.ids import CallId, RunId, RunIdentity
from agentd.errors import Exhausted, OutOfRange, Reason
from agentd.runtime.ports import Journal, Selector
from agentd.runtime.recent import Recent
from agentd.runtime.redacting import Redact, redacted

READER_S = 0.0003
"""What a round costs for each reader, about: by so much its successor is put off."""
SLOWEST_ROUND = 10
"""By how many times `coalesce_s` rounds are apart at the most."""


class CallProgress(msgspec.Struct, frozen=True):
    """A note on the progress of a call."""

    message: str
    fraction: float
    """0 to 1; negative means not said."""


class Delta(msgspec.Struct, frozen=True):
    """A piece of something unfinished: no revision, never replayed."""

    run: RunIdentity
    source: int | CallId
    """The turn of a model request, or a call."""
    attempt: int
    index: int
    """The position among the pieces of this source and attempt, dense from 0."""
    piece: str | CallProgress


class WatchBatch:
    """What was waiting for the readers of one selector, in order. Shared by all of them."""

    __slots__ = ("deltas", "encoded", "entries", "progress_revision")

    def __init__(
        self, entries: Sequence[Entry], deltas: Sequence[Delta], progress_revision: int
    ) -> None:
        self.entries = entries
        self.deltas = deltas
        self.progress_revision = progress_revision
        """Every matching entry up to this revision has been passed on."""
        self.encoded: bytes | None = None
        """The batch as its carrier sends it; kept by the service that first encodes it."""


class WatchLimits(msgspec.Struct, frozen=True):
    """The bounds of watching."""

    coalesce_s: float = 0.005
    """How long busy channels collect for one reader before they pass batches on."""
    page: int = 1024
    """Entries read from the journal at a time while a reader catches up."""
    backlog: int = 65_536
    """Entries and deltas that may wait for one reader before it is cut."""


class _Reader:
    """One reader's place: a list of batches and one future."""

    __slots__ = ("batches", "cut", "size", "wakeup")

    def __init__(self) -> None:
        self.batches: list[WatchBatch] = []
        self.size = 0
        self.cut = False
        self.wakeup: asyncio.Future[None] | None = None

    def offer(self, batch: WatchBatch, limit: int) -> None:
        if self.cut:
            return
        self.size += len(batch.entries) + len(batch.deltas)
        if self.size > limit:
            self.cut = True
            self.batches.clear()
        else:
            self.batches.append(batch)
        self.wake()

    def wake(self) -> None:
        if self.wakeup and not self.wakeup.done():
            self.wakeup.set_result(None)

    def take(self) -> list[WatchBatch]:
        batches, self.batches = self.batches, []
        self.size = 0
        return batches


class _Channel:
    """The readers of one selector and what waits for them."""

    __slots__ = ("deltas", "entries", "include_deltas", "readers", "scheduled")

    def __init__(self, *, include_deltas: bool) -> None:
        self.include_deltas = include_deltas
        self.readers: dict[_Reader, None] = {}
        """In the order in which they joined, so that a simulation can be replayed."""
        self.entries: list[Entry] = []
        self.deltas: list[Delta] = []
        self.scheduled = False


class Watches:
    """Every watch of the daemon. Lives on the event loop."""

    def __init__(
        self,
        journal: Journal,
        limits: WatchLimits | None = None,
        redact: Redact | None = None,
    ) -> None:
        self._journal = journal
        self._redact = redact
        self._limits = limits or WatchLimits()
        self._channels: dict[tuple[Selector, bool], _Channel] = {}
        self._by_run: dict[RunId, list[tuple[Selector, _Channel]]] = {}
        self._broad: list[tuple[Selector, _Channel]] = []
        self._recent = Recent(journal.revision)
        self._due: list[_Channel] = []
        self._next_flush = 0.0
        """When the next round may be, in the loop's time."""
        self._revision = journal.revision
        journal.subscribe(self._publish)

    async def watch(
        self,
        selector: Selector,
        *,
        after_revision: int,
        include_deltas: bool = False,
        progress_interval_s: float | None = None,
        until_ended: bool = False,
    ) -> AsyncGenerator[WatchBatch, None]:
        """Yield what comes after a revision; -1 means from now on.

        Raises OutOfRange (COMPACTED, FUTURE_REVISION), and Exhausted (SLOW_READER) when more waits
        for this reader than the bound; its metadata names the last revision passed on.
        """
        after = self._revision if after_revision < 0 else after_revision
        if after > self._revision:
            message = f"revision {after} has not been reached: the newest is {self._revision}"
            newest = {"newest_revision": str(self._revision)}
            raise OutOfRange(Reason.FUTURE_REVISION, message, metadata=newest)
        ends = await self._ends(selector, after) if until_ended else {}
        unended = set(ends) if until_ended else None
        last = after
        while True:
            page = await self._page(selector, last)
            last = page.progress_revision
            if page.entries:
                yield page
            if _all_ended(unended, page.entries):
                return
            if last >= self._revision:
                break
        if unended is not None:
            unended -= {run for run, end in ends.items() if 0 < end <= last}
            if not unended:
                return
        reader = _Reader()
        with self._joined(selector, reader, include_deltas=include_deltas) as channel:
            while True:
                for batch in await self._next(reader, channel, progress_interval_s):
                    news = _after(batch, last)
                    last = max(last, batch.progress_revision)
                    yield news
                    if _all_ended(unended, news.entries):
                        return
                if reader.cut:
                    raise _slow_reader(last)

    async def list_events(
        self, selector: Selector, *, after_revision: int, limit: int
    ) -> tuple[Sequence[Entry], int]:
        """Return up to `limit` matching entries, and the revision up to which all was looked at."""
        entries: list[Entry] = []
        after = after_revision
        while len(entries) < limit:
            found, after = await self._journal.scan(
                selector, after_revision=after, limit=limit - len(entries)
            )
            entries.extend(found)
            if after >= self._journal.revision:
                break
        return entries, after

    def publish_delta(self, delta: Delta) -> None:
        """Pass a piece of something unfinished on to the readers that asked for deltas."""
        if self._redact:
            delta = replace(delta, piece=redacted(delta.piece, self._redact))
        for selector, channel in self._interested(delta.run.id):
            if channel.include_deltas and _selects_run(selector, delta.run):
                channel.deltas.append(delta)
                self._schedule(channel)

    async def _ends(self, selector: Selector, after: int) -> dict[RunId, int]:
        """Return the revision of the end of each run that is watched, 0 for one that goes on. The
        index may know an end that has not been published yet, and that is still to be passed on."""
        begun = {
            entry.run.id
            for entry in self._recent.since(after, selector.runs) or ()
            if entry.sequence == 1 and entry.run.namespace == selector.namespace
        }
        # What began after the reader's place cannot have ended before it: most watches are of such.
        ends = dict.fromkeys(selector.runs & begun, 0)
        for run in selector.runs - begun:
            stored = await self._journal.get_run(selector.namespace, run)
            if stored is None:
                continue
            ends[run] = 0
            if stored.run.view.state.ended:
                entries = await self._journal.read_run(
                    stored.run.identity, after_sequence=stored.run.view.last_sequence - 1, limit=1
                )
                ends[run] = entries[0].revision if entries else self._revision
        return ends

    async def _page(self, selector: Selector, after: int) -> WatchBatch:
        """Return what comes next after a revision: from what is at hand, else from the journal."""
        recent = self._recent.since(after, selector.runs)
        if recent is not None:
            entries = [entry for entry in recent if selector.matches(entry)]
            return WatchBatch(entries, (), self._revision)
        found, looked_at = await self._journal.scan(
            selector, after_revision=after, limit=self._limits.page
        )
        return WatchBatch(found, (), looked_at)

    async def _next(
        self, reader: _Reader, channel: _Channel, interval_s: float | None
    ) -> list[WatchBatch]:
        """Wait for batches; return a mark of progress when the interval has passed without any."""
        if reader.batches or reader.cut:
            return reader.take()
        loop = asyncio.get_running_loop()
        reader.wakeup = loop.create_future()
        timer = loop.call_later(interval_s, reader.wake) if interval_s else None
        try:
            await reader.wakeup
        finally:
            reader.wakeup = None
            if timer:
                timer.cancel()
        if not reader.batches and not reader.cut and not channel.entries:
            return [WatchBatch((), (), self._revision)]
        return reader.take()

    def _publish(self, entries: Sequence[Entry]) -> None:
        complete: list[_Channel] = []
        for entry in entries:
            for selector, channel in self._interested(entry.run.id):
                if not selector.matches(entry):
                    continue
                channel.entries.append(entry)
                self._schedule(channel)
                if isinstance(entry.event, RunEnded) and len(selector.runs) == 1:
                    complete.append(channel)
        self._revision = entries[-1].revision
        self._recent.add(entries)
        for channel in complete:
            # Nothing follows that a round could collect, and somebody waits for the end.
            self._pass_on(channel)

    def _interested(self, run: RunId) -> Iterable[tuple[Selector, _Channel]]:
        if not self._by_run:
            return self._broad
        narrow = self._by_run.get(run)
        if not narrow:
            return self._broad
        return (*narrow, *self._broad) if self._broad else narrow

    def _schedule(self, channel: _Channel) -> None:
        """Have a channel flushed: at once after a quiet moment, else with the next round."""
        if channel.scheduled:
            return
        channel.scheduled = True
        self._due.append(channel)
        if len(self._due) == 1:
            loop = asyncio.get_running_loop()
            loop.call_at(max(self._next_flush, loop.time()), self._flush)

    def _flush(self) -> None:
        """Pass on what has been collected. The more readers there are, the longer the next round
        collects: it is messages that cost, not events."""
        channels, self._due = self._due, []
        served = 0
        for channel in channels:
            channel.scheduled = False
            if channel.entries or channel.deltas:
                self._pass_on(channel)
                served += len(channel.readers)
        pause_s = self._limits.coalesce_s + served * READER_S
        longest_s = self._limits.coalesce_s * SLOWEST_ROUND
        self._next_flush = asyncio.get_running_loop().time() + min(pause_s, longest_s)

    def _pass_on(self, channel: _Channel) -> None:
        batch = WatchBatch(channel.entries, channel.deltas, self._revision)
        channel.entries, channel.deltas = [], []
        for reader in channel.readers:
            reader.offer(batch, self._limits.backlog)

    @contextmanager
    def _joined(
        self, selector: Selector, reader: _Reader, *, include_deltas: bool
    ) -> Iterator[_Channel]:
        channel = self._join(selector, reader, include_deltas=include_deltas)
        try:
            yield channel
        finally:
            self._leave(selector, reader, channel)

    def _join(self, selector: Selector, reader: _Reader, *, include_deltas: bool) -> _Channel:
        key = (selector, include_deltas)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = _Channel(include_deltas=include_deltas)
            if selector.runs:
                for run in selector.runs:
                    self._by_run.setdefault(run, []).append((selector, channel))
            else:
                self._broad.append((selector, channel))
        channel.readers[reader] = None
        return channel

    def _leave(self, selector: Selector, reader: _Reader, channel: _Channel) -> None:
        del channel.readers[reader]
        if channel.readers:
            return
        del self._channels[selector, channel.include_deltas]
        place = (selector, channel)
        if not selector.runs:
            self._broad.remove(place)
        for run in selector.runs:
            self._by_run[run].remove(place)
            if not self._by_run[run]:
                del self._by_run[run]


def _all_ended(unended: set[RunId] | None, entries: Sequence[Entry]) -> bool:
    """Take the runs that end in these entries off the set; say whether none is left."""
    if unended is None:
        return False
    for entry in entries:
        if isinstance(entry.event, RunEnded):
            unended.discard(entry.run.id)
    return not unended


def _selects_run(selector: Selector, run: RunIdentity) -> bool:
    return (
        run.namespace == selector.namespace
        and (selector.agent is None or run.agent == selector.agent)
        and (selector.session is None or run.session == selector.session)
    )


def _after(batch: WatchBatch, revision: int) -> WatchBatch:
    """Return the part of a batch that a reader which has just caught up has not seen."""
    if not batch.entries or batch.entries[0].revision > revision:
        return batch
    entries = [entry for entry in batch.entries if entry.revision > revision]
    return WatchBatch(entries, batch.deltas, batch.progress_revision)


def _slow_reader(last: int) -> Exhausted:
    return Exhausted(
        Reason.SLOW_READER,
        f"the reader did not keep up; watch again after revision {last}",
        metadata={"last_revision": str(last)},
        retry_after_s=0.1,
    )
