"""The list of what can be found, and the index of its words: a SQLite database with FTS5.

It can be made again from the journal, so nothing here is synced at each commit, and a file that is
damaged is thrown away. What is deleted is overwritten: FTS5 without its own secure-delete, and a
table without content, would keep the words. Blocks: only the store's thread uses it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from agentd.agent.ids import Namespace
from agentd.agent.memory import Memory, MemoryId
from agentd.memory.place import Hit, Place
from agentd.memory.words import query_words

FILE: Final = "index.db"
VERSION: Final = 1

Name = tuple[Namespace, MemoryId]

_TABLES = """
CREATE TABLE entries (
    key INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    scope TEXT NOT NULL,
    kind INTEGER NOT NULL,
    expire_ms INTEGER NOT NULL,
    space TEXT NOT NULL DEFAULT '',
    UNIQUE (namespace, id)
) STRICT;
CREATE INDEX entries_by_scope ON entries (namespace, scope);
CREATE INDEX entries_by_space ON entries (space);
CREATE INDEX entries_expiring ON entries (expire_ms) WHERE expire_ms > 0;
CREATE VIRTUAL TABLE words USING fts5(
    text, tokenize='porter unicode61 remove_diacritics 2'
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
CREATE TABLE orphans (namespace TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (namespace, id))
    STRICT, WITHOUT ROWID;
CREATE TABLE vectors (key INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT;
"""
# `space` says which vectors an entry has: the store's and the embedder's name, or none.


class Ledger:
    """The database of one directory; in memory without one."""

    def __init__(self, directory: Path | None) -> None:
        self.connection = _open(directory)
        counts = self._rows("SELECT namespace, count(*) FROM entries GROUP BY namespace")
        self._counts: dict[str, int] = dict(counts)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Change everything or nothing."""
        counts = dict(self._counts)
        try:
            with self.connection:
                yield
        except BaseException:
            self._counts = counts
            raise

    # What there is.

    def put(self, memories: Sequence[Memory]) -> None:
        """Take in memories, in place of those of the same names."""
        with self.transaction():
            for memory in memories:
                self.remove(memory.namespace, [memory.id])
                row = (memory.namespace, memory.id, memory.scope, memory.kind.value)
                self.connection.execute(
                    "INSERT INTO entries (namespace, id, scope, kind, expire_ms) "
                    "VALUES (?,?,?,?,?)",
                    (*row, memory.expire_time_ms),
                )
                key = self.connection.last_insert_rowid()
                self.connection.execute(
                    "INSERT INTO words (rowid, text) VALUES (?, ?)", (key, memory.text)
                )
                self._count(memory.namespace, 1)

    def remove(self, namespace: Namespace, ids: Sequence[MemoryId]) -> None:
        """Forget memories; those that are not there too."""
        with self.transaction():
            for memory_id in ids:
                key = self.key_of(namespace, memory_id)
                if key is not None:
                    self.connection.execute("DELETE FROM words WHERE rowid = ?", (key,))
                    self.connection.execute("DELETE FROM vectors WHERE key = ?", (key,))
                    self.connection.execute("DELETE FROM entries WHERE key = ?", (key,))
                    self._count(namespace, -1)

    def key_of(self, namespace: Namespace, memory: MemoryId) -> int | None:
        """Return the row of a memory, or None."""
        rows = self._rows(
            "SELECT key FROM entries WHERE namespace = ? AND id = ?", namespace, memory
        )
        return rows[0][0] if rows else None

    def places(self, names: Sequence[Name]) -> dict[Name, tuple[int, str, int]]:
        """Return the row, scope and kind of the memories that are there."""
        found = {}
        for namespace, memory in names:
            rows = self._rows(
                "SELECT key, scope, kind FROM entries WHERE namespace = ? AND id = ?",
                namespace,
                memory,
            )
            if rows:
                found[namespace, memory] = rows[0]
        return found

    def known(self, namespace: Namespace, after: str, limit: int) -> Sequence[MemoryId]:
        """Return names above `after`, in order."""
        return [
            row[0]
            for row in self._rows(
                "SELECT id FROM entries WHERE namespace = ? AND id > ? ORDER BY id LIMIT ?",
                namespace,
                after,
                limit,
            )
        ]

    def namespaces(self) -> Sequence[Namespace]:
        """Return the namespaces of which something is there."""
        return [Namespace(name) for name, count in self._counts.items() if count]

    def count(self, namespace: Namespace | None = None) -> int:
        """Return how many memories are there."""
        if namespace is None:
            return sum(self._counts.values())
        return self._counts.get(namespace, 0)

    def expired(self, now_ms: int, limit: int) -> Sequence[Name]:
        """Return memories whose time has come, the oldest first."""
        return self._rows(
            "SELECT namespace, id FROM entries WHERE expire_ms > 0 AND expire_ms <= ? "
            "ORDER BY expire_ms LIMIT ?",
            now_ms,
            limit,
        )

    # Vectors.

    def mark(self, keys: Sequence[int], space: str) -> None:
        """Say that these have vectors of this space."""
        self.connection.executemany(
            "UPDATE entries SET space = ? WHERE key = ?", [(space, key) for key in keys]
        )

    def without(self, space: str, limit: int) -> Sequence[Name]:
        """Return memories that have no vector of this space."""
        return self._rows(
            "SELECT namespace, id FROM entries WHERE space < ? OR space > ? LIMIT ?",
            space,
            space,
            limit,
        )

    def count_without(self, space: str) -> int:
        """Return how many memories have no vector of this space."""
        having = self._rows("SELECT count(*) FROM entries WHERE space = ?", space)[0][0]
        return self.count() - int(having)

    def unmark(self) -> None:
        """Say that none has a vector."""
        with self.transaction():
            self.connection.execute("UPDATE entries SET space = '' WHERE space <> ''")
            self.connection.execute("DELETE FROM vectors")

    # Vectors that should be gone.

    def orphan(self, names: Sequence[Name]) -> None:
        """Take note that these vectors are still to be deleted."""
        with self.transaction():
            self.connection.executemany("INSERT OR IGNORE INTO orphans VALUES (?, ?)", names)

    def orphans(self, limit: int) -> Sequence[Name]:
        """Return whose vectors are still to be deleted."""
        return self._rows("SELECT namespace, id FROM orphans LIMIT ?", limit)

    def bury(self, names: Sequence[Name]) -> None:
        """Take note that these vectors are gone."""
        with self.transaction():
            self.connection.executemany("DELETE FROM orphans WHERE namespace = ? AND id = ?", names)

    # Finding.

    def by_words(self, place: Place, query: str, limit: int) -> Sequence[Hit]:
        """Return memories with words of the query, by BM25."""
        words = query_words(query)
        if not words:
            return ()
        match = " OR ".join(f'"{word}"' for word in words)
        where, values = conditions(place)
        rows = self._rows(
            "SELECT entries.id FROM words JOIN entries ON entries.key = words.rowid "  # noqa: S608
            f"WHERE words MATCH ? AND {where} ORDER BY bm25(words) LIMIT ?",
            match,
            *values,
            limit,
        )
        return [Hit(row[0]) for row in rows]

    def _count(self, namespace: Namespace, change: int) -> None:
        self._counts[namespace] = self._counts.get(namespace, 0) + change

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        return self.connection.execute(statement, values).fetchall()


def conditions(place: Place) -> tuple[str, list[Any]]:
    """Return the condition on `entries` that a place means, made of our own words alone, and the
    values of its parameters."""
    parts, values = ["entries.namespace = ?"], [place.namespace]
    parts.append("(entries.expire_ms = 0 OR entries.expire_ms > ?)")
    listed: list[Any] = [*values, place.now_ms]
    for column, wanted in (
        ("scope", sorted(place.scopes)),
        ("kind", sorted(kind.value for kind in place.kinds)),
    ):
        if wanted:
            parts.append(f"entries.{column} IN ({', '.join('?' * len(wanted))})")
            listed += wanted
    return " AND ".join(parts), listed


def _open(directory: Path | None) -> apsw.Connection:
    if directory is None:
        return _prepare(apsw.Connection(":memory:"))
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / FILE
    try:
        return _prepare(apsw.Connection(str(path)))
    except (apsw.NotADBError, apsw.CorruptError, apsw.SQLError):
        for leftover in directory.glob(f"{FILE}*"):
            leftover.unlink()
        return _prepare(apsw.Connection(str(path)))


def _prepare(connection: apsw.Connection) -> apsw.Connection:
    try:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        [(version,)] = connection.execute("PRAGMA user_version").fetchall()
        if version == 0:
            connection.execute(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT")
        # In a file of another version this fails: it has no such table, or no such column.
        connection.execute("SELECT max(key), max(space) FROM entries").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection
