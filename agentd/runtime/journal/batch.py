"""The statements of a group commit: many rows each, because every statement, and every row of an
executemany, gives up the interpreter's lock and has to get it back."""

from asyncio import Future
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

import apsw

from agentd.agent.events import Entry
from agentd.errors import AgentdError

Value = int | str | bytes | None

_CHUNK: Final = 256
"""The most rows of one statement; its text is cached by apsw, which stops at 16 KiB."""

_LOG: Final = ("INSERT INTO log VALUES ", 7, "")
_RUNS: Final = ("INSERT OR IGNORE INTO runs VALUES ", 8, "")
_BODIES: Final = ("INSERT INTO bodies (key, spec, view) VALUES ", 3, "")
_RECORDS: Final = ("INSERT OR IGNORE INTO records VALUES ", 6, "")
_DOCUMENTS: Final = ("INSERT OR REPLACE INTO records VALUES ", 6, "")
_STATES: Final = (
    "UPDATE runs SET state = fresh.column2 FROM (VALUES ",
    2,
    ") AS fresh WHERE runs.key = fresh.column1 AND runs.state <> fresh.column2",
)
_VIEWS: Final = (
    "UPDATE bodies SET view = fresh.column2 FROM (VALUES ",
    2,
    ") AS fresh WHERE bodies.key = fresh.column1",
)
_SNAPSHOTS: Final = (
    (
        "UPDATE bodies SET snapshot = fresh.column2, snapshot_sequence = fresh.column3, "
        "snapshot_position = fresh.column4 FROM (VALUES "
    ),
    4,
    ") AS fresh WHERE bodies.key = fresh.column1",
)


class Write:
    """Events of one run, with what belongs to them, and who waits for them."""

    __slots__ = ("checkpoint", "created", "entries", "error", "future", "records", "rows")

    def __init__(
        self, future: "Future[Sequence[Entry]]", entries: Sequence[Entry], rows: list[Value]
    ) -> None:
        self.future = future
        self.entries = entries
        self.rows = rows
        """position, run, sequence, previous, kind, time, body, for each event."""
        self.error: AgentdError | None = None
        self.created: tuple[Value, ...] = ()
        """key, namespace, id, agent, session, state, position, sequence, spec, view."""
        self.checkpoint: tuple[Value, ...] = ()
        """key, state, view, snapshot, sequence, position."""
        self.records: list[Value] = []
        """kind, namespace, id, revision, body, create time, for each document. Those of a run that
        is created must be new; those of an append replace what is there."""


class Batch:
    """The rows of some writes, sorted by table."""

    def __init__(self, writes: Iterable[Write]) -> None:
        self._log: list[Value] = []
        self._runs: list[Value] = []
        self._bodies: list[Value] = []
        self._records: list[Value] = []
        self._documents: list[Value] = []
        self._states: dict[Value, Value] = {}
        self._views: dict[Value, Value] = {}
        self._snapshots: dict[Value, tuple[Value, ...]] = {}
        for write in writes:
            self._log += write.rows
            if write.created:
                self._runs += write.created[:8]
                self._bodies += (write.created[0], *write.created[8:])
                self._records += write.records
            elif write.records:
                self._documents += write.records
            if write.checkpoint:
                self._add_checkpoint(write.checkpoint)

    @property
    def is_one_statement(self) -> bool:
        """Whether inserting into the log in one statement, its own transaction, is all."""
        rows = len(self._log) // 7
        plain = not self._runs and not self._states and not self._documents
        return plain and 0 < rows <= _CHUNK and rows & (rows - 1) == 0

    @property
    def may_conflict(self) -> bool:
        """Whether `store` may find a name taken."""
        return bool(self._runs)

    def insert_log(self, connection: apsw.Connection) -> None:
        """Insert the rows of the log."""
        _execute(connection, _LOG, self._log)

    def store(self, connection: apsw.Connection) -> bool:
        """Store everything, inside a transaction; return False when a name was taken, and then the
        caller must roll back."""
        for statement, values in ((_RUNS, self._runs), (_RECORDS, self._records)):
            if _execute(connection, statement, values) != len(values) // statement[1]:
                return False
        _execute(connection, _BODIES, self._bodies)
        _execute(connection, _LOG, self._log)
        _execute(connection, _DOCUMENTS, self._documents)
        for statement, pairs in ((_STATES, self._states), (_VIEWS, self._views)):
            _execute(connection, statement, [value for pair in pairs.items() for value in pair])
        snapshots = [value for row in self._snapshots.values() for value in row]
        _execute(connection, _SNAPSHOTS, snapshots)
        return True

    def _add_checkpoint(self, checkpoint: tuple[Value, ...]) -> None:
        key, state, view, snapshot, sequence, position = checkpoint
        # The newest of a run counts; an UPDATE FROM would take any of several.
        self._states[key] = state
        self._views[key] = view
        if snapshot is not None:
            self._snapshots[key] = (key, snapshot, sequence, position)


@cache
def _text(before: str, width: int, after: str, rows: int) -> str:
    row = f"({','.join('?' * width)})"
    return f"{before}{','.join([row] * rows)}{after}"


def _execute(
    connection: apsw.Connection, statement: tuple[str, int, str], values: list[Value]
) -> int:
    """Execute a statement over rows, in powers of two so that few texts serve every number; return
    how many rows it changed."""
    before, width, after = statement
    start = changes = 0
    left = len(values) // width
    while left:
        rows = min(_CHUNK, 1 << (left.bit_length() - 1))
        end = start + rows * width
        chunk = values if rows * width == len(values) else values[start:end]
        connection.execute(_text(before, width, after, rows), chunk)
        changes += connection.changes()
        start, left = end, left - rows
    return changes
