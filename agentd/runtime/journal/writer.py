"""The one thread that writes the journal: it takes what is queued and commits it as a group.

A failed commit means that the outcome is not known. The thread then tells the event loop, drops
everything that was queued behind it (its positions follow from what was lost), opens the database
again, makes one commit of its own to settle what is stored, reads the heads anew and goes on.
"""

import asyncio
import contextlib
import logging
import threading
from asyncio import Future
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Protocol, cast

import apsw
import msgspec

from agentd.errors import AgentdError, AlreadyExists, Exhausted, Reason, Unavailable
from agentd.runtime.journal import schema
from agentd.runtime.journal.batch import Batch, Write
from agentd.runtime.journal.schema import Options

_log = logging.getLogger(__name__)

_REPAIR_DELAYS_S = (0.0, 0.05, 0.2, 0.5)
"""Waits before each attempt to open the database again; the last one repeats."""

_NEWEST: Final = "SELECT position, time_ms FROM log ORDER BY position DESC LIMIT 1"

Action = Callable[[apsw.Connection], Any]


class Task:
    """Work on the database, and who waits for it.

    An action that raises an AgentdError does so before it stores anything. None means: tell when
    all before it is durable.
    """

    __slots__ = ("action", "error", "future", "result")

    def __init__(self, future: "Future[Any]", action: Action | None) -> None:
        self.future = future
        self.action = action
        self.error: AgentdError | None = None
        self.result: Any = None


class Marker(msgspec.Struct, frozen=True):
    """Says something to the thread at a place in the queue."""

    stop: bool
    """Commit what stands before this, and end. Otherwise: what stands behind this does not follow
    from a write that was lost."""


Item = Write | Task
SETTLE: Final = Marker(stop=False)
STOP: Final = Marker(stop=True)


class Standing(msgspec.Struct, frozen=True):
    """What the database says of itself."""

    revision: int
    oldest_revision: int
    last_time_ms: int
    heads_revision: int
    """Up to here the index knows every head."""
    rows: int
    """Rows of the log above `heads_revision`."""
    heads: dict[int, tuple[int, int]]
    """Position and sequence of the newest event of each run that has events above."""


class Sink(Protocol):
    """The event loop's side. Called on the loop, in the order of what happened."""

    def committed(self, items: list[Item]) -> None:
        """Items are durable, or refused one by one."""

    def faulted(self, items: list[Item], error: AgentdError) -> None:
        """Items failed together. Nothing is acknowledged until `settled`; answered by SETTLE."""

    def settled(self, durable: list[Write], stale: list[Item], standing: Standing) -> None:
        """The journal goes on from `standing`. `durable` did not fail after all; `stale` was queued
        too late and is not stored."""

    def broken(self, stale: list[Item], error: AgentdError) -> None:
        """The journal cannot go on."""

    def heads_saved(self, revision: int) -> None:
        """The index knows every head up to a revision."""


def read_standing(connection: apsw.Connection) -> Standing:
    """Return what the database says, reading the log above `heads_revision` only."""
    meta: dict[str, int] = dict(_rows(connection, "SELECT name, value FROM meta"))
    floor = meta["heads_revision"]
    newest = _rows(connection, _NEWEST)
    position, time_ms = newest[0] if newest else (0, 0)
    above = _rows(
        connection,
        "SELECT run, max(position), max(sequence), count(*) FROM log WHERE position > ? "
        "GROUP BY run",
        (floor,),
    )
    return Standing(
        revision=max(position, floor, meta["oldest_revision"]),
        oldest_revision=meta["oldest_revision"],
        last_time_ms=max(time_ms, meta["last_time_ms"]),
        heads_revision=floor,
        rows=sum(count for *_, count in above),
        heads={run: (head, sequence) for run, head, sequence, _ in above},
    )


class Writer:
    """The writer's thread and its queue."""

    def __init__(
        self,
        directory: Path,
        options: Options,
        connection: apsw.Connection,
        sink: Sink,
    ) -> None:
        self._directory = directory
        self._options = options
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._sink = sink
        self._queue: SimpleQueue[Item | Marker] = SimpleQueue()
        self.put = self._queue.put
        self._stopping = threading.Event()
        self._wal_pages = 0
        self._rows = 0
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)

    def start(self, standing: Standing) -> None:
        """Start the thread on a database that says this of itself."""
        self._rows = standing.rows
        self._watch_wal()
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Have what is queued committed and the thread ended; return whether it was in time.

        Blocks: call it off the event loop.
        """
        self._stopping.set()
        self._queue.put(STOP)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Close the database. The last connection to close tidies the files, so close readers
        before."""
        with contextlib.suppress(apsw.Error):
            self._connection.close()

    def _run(self) -> None:
        with contextlib.suppress(RuntimeError):  # The event loop is closed: nobody waits any more.
            stop = False
            while not stop:
                items, stop = self._take()
                unanswered = items
                try:
                    if items:
                        self._commit(items)
                        unanswered = []
                    self._maintain(stop=stop)
                except Exception as error:  # noqa: BLE001 - no fault may end the thread
                    stop = self._recover(unanswered, error) or stop

    def _take(self) -> tuple[list[Item], bool]:
        # No timer: the next group is what came in while the last one was being committed.
        items: list[Item] = []
        while True:
            item = self._queue.get()
            if isinstance(item, Marker):
                return items, True
            items.append(item)
            if len(items) == self._options.max_batch or self._queue.empty():
                return items, False

    def _commit(self, items: list[Item]) -> None:
        hook = self._options.on_boundary
        if hook is not None:
            hook("before_append")
        groups = [list(group) for _, group in groupby(items, type)]
        if len(groups) > 1 or type(items[0]) is not Write:
            self._transact(groups)
        elif (batch := Batch(cast("list[Write]", items))).is_one_statement:
            batch.insert_log(self._connection)
        else:
            self._transact(groups)
        if hook is not None:
            hook("appended")
        self._post(self._sink.committed, items)
        if hook is not None:
            hook("acknowledged")
        self._rows += sum(len(item.entries) for item in items if type(item) is Write)

    def _transact(self, groups: list[list[Item]]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        for group in groups:
            if isinstance(group[0], Write):
                self._store(cast("list[Write]", group))
            else:
                for task in cast("list[Task]", group):
                    _perform(connection, task)
        connection.execute("COMMIT")

    def _store(self, writes: list[Write]) -> None:
        # All at once; when a name is taken, one by one to find out whose.
        connection = self._connection
        batch = Batch(writes)
        if not batch.may_conflict:
            batch.store(connection)
            return
        connection.execute("SAVEPOINT attempt")
        if not batch.store(connection):
            connection.execute("ROLLBACK TO attempt")
            if len(writes) == 1:
                writes[0].error = AlreadyExists(Reason.NAME_TAKEN, "the name is taken")
            else:
                for write in writes:
                    self._store([write])
        connection.execute("RELEASE attempt")

    def _maintain(self, *, stop: bool) -> None:
        connection = self._connection
        if self._rows >= self._options.heads_rows or (stop and self._rows):
            connection.execute("BEGIN IMMEDIATE")
            revision = advance_heads(connection)
            connection.execute("COMMIT")
            self._rows = 0
            self._post(self._sink.heads_saved, revision)
        if self._wal_pages >= self._options.checkpoint_pages or stop:
            self._wal_pages = 0
            connection.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if stop else 'PASSIVE'})")

    def _recover(self, items: list[Item], error: Exception) -> bool:
        """Bring thread and event loop to what is stored; return whether the thread must end."""
        certain = isinstance(error, apsw.FullError) and self._roll_back()
        if certain:
            failure: AgentdError = Exhausted(
                Reason.DISK_FULL, "the disk of the journal is full", retry_after_s=1.0
            )
        else:
            _log.error("journal commit failed", exc_info=error)
            failure = Unavailable(
                Reason.OUTCOME_UNKNOWN, f"the journal could not be written: {error}"
            )
        self._post(self._sink.faulted, items, failure)
        stale, stop = self._drain()
        try:
            standing = read_standing(self._connection) if certain else self._reopen()
            durable = [item for item in items if type(item) is Write and self._has(item)]
        except apsw.Error as reason:
            self._post(self._sink.broken, stale, _end(reason))
            return True
        self._rows = standing.rows
        self._post(self._sink.settled, durable, stale, standing)
        return stop

    def _roll_back(self) -> bool:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error:
            return False
        return True

    def _drain(self) -> tuple[list[Item], bool]:
        stale: list[Item] = []
        stop = False
        while (item := self._queue.get()) is not SETTLE:
            if isinstance(item, Marker):
                stop = True
            else:
                stale.append(item)
        return stale, stop

    def _reopen(self) -> Standing:
        attempt = 0
        while True:
            delay_s = _REPAIR_DELAYS_S[min(attempt, len(_REPAIR_DELAYS_S) - 1)]
            last = self._stopping.wait(delay_s)
            attempt += 1
            try:
                with contextlib.suppress(apsw.Error):
                    self._connection.close()
                self._connection = schema.open_writer(self._directory, self._options)
                self._watch_wal()
                # This commit takes the place of the failed one in the WAL: from here on a crash
                # cannot bring back what is not there now. It has to change something, because
                # SQLite does not write a page that stays the same.
                self._connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'repairs'")
                return read_standing(self._connection)
            except (apsw.CorruptError, apsw.NotADBError):
                raise
            except apsw.Error:
                if last:
                    raise

    def _has(self, write: Write) -> bool:
        position, run, sequence = write.rows[:3] if write.rows else (0, 0, 0)
        found = self._connection.execute(
            "SELECT run, sequence FROM log WHERE position = ?", (position,)
        ).fetchone()
        return found == (run, sequence)

    def _watch_wal(self) -> None:
        def note(_connection: apsw.Connection, _name: str, pages: int) -> int:
            self._wal_pages = pages
            return apsw.SQLITE_OK

        self._connection.set_wal_hook(note)

    def _post(self, callback: Callable[..., None], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(callback, *arguments)


def _end(error: apsw.Error) -> AgentdError:
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return schema.corrupt(f"the journal is damaged: {error}")
    return Unavailable(Reason.OUTCOME_UNKNOWN, f"the journal cannot be opened again: {error}")


def advance_heads(connection: apsw.Connection) -> int:
    """Bring the heads of the index up to date, inside a transaction; return the revision up to
    which they are."""
    connection.execute(
        "UPDATE runs SET head_position = fresh.position, head_sequence = fresh.sequence "
        "FROM (SELECT run, max(position) AS position, max(sequence) AS sequence FROM log "
        "WHERE position > (SELECT value FROM meta WHERE name = 'heads_revision') GROUP BY run) "
        "AS fresh WHERE runs.key = fresh.run"
    )
    newest = _rows(connection, _NEWEST)
    position, time_ms = newest[0] if newest else (0, 0)
    for name, value in (("heads_revision", position), ("last_time_ms", time_ms)):
        connection.execute("UPDATE meta SET value = max(value, ?) WHERE name = ?", (value, name))
    return int(position)


def _rows(connection: apsw.Connection, sql: str, values: tuple[int, ...] = ()) -> list[Any]:
    return connection.execute(sql, values).fetchall()


def _perform(connection: apsw.Connection, task: Task) -> None:
    if task.action is None:
        return
    try:
        task.result = task.action(connection)
    except AgentdError as error:
        task.error = error
