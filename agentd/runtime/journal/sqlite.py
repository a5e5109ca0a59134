"""The journal in SQLite: gives out positions on the event loop, has the writer's thread commit."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import apsw

from agentd.agent.events import Entry, Event
from agentd.agent.ids import Namespace, RunId, RunIdentity, RunKey
from agentd.agent.run import Run
from agentd.errors import (
    AgentdError,
    Conflict,
    Exhausted,
    NotFound,
    OutOfRange,
    Reason,
    Unavailable,
)
from agentd.runtime.codec import encode_event, encode_spec, encode_state, encode_view
from agentd.runtime.journal import documents, retention, schema
from agentd.runtime.journal.batch import Value, Write
from agentd.runtime.journal.reader import Heads, Reader
from agentd.runtime.journal.retention import Compaction
from agentd.runtime.journal.schema import Options
from agentd.runtime.journal.writer import (
    SETTLE,
    Item,
    Standing,
    Task,
    Writer,
    read_standing,
)
from agentd.runtime.ports import Checkpoint, Clock, Record, RunQuery, Selector, StoredRun

_Answer = TypeVar("_Answer")

NEAR_EVENTS: Final = 64
"""A chain of at most this many events is read on the event loop; a longer one in a thread."""
_GATE_TIMEOUT_S: Final = 10.0
"""How long a caller waits while the queue is full or the database is opened again."""

Listener = Callable[[Sequence[Entry]], None]


class SqliteJournal:
    """The port `Journal` on one directory. Belongs to the event loop that opened it.

    A run's head (position and sequence of its newest event) is kept in memory from its first
    append until two checkpoints of heads have found it unchanged; then the index has it.
    """

    def __init__(
        self, directory: Path, clock: Clock, options: Options, lock: int, parts: "_Parts"
    ) -> None:
        self._clock = clock
        self._options = options
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._near = Reader(parts.near)
        self._far = Reader(parts.far)
        self._thread = ThreadPoolExecutor(1, "journal-reader")
        self._listeners: list[Listener] = []
        self._last_key = self._near.newest_key()
        self._pending = 0
        self._revision = self._oldest_revision = self._position = self._swept = 0
        self._time_ms = 0
        self._heads: Heads = {}
        self._gate: asyncio.Event | None = None
        self._settling = False
        self._fault: AgentdError | None = None
        self._failure: AgentdError | None = None
        self._closed = False
        self._stand(parts.standing)
        self._writer = Writer(directory, options, parts.writer, self)
        self._put = self._writer.put
        self._writer.start(parts.standing)

    @classmethod
    async def open(
        cls, directory: Path, clock: Clock, options: Options | None = None
    ) -> "SqliteJournal":
        """Open the journal of a directory, or create it.

        Raises Unavailable (UNREACHABLE) when another process has it or it cannot be opened,
        Conflict (JOURNAL_NEWER) or Corrupt (JOURNAL_CORRUPT).
        """
        options = options or Options()
        lock = schema.lock_directory(directory)
        try:
            parts = await asyncio.to_thread(_open_parts, directory, options)
            return cls(directory, clock, options, lock, parts)
        except BaseException:
            os.close(lock)
            raise

    async def close(self, timeout_s: float = 10.0) -> None:
        """Commit what is queued, bring the index up to date and release the directory.

        Raises Unavailable (OUTCOME_UNKNOWN) when that takes longer than the timeout.
        """
        if self._closed:
            return
        self._closed = True
        if self._gate is not None:
            self._gate.set()
        stopped = await asyncio.to_thread(self._writer.stop, timeout_s)
        self._thread.shutdown(wait=True)
        if not stopped:
            raise Unavailable(
                Reason.OUTCOME_UNKNOWN, f"the journal did not close within {timeout_s} s"
            )
        self._near.close()
        self._far.close()
        self._writer.close()
        os.close(self._lock)

    @property
    def revision(self) -> int:
        """The newest durable revision; 0 for an empty journal."""
        return self._revision

    @property
    def oldest_revision(self) -> int:
        """The lowest revision that a reader may start after; rises with retention."""
        return self._oldest_revision

    def next_run_key(self) -> RunKey:
        """Return a key that no run has had."""
        self._last_key += 1
        return RunKey(self._last_key)

    def subscribe(self, listener: Listener) -> None:
        """Have durable entries passed on, in the order of their revisions, on the event loop."""
        self._listeners.append(listener)

    async def create_run(
        self, run: Run, events: Sequence[Event], records: Sequence[Record] = ()
    ) -> Sequence[Entry]:
        """Store a run with its first events, and documents, in one transaction."""
        await self._admit()
        identity = run.identity
        spec, view = encode_spec(run.spec), encode_view(run.view)
        write = self._write(identity, (0, 0), events)
        write.created = (
            identity.key,
            identity.namespace,
            identity.id,
            identity.agent,
            identity.session,
            run.view.state.value,
            *self._heads[identity.key],
            spec,
            view,
        )
        write.records = [value for record in records for value in documents.row(record)]
        return await self._submit(write)

    async def append(
        self,
        run: RunIdentity,
        after_sequence: int,
        events: Sequence[Event],
        checkpoint: Checkpoint | None = None,
    ) -> Sequence[Entry]:
        """Append events to a run whose newest event has the sequence `after_sequence`."""
        if self._gate is not None or self._closed or self._failure is not None:
            await self._admit()
        head = self._heads.get(run.key) or self._load_head(run)
        if head[1] != after_sequence:
            raise Conflict(
                Reason.CONCURRENT_UPDATE,
                f"the newest event of the run {run.id} is {head[1]}, not {after_sequence}",
                metadata={"run": run.id, "sequence": str(head[1])},
            )
        if checkpoint is None:
            write = self._write(run, head, events)
        else:
            view = encode_view(checkpoint.view)
            state = None if checkpoint.state is None else encode_state(checkpoint.state)
            write = self._write(run, head, events)
            position, sequence = self._heads[run.key]
            write.checkpoint = (
                run.key,
                checkpoint.view.state.value,
                view,
                state,
                sequence,
                position,
            )
        return await self._submit(write)

    async def get_run(self, namespace: Namespace, run: RunId) -> StoredRun | None:
        """Return a run of the index."""
        await self._settle()
        return self._near.run(namespace, run, self._heads)

    async def list_runs(
        self, query: RunQuery, *, before: RunKey | None, limit: int
    ) -> Sequence[StoredRun]:
        """Return runs with keys below `before`, newest first."""
        return await self._far_away(partial(self._far.runs, query, before, limit, self._heads))

    async def unfinished_runs(self) -> Sequence[StoredRun]:
        """Return every run of every namespace without a terminal state, oldest first."""
        return await self._far_away(partial(self._far.unfinished, self._heads))

    async def read_run(
        self, run: RunIdentity, *, after_sequence: int = 0, limit: int = 0
    ) -> Sequence[Entry]:
        """Return the events of one run in order. A limit of 0 means all."""
        head = await self._durable_head(run)
        length = head[1] - after_sequence
        if length <= 0:
            return []
        arguments = (run, head, after_sequence, limit, self._oldest_revision)
        if length <= NEAR_EVENTS:
            return self._near.chain(*arguments)
        return await self._far_away(partial(self._far.chain, *arguments))

    async def scan(
        self, selector: Selector, *, after_revision: int, limit: int
    ) -> tuple[Sequence[Entry], int]:
        """Return matching entries in order, and the revision up to which everything was looked at.

        Raises OutOfRange: COMPACTED below `oldest_revision`, FUTURE_REVISION above `revision`.
        """
        await self._settle()
        if after_revision < self._oldest_revision:
            raise OutOfRange(
                Reason.COMPACTED,
                f"revisions up to {self._oldest_revision} are no longer kept",
                metadata={"oldest_revision": str(self._oldest_revision)},
            )
        if after_revision > self._revision:
            raise OutOfRange(
                Reason.FUTURE_REVISION,
                f"the newest revision is {self._revision}",
                metadata={"revision": str(self._revision)},
            )
        if after_revision == self._revision:
            return [], after_revision
        return await self._far_away(
            partial(self._far.scan, selector, after_revision, limit, self._revision)
        )

    async def put(self, records: Sequence[Record], *, expected_revision: int | None = None) -> None:
        """Store documents in one transaction."""
        await self._perform(documents.put(tuple(records), expected_revision))

    async def get(
        self, kind: str, namespace: Namespace, id: str, revision: int = 0
    ) -> Record | None:
        """Return a document at a revision; 0 means the newest."""
        await self._settle()
        return self._near.record(kind, namespace, id, revision)

    async def list_newest(
        self, kind: str, namespace: Namespace, *, after: str, limit: int
    ) -> Sequence[Record]:
        """Return documents at their newest revisions with ids above `after`, ordered by id."""
        return await self._far_away(
            partial(self._far.newest_records, kind, namespace, after, limit)
        )

    async def list_revisions(
        self, kind: str, namespace: Namespace, id: str, *, before: int, limit: int
    ) -> Sequence[Record]:
        """Return the revisions of one document below `before` (0: all), newest first."""
        return await self._far_away(
            partial(self._far.record_revisions, kind, namespace, id, before, limit)
        )

    async def delete(self, kind: str, namespace: Namespace, id: str) -> bool:
        """Delete every revision of a document; return whether there was one."""
        return await self._perform(documents.delete(kind, namespace, id))

    async def compact(self, *, before_ms: int, after: int = 0, limit: int = 10_000) -> Compaction:
        """Forget events of ended runs that were recorded before a time, looking at `limit` rows.

        What an unfinished run, or one of a session that exists, has recorded stays; readers may
        start at or after `oldest_revision` only. Call again with `Compaction.after` until it is 0.
        """
        done = await self._perform(retention.compact(before_ms, after, limit))
        self._oldest_revision = max(self._oldest_revision, done.oldest_revision)
        return done

    # What the writer's thread says, on the event loop.

    def committed(self, items: list[Item]) -> None:
        """Pass durable entries on and answer, in the same turn of the loop."""
        entries: list[Entry] = []
        for item in items:
            if type(item) is Write:
                if item.error is None:
                    entries += item.entries
                else:
                    self._heads.pop(item.entries[0].run.key, None)
        try:
            self._publish(entries)
        finally:
            for item in items:
                _answer(item, item.error)
            self._leave(len(items))

    def faulted(self, items: list[Item], error: AgentdError) -> None:
        """Acknowledge nothing until the writer has found out what is stored."""
        self._settling = True
        self._hold()
        for item in items:
            _answer(item, error)
        self._fault = error
        self._pending -= len(items)
        self._put(SETTLE)

    def settled(self, durable: list[Write], stale: list[Item], standing: Standing) -> None:
        """Go on from what is stored; what turned out to be durable is passed on."""
        self._stand(standing)
        self._settling = False
        try:
            self._publish([entry for write in durable for entry in write.entries])
        finally:
            for item in stale:
                _answer(item, self._fault)
            self._leave(len(stale))

    def broken(self, stale: list[Item], error: AgentdError) -> None:
        """Refuse everything from now on."""
        self._failure = error
        self._settling = False
        for item in stale:
            _answer(item, error)
        self._leave(len(stale))

    def heads_saved(self, revision: int) -> None:
        """Forget the heads that the index has and that have not changed for a while."""
        quiet = [key for key, head in self._heads.items() if head[0] <= self._swept]
        for key in quiet:
            del self._heads[key]
        self._swept = revision

    def _stand(self, standing: Standing) -> None:
        self._revision = standing.revision
        self._oldest_revision = standing.oldest_revision
        self._position = max(self._position, standing.revision)
        self._time_ms = max(self._time_ms, standing.last_time_ms)
        self._heads = standing.heads
        self._swept = standing.heads_revision

    def _publish(self, entries: list[Entry]) -> None:
        if entries:
            self._revision = max(self._revision, entries[-1].revision)
            for listener in self._listeners:
                listener(entries)

    def _write(self, run: RunIdentity, head: tuple[int, int], events: Sequence[Event]) -> Write:
        """Give events their places. Nothing is changed when one cannot be encoded."""
        previous, sequence = head
        position = self._position
        time_ms = max(self._time_ms, self._clock.now_ms())
        key = run.key
        entries: list[Entry] = []
        rows: list[Value] = []
        for event in events:
            kind, body = encode_event(event)
            position += 1
            sequence += 1
            rows += (position, key, sequence, previous, kind, time_ms, body)
            entries.append(Entry(position, run, sequence, time_ms, event))
            previous = position
        self._position = position
        self._time_ms = time_ms
        self._heads[key] = (previous, sequence)
        return Write(self._loop.create_future(), entries, rows)

    async def _submit(self, write: Write) -> Sequence[Entry]:
        self._enqueue(write)
        return await write.future

    async def _perform(self, action: Callable[[apsw.Connection], _Answer]) -> _Answer:
        await self._admit()
        future: asyncio.Future[_Answer] = self._loop.create_future()
        self._enqueue(Task(future, action))
        return await future

    async def _flush(self) -> None:
        """Wait until everything queued so far is durable or known not to be."""
        await self._admit()
        future: asyncio.Future[None] = self._loop.create_future()
        self._enqueue(Task(future, None))
        with contextlib.suppress(Unavailable, Exhausted):
            await future

    def _enqueue(self, item: Item) -> None:
        self._pending += 1
        if self._pending >= self._options.max_pending:
            self._hold()
        self._put(item)

    def _load_head(self, run: RunIdentity) -> tuple[int, int]:
        head = self._near.head(run.key)
        if head is None:
            raise NotFound(
                Reason.RUN_NOT_FOUND, f"there is no run {run.id}", metadata={"run": run.id}
            )
        return head

    async def _durable_head(self, run: RunIdentity) -> tuple[int, int]:
        while True:
            await self._settle()
            head = self._heads.get(run.key) or self._load_head(run)
            if head[0] <= self._revision:
                return head
            await self._flush()

    async def _far_away(self, read: Callable[[], _Answer]) -> _Answer:
        await self._settle()
        return await self._loop.run_in_executor(self._thread, read)

    def _hold(self) -> None:
        if self._gate is None:
            self._gate = asyncio.Event()

    def _leave(self, count: int) -> None:
        self._pending -= count
        if self._gate is not None and not self._settling:
            self._gate.set()
            self._gate = None

    async def _admit(self) -> None:
        """Wait until a write may be queued."""
        await self._pass(lambda: self._gate)

    async def _settle(self) -> None:
        """Wait until it is known what is stored."""
        if self._settling or self._closed:
            await self._pass(lambda: self._gate if self._settling else None)

    async def _pass(self, gate: Callable[[], asyncio.Event | None]) -> None:
        try:
            async with asyncio.timeout(_GATE_TIMEOUT_S):
                while not self._closed and (event := gate()) is not None:
                    await event.wait()
        except TimeoutError:
            raise Unavailable(
                Reason.OUTCOME_UNKNOWN, f"the journal did not answer within {_GATE_TIMEOUT_S} s"
            ) from None
        if self._failure is not None:
            raise _again(self._failure)
        if self._closed:
            raise Unavailable(Reason.DRAINING, "the journal is closed")


@dataclass(frozen=True, slots=True)
class _Parts:
    """What an open journal is made of."""

    writer: apsw.Connection
    near: apsw.Connection
    far: apsw.Connection
    standing: Standing


def _open_parts(directory: Path, options: Options) -> _Parts:
    """Open the connections and read what the database says. Blocks."""
    schema.prepare(directory, options)
    opened: list[apsw.Connection] = []
    try:
        opened.append(schema.open_writer(directory, options))
        opened.append(schema.open_reader(directory, options))
        opened.append(schema.open_reader(directory, options))
        return _Parts(opened[0], opened[1], opened[2], read_standing(opened[0]))
    except (apsw.Error, KeyError, TypeError) as error:
        for connection in reversed(opened):
            connection.close()
        if isinstance(error, apsw.IOError | apsw.FullError | apsw.BusyError | apsw.CantOpenError):
            raise Unavailable(
                Reason.UNREACHABLE, f"the journal in {directory} cannot be opened: {error}"
            ) from error
        raise schema.corrupt(f"the journal in {directory} is damaged: {error}") from error


def _answer(item: Item, error: AgentdError | None) -> None:
    if item.future.done():  # Its caller was cancelled; what it asked for was done all the same.
        return
    if error is not None:
        item.future.set_exception(_again(error))
    elif isinstance(item, Write):
        item.future.set_result(item.entries)
    else:
        item.future.set_result(item.result)


def _again(error: AgentdError) -> AgentdError:
    """Return a copy, so that each caller raises its own."""
    return type(error)(
        error.reason, error.message, metadata=error.metadata, retry_after_s=error.retry_after_s
    )
