"""Forget events that are no longer wanted, a stretch at a time."""

from collections.abc import Callable
from typing import Any, Final

import apsw
import msgspec

from agentd.agent.events import RunState
from agentd.runtime.journal.writer import advance_heads

SESSION_KIND: Final = "session"
"""The kind of the documents that hold sessions: their runs keep their events while they exist."""


class Compaction(msgspec.Struct, frozen=True):
    """What one step of a compaction has done."""

    removed: int
    """Rows of the log."""
    oldest_revision: int
    after: int
    """Where the next step goes on; 0 when everything was looked at."""


def compact(before_ms: int, after: int, limit: int) -> Callable[[apsw.Connection], Compaction]:
    """Return the action that forgets events recorded before a time, looking at `limit` rows that
    lie above the position `after`."""

    def action(connection: apsw.Connection) -> Compaction:
        # What is forgotten must be known to the index first, or its run would lose its head.
        advance_heads(connection)
        found: Any = connection.execute(
            "SELECT coalesce(max(position), 0), count(*) FROM (SELECT position, time_ms FROM log "
            "WHERE position > ? ORDER BY position LIMIT ?) WHERE time_ms < ?",
            (after, limit, before_ms),
        ).fetchall()
        end, looked_at = found[0]
        connection.execute(
            "DELETE FROM log WHERE position > ? AND position <= ? AND EXISTS ("
            "SELECT 1 FROM runs WHERE key = log.run AND state >= ? AND NOT EXISTS ("
            "SELECT 1 FROM records WHERE kind = ? AND records.namespace = runs.namespace "
            "AND records.id = runs.session))",
            (after, end, RunState.SUCCEEDED.value, SESSION_KIND),
        )
        removed = connection.changes()
        connection.execute(
            "UPDATE meta SET value = max(value, ?) WHERE name = 'oldest_revision'", (end,)
        )
        oldest: Any = connection.execute(
            "SELECT value FROM meta WHERE name = 'oldest_revision'"
        ).fetchall()
        return Compaction(removed, oldest[0][0], end if looked_at == limit else 0)

    return action
