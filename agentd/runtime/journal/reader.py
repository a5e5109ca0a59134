"""Read a journal through a connection of its own; nothing here waits or writes."""

# ruff: noqa: S608 - what is put into statements is written in this file; values are bound

import contextlib
from collections.abc import Sequence
from typing import Any

import apsw

from agentd.agent.events import Entry, RunState
from agentd.agent.ids import AgentId, Namespace, RunId, RunIdentity, RunKey, SessionId
from agentd.agent.run import Run
from agentd.errors import OutOfRange, Reason, Unavailable
from agentd.runtime.codec import KINDS, decode_event, decode_spec, decode_state, decode_view
from agentd.runtime.journal.schema import corrupt
from agentd.runtime.ports import Record, RunQuery, Selector, StoredRun

STRETCH = 8_192
"""The positions that one scan looks at."""
_IDENTITIES = 4_096
"""Runs whose identities are kept between scans."""

_RUN = (
    "SELECT key, namespace, id, agent, session, spec, view, snapshot, snapshot_sequence, "
    "head_sequence FROM runs JOIN bodies USING (key) "
)
_RECORD = "SELECT kind, namespace, id, body, revision, create_time_ms FROM records "

Row = tuple[Any, ...]
Heads = dict[int, tuple[int, int]]


class Reader:
    """One connection. Used by one thread at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._identities: dict[int, RunIdentity] = {}

    def close(self) -> None:
        """Close the connection."""
        # When the writer has lost its own, this is the last to close, and SQLite tries to tidy the
        # files: what fails there is nothing to a reader.
        with contextlib.suppress(apsw.Error):
            self._connection.close()

    def newest_key(self) -> int:
        """Return the highest key of a run; 0 when there is none."""
        return int(self._rows("SELECT coalesce(max(key), 0) FROM runs", ())[0][0])

    def head(self, key: RunKey) -> tuple[int, int] | None:
        """Return position and sequence of a run's newest event as the index knows them."""
        rows = self._rows("SELECT head_position, head_sequence FROM runs WHERE key = ?", (key,))
        return rows[0] if rows else None

    def key(self, namespace: Namespace, run: RunId) -> RunKey | None:
        """Return a run's key."""
        rows = self._rows("SELECT key FROM runs WHERE namespace = ? AND id = ?", (namespace, run))
        return RunKey(rows[0][0]) if rows else None

    def run(self, namespace: Namespace, run: RunId, heads: Heads) -> StoredRun | None:
        """Return a run of the index."""
        rows = self._rows(_RUN + "WHERE namespace = ? AND id = ?", (namespace, run))
        return _stored_run(rows[0], heads) if rows else None

    def runs(
        self, query: RunQuery, before: RunKey | None, limit: int, heads: Heads
    ) -> list[StoredRun]:
        """Return runs with keys below `before`, newest first."""
        where = "WHERE namespace = ?"
        values: list[int | str] = [query.namespace]
        for column, value in (("key <", before), ("agent =", query.agent)):
            if value is not None:
                where += f" AND {column} ?"
                values.append(value)
        if query.session is not None:
            where += " AND session = ?"
            values.append(query.session)
        if query.states:
            where += f" AND state IN ({','.join('?' * len(query.states))})"
            values += [state.value for state in query.states]
        rows = self._rows(f"{_RUN}{where} ORDER BY key DESC LIMIT ?", (*values, limit))
        return [_stored_run(row, heads) for row in rows]

    def unfinished(self, heads: Heads) -> list[StoredRun]:
        """Return every run without a terminal state, oldest first."""
        rows = self._rows(f"{_RUN}WHERE state < {RunState.SUCCEEDED.value} ORDER BY key", ())
        return [_stored_run(row, heads) for row in rows]

    def chain(self, run: RunIdentity, head: tuple[int, int], after: int, limit: int) -> list[Entry]:
        """Return the events of one run up to its head, by the back pointers, oldest first.

        Raises Corrupt (JOURNAL_CORRUPT) when one is missing that retention has not taken.
        """
        position, newest = head
        last = min(newest, after + limit) if limit else newest
        if last < newest:
            position = self._shortcut(run.key, last) or position
        rows = self._rows(
            "WITH RECURSIVE chain (position, sequence, previous) AS ("
            "SELECT position, sequence, previous FROM log WHERE position = ?1 AND run = ?4 "
            "UNION ALL SELECT log.position, log.sequence, log.previous FROM chain JOIN log "
            "ON log.position = chain.previous WHERE log.sequence > ?2 AND log.run = ?4) "
            "SELECT position, sequence, previous, kind, time_ms, body FROM chain "
            "JOIN log USING (position, sequence, previous) WHERE sequence <= ?3",
            (position, after, last, run.key),
        )
        rows.reverse()
        first = after + 1
        if [row[1] for row in rows] != list(range(first, last + 1)):
            floor = self._oldest_revision()
            first = rows[0][1] if rows and rows[0][2] <= floor else first
            if not floor or (rows and [row[1] for row in rows] != list(range(first, last + 1))):
                raise corrupt(f"events of the run {run.id} are missing after the sequence {after}")
        return [
            Entry(position, run, sequence, time_ms, decode_event(kind, body))
            for position, sequence, _, kind, time_ms, body in rows
        ]

    def scan(
        self, selector: Selector, after: int, limit: int, newest: int
    ) -> tuple[list[Entry], int]:
        """Return matching entries above `after` and up to `newest`, of a bounded stretch.

        Raises OutOfRange (COMPACTED) when retention has taken some of it.
        """
        end = min(newest, after + STRETCH)
        where, values = _selected(selector)
        sql = (
            "SELECT position, run, sequence, kind, time_ms, body FROM log "
            f"WHERE position > ? AND position <= ?{where} ORDER BY position LIMIT ?"
        )
        return self._entries(sql, (after, end, *values, limit), after, limit, end)

    def scan_chains(
        self, heads: Sequence[int], selector: Selector, after: int, limit: int, newest: int
    ) -> tuple[list[Entry], int]:
        """Do as `scan` for the runs with heads at these positions, by their back pointers: at a
        cost that follows from their lengths, not from the journal's."""
        where, values = _selected(selector)
        sql = (
            "WITH RECURSIVE chain (position, previous) AS (SELECT position, previous FROM log "
            f"WHERE position IN ({','.join('?' * len(heads))}) UNION ALL "
            "SELECT log.position, log.previous FROM chain JOIN log "
            "ON log.position = chain.previous WHERE log.position > ?) "
            "SELECT position, run, sequence, kind, time_ms, body FROM chain "
            "CROSS JOIN log USING (position) "  # CROSS: the chain first, not the stretch.
            f"WHERE position > ? AND position <= ?{where} ORDER BY position LIMIT ?"
        )
        bound = (*heads, after, after, newest, *values, limit)
        return self._entries(sql, bound, after, limit, newest)

    def _entries(
        self, sql: str, values: Sequence[int | str], after: int, limit: int, end: int
    ) -> tuple[list[Entry], int]:
        rows = self._rows(sql, values)
        # Asked after the rows were read: what retention took before that is noticed.
        oldest = self._oldest_revision()
        if after < oldest:
            raise OutOfRange(
                Reason.COMPACTED,
                f"revisions up to {oldest} are no longer kept",
                metadata={"oldest_revision": str(oldest)},
            )
        entries = [
            Entry(position, self._identity(run), sequence, time_ms, decode_event(kind, body))
            for position, run, sequence, kind, time_ms, body in rows
        ]
        return entries, entries[-1].revision if len(entries) == limit else end

    def record(self, kind: str, namespace: Namespace, id: str, revision: int) -> Record | None:
        """Return a document at a revision; 0 means the newest."""
        rows = self._rows(
            _RECORD + "WHERE kind = ?1 AND namespace = ?2 AND id = ?3 "
            "AND (?4 = 0 OR revision = ?4) ORDER BY revision DESC LIMIT 1",
            (kind, namespace, id, revision),
        )
        return Record(*rows[0]) if rows else None

    def namespaces(self, kind: str) -> list[Namespace]:
        """Return the namespaces that have documents of a kind."""
        rows = self._rows("SELECT DISTINCT namespace FROM records WHERE kind = ?1", (kind,))
        return [Namespace(row[0]) for row in rows]

    def newest_records(
        self, kind: str, namespace: Namespace, after: str, limit: int
    ) -> list[Record]:
        """Return documents at their newest revisions, ordered by id."""
        rows = self._rows(
            _RECORD + "AS newest WHERE kind = ?1 AND namespace = ?2 AND id > ?3 AND NOT EXISTS ("
            "SELECT 1 FROM records WHERE kind = ?1 AND namespace = ?2 AND id = newest.id "
            "AND revision > newest.revision) ORDER BY id LIMIT ?4",
            (kind, namespace, after, limit),
        )
        return [Record(*row) for row in rows]

    def record_revisions(
        self, kind: str, namespace: Namespace, id: str, before: int, limit: int
    ) -> list[Record]:
        """Return the revisions of one document, newest first."""
        rows = self._rows(
            _RECORD + "WHERE kind = ?1 AND namespace = ?2 AND id = ?3 "
            "AND (?4 = 0 OR revision < ?4) ORDER BY revision DESC LIMIT ?5",
            (kind, namespace, id, before, limit),
        )
        return [Record(*row) for row in rows]

    def _shortcut(self, key: RunKey, sequence: int) -> int | None:
        # The snapshot's event, when it is not before the wanted end.
        rows = self._rows(
            "SELECT snapshot_position FROM bodies WHERE key = ? AND snapshot_sequence >= ?",
            (key, sequence),
        )
        return int(rows[0][0]) if rows else None

    def _oldest_revision(self) -> int:
        return int(self._rows("SELECT value FROM meta WHERE name = 'oldest_revision'", ())[0][0])

    def _identity(self, key: int) -> RunIdentity:
        known = self._identities.get(key)
        if known is not None:
            return known
        rows = self._rows("SELECT namespace, id, agent, session FROM runs WHERE key = ?", (key,))
        if not rows:
            raise corrupt(f"the journal holds events of the run {key}, which it does not know")
        if len(self._identities) >= _IDENTITIES:
            self._identities.clear()
        identity = RunIdentity(RunKey(key), *rows[0])
        self._identities[key] = identity
        return identity

    def _rows(self, sql: str, values: Sequence[int | str]) -> list[Row]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise corrupt(f"the journal is damaged: {error}") from error
        except apsw.Error as error:
            raise Unavailable(Reason.UNREACHABLE, f"the journal cannot be read: {error}") from error


def _stored_run(row: Row, heads: Heads) -> StoredRun:
    key, namespace, run, agent, session, spec, view, snapshot, snapshot_sequence, sequence = row
    identity = RunIdentity(
        RunKey(key),
        Namespace(namespace),
        RunId(run),
        AgentId(agent),
        None if session is None else SessionId(session),
    )
    head = heads.get(key)
    return StoredRun(
        Run(identity, decode_spec(spec), decode_view(view)),
        None if snapshot is None else decode_state(snapshot),
        snapshot_sequence,
        sequence if head is None else head[1],
    )


def _selected(selector: Selector) -> tuple[str, list[int | str]]:
    chosen = "namespace = ?"
    values: list[int | str] = [selector.namespace]
    if selector.runs:
        chosen += f" AND id IN ({','.join('?' * len(selector.runs))})"
        values += selector.runs
    for column, value in (("agent", selector.agent), ("session", selector.session)):
        if value is not None:
            chosen += f" AND {column} = ?"
            values.append(value)
    where = f" AND EXISTS (SELECT 1 FROM runs WHERE key = log.run AND {chosen})"
    if selector.kinds:
        where += f" AND kind IN ({','.join('?' * len(selector.kinds))})"
        values += [KINDS[kind] for kind in selector.kinds]
    return where, values
