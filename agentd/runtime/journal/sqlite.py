"""The journal in SQLite: gives out positions on the event loop, has the writer's thread commit."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import apsw
import msgspec

from agentd.agent.events import Entry, Event
from agentd.agent.ids import Namespace, RunId, RunIdentity, RunKey
from agentd.agent.run import Run
from agentd.errors import Conflict, NotFound, OutOfRange, Reason, Unavailable
from agentd.runtime.codec import encode_spec, encode_state, encode_view
from agentd.runtime.journal import documents, retention, schema
from agentd.runtime.journal.intake import Intake, Listener
from agentd.runtime.journal.reader import Reader
from agentd.runtime.journal.retention import Compaction
from agentd.runtime.journal.schema import Options
from agentd.runtime.journal.writer import Standing, Writer, read_standing
from agentd.runtime.ports import Checkpoint, Clock, Record, RunQuery, Selector, StoredRun

_Answer = TypeVar("_Answer")

NEAR_EVENTS: Final = 64
"""A chain of at most this many events is read on the event loop; a longer one in a thread."""
CHAINS: Final = 16
"""A scan of at most this many runs follows their chains instead of the log."""


class SqliteJournal:
    """The port `Journal` on one directory. Belongs to the event loop that opened it."""

    def __init__(self, directory: Path, clock: Clock, options: Options, parts: "_Parts") -> None:
        self._lock = parts.lock
        self._loop = asyncio.get_running_loop()
        self._near = Reader(parts.near)
        self._far = Reader(parts.far)
        self._thread = ThreadPoolExecutor(1, "journal-reader")
        self._last_key = self._near.newest_key()
        self._closed = False
        self._intake = Intake(clock, options.max_pending)
        self._writer = Writer(directory, options, parts.writer, self._intake)
        self._intake.begin(parts.standing, self._writer.put)
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
            parts = await asyncio.to_thread(_open_parts, directory, options, lock)
            return cls(directory, clock, options, parts)
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
        self._intake.end(Unavailable(Reason.DRAINING, "the journal is closed"))
        stopped = await asyncio.to_thread(self._writer.stop, timeout_s)
        await asyncio.to_thread(self._thread.shutdown)
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
        return self._intake.revision

    @property
    def oldest_revision(self) -> int:
        """The lowest revision that a reader may start after; rises with retention."""
        return self._intake.oldest_revision

    def next_run_key(self) -> RunKey:
        """Return a key that no run has had."""
        self._last_key += 1
        return RunKey(self._last_key)

    def subscribe(self, listener: Listener) -> None:
        """Have durable entries passed on, in the order of their revisions, on the event loop."""
        self._intake.subscribe(listener)

    async def create_run(
        self, run: Run, events: Sequence[Event], records: Sequence[Record] = ()
    ) -> Sequence[Entry]:
        """Store a run with its first events, and documents, in one transaction."""
        intake = self._intake
        await intake.admit()
        identity = run.identity
        spec, view = encode_spec(run.spec), encode_view(run.view)
        write = intake.place(identity, (0, 0), events)
        name = (identity.key, identity.namespace, identity.id, identity.agent, identity.session)
        head = intake.heads[identity.key]
        write.created = (*name, run.view.state.value, *head, spec, view)
        write.records = documents.rows(records)
        intake.submit(write)
        return await write.future

    async def append(
        self,
        run: RunIdentity,
        after_sequence: int,
        events: Sequence[Event],
        checkpoint: Checkpoint | None = None,
        records: Sequence[Record] = (),
    ) -> Sequence[Entry]:
        """Append events to a run whose newest event has this sequence, and store documents.

        Raises Conflict (CONCURRENT_UPDATE) when it has another, NotFound (RUN_NOT_FOUND),
        Unavailable (OUTCOME_UNKNOWN, DRAINING) and Exhausted (DISK_FULL).
        """
        intake = self._intake
        if intake.held:  # Asked here too: a coroutine less on the hot path.
            await intake.admit()
        head = intake.heads.get(run.key) or self._load_head(run.key)
        if head[1] != after_sequence:
            raise Conflict(
                Reason.CONCURRENT_UPDATE,
                f"the newest event of the run {run.id} is {head[1]}, not {after_sequence}",
                metadata={"run": run.id, "sequence": str(head[1])},
            )
        if checkpoint is None:
            write = intake.place(run, head, events)
        else:
            view = encode_view(checkpoint.view)
            snapshot = None if checkpoint.state is None else encode_state(checkpoint.state)
            write = intake.place(run, head, events)
            position, sequence = intake.heads[run.key]
            state = checkpoint.view.state.value
            write.checkpoint = (run.key, state, view, snapshot, sequence, position)
        if records:
            write.records = documents.rows(records)
        intake.submit(write)
        return await write.future

    async def get_run(self, namespace: Namespace, run: RunId) -> StoredRun | None:
        """Return a run of the index."""
        await self._intake.settle()
        return self._near.run(namespace, run, self._intake.heads)

    async def list_runs(
        self, query: RunQuery, *, before: RunKey | None, limit: int
    ) -> Sequence[StoredRun]:
        """Return runs with keys below `before`, newest first."""
        heads = self._intake.heads
        return await self._far_away(partial(self._far.runs, query, before, limit, heads))

    async def unfinished_runs(self) -> Sequence[StoredRun]:
        """Return every run of every namespace without a terminal state, oldest first."""
        return await self._far_away(partial(self._far.unfinished, self._intake.heads))

    async def read_run(
        self, run: RunIdentity, *, after_sequence: int = 0, limit: int = 0
    ) -> Sequence[Entry]:
        """Return the events of one run in order. A limit of 0 means all."""
        head = await self._durable_head(run.key)
        length = head[1] - after_sequence
        if length <= 0:
            return []
        arguments = (run, head, after_sequence, limit)
        if length <= NEAR_EVENTS:
            return self._near.chain(*arguments)
        return await self._far_away(partial(self._far.chain, *arguments))

    async def scan(
        self, selector: Selector, *, after_revision: int, limit: int
    ) -> tuple[Sequence[Entry], int]:
        """Return matching entries in order, and the revision up to which everything was looked at.

        Raises OutOfRange: COMPACTED below `oldest_revision`, FUTURE_REVISION above `revision`.
        """
        await self._intake.settle()
        newest = self._intake.revision
        if after_revision > newest:
            raise OutOfRange(
                Reason.FUTURE_REVISION,
                f"the newest revision is {newest}",
                metadata={"revision": str(newest)},
            )
        if after_revision == newest:
            return [], newest
        if not 0 < len(selector.runs) <= CHAINS:
            return await self._far_away(
                partial(self._far.scan, selector, after_revision, limit, newest)
            )
        heads = [head async for head in self._heads_of(selector)]
        arguments = ([position for position, _ in heads], selector, after_revision, limit, newest)
        if sum(length for _, length in heads) <= NEAR_EVENTS:
            return self._near.scan_chains(*arguments)
        return await self._far_away(partial(self._far.scan_chains, *arguments))

    async def put(self, records: Sequence[Record], *, expected_revision: int | None = None) -> None:
        """Store documents in one transaction."""
        await self._intake.perform(documents.put(tuple(records), expected_revision))

    async def get(
        self, kind: str, namespace: Namespace, id: str, revision: int = 0
    ) -> Record | None:
        """Return a document at a revision; 0 means the newest."""
        await self._intake.settle()
        return self._near.record(kind, namespace, id, revision)

    async def namespaces(self, kind: str) -> Sequence[Namespace]:
        """Return the namespaces that have documents of a kind."""
        return await self._far_away(partial(self._far.namespaces, kind))

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
        return await self._intake.perform(documents.delete(kind, namespace, id))

    async def compact(self, *, before_ms: int, after: int = 0, limit: int = 10_000) -> Compaction:
        """Forget events of ended runs that were recorded before a time, looking at `limit` rows.

        What an unfinished run, or one of a session that exists, has recorded stays; readers may
        start at or after `oldest_revision` only. Call again with `Compaction.after` until it is 0.
        """
        done = await self._intake.perform(retention.compact(before_ms, after, limit))
        self._intake.oldest_revision = max(self._intake.oldest_revision, done.oldest_revision)
        return done

    def _load_head(self, key: RunKey) -> tuple[int, int]:
        head = self._near.head(key)
        if head is None:
            raise NotFound(Reason.RUN_NOT_FOUND, f"the journal has no run with the key {key}")
        return head

    async def _heads_of(self, selector: Selector) -> AsyncIterator[tuple[int, int]]:
        for run in selector.runs:
            key = self._near.key(selector.namespace, run)
            if key is not None:
                yield await self._durable_head(key)

    async def _durable_head(self, key: RunKey) -> tuple[int, int]:
        while True:
            await self._intake.settle()
            head = self._intake.heads.get(key) or self._load_head(key)
            if head[0] <= self._intake.revision:
                return head
            await self._intake.flush()

    async def _far_away(self, read: Callable[[], _Answer]) -> _Answer:
        await self._intake.settle()
        return await self._loop.run_in_executor(self._thread, read)


class _Parts(msgspec.Struct, frozen=True):
    """What an open journal is made of."""

    lock: int
    writer: apsw.Connection
    near: apsw.Connection
    far: apsw.Connection
    standing: Standing


def _open_parts(directory: Path, options: Options, lock: int) -> _Parts:
    """Open the connections and read what the database says. Blocks."""
    schema.prepare(directory, options)
    opened: list[apsw.Connection] = []
    try:
        opened.append(schema.open_writer(directory, options))
        opened.append(schema.open_reader(directory, options))
        opened.append(schema.open_reader(directory, options))
        return _Parts(lock, opened[0], opened[1], opened[2], read_standing(opened[0]))
    except (apsw.Error, KeyError, TypeError) as error:
        for connection in reversed(opened):
            connection.close()
        if isinstance(error, apsw.IOError | apsw.FullError | apsw.BusyError | apsw.CantOpenError):
            raise Unavailable(
                Reason.UNREACHABLE, f"the journal in {directory} cannot be opened: {error}"
            ) from error
        raise schema.corrupt(f"the journal in {directory} is damaged: {error}") from error
