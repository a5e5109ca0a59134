"""What the writer does to the store of documents."""

from collections.abc import Callable, Sequence

import apsw

from agentd.agent.ids import Namespace
from agentd.errors import Conflict, Reason
from agentd.runtime.journal.batch import Value
from agentd.runtime.ports import Record


def row(record: Record) -> tuple[Value, ...]:
    """Return the row of a document."""
    return (
        record.kind,
        record.namespace,
        record.id,
        record.revision,
        record.body,
        record.create_time_ms,
    )


def rows(records: Sequence[Record]) -> list[Value]:
    """Return the rows of documents, one behind the other."""
    return [value for record in records for value in row(record)]


def put(
    records: Sequence[Record], expected_revision: int | None
) -> Callable[[apsw.Connection], None]:
    """Return the action that stores documents.

    It raises Conflict (CONCURRENT_UPDATE) when the newest stored revision of the first one's id is
    not the expected one.
    """

    def action(connection: apsw.Connection) -> None:
        if expected_revision is not None:
            first = records[0]
            newest = connection.execute(
                "SELECT coalesce(max(revision), 0) FROM records "
                "WHERE kind = ? AND namespace = ? AND id = ?",
                (first.kind, first.namespace, first.id),
            ).fetchall()[0][0]
            if newest != expected_revision:
                raise Conflict(
                    Reason.CONCURRENT_UPDATE,
                    f"the newest revision of {first.kind} {first.id} is {newest}, "
                    f"not {expected_revision}",
                    metadata={"id": first.id, "revision": str(newest)},
                )
        for record in records:
            connection.execute("INSERT OR REPLACE INTO records VALUES (?,?,?,?,?,?)", row(record))

    return action


def delete(kind: str, namespace: Namespace, id: str) -> Callable[[apsw.Connection], bool]:
    """Return the action that deletes every revision of a document, and says if there was one."""

    def action(connection: apsw.Connection) -> bool:
        connection.execute(
            "DELETE FROM records WHERE kind = ? AND namespace = ? AND id = ?",
            (kind, namespace, id),
        )
        return connection.changes() > 0

    return action
