"""Vectors in the ledger's own file, found by looking at all of them: what is used without Chroma.

Each vector's signs are kept in memory as one whole number. A search compares these first, at some
100 ns each, and then the real vectors of the nearest few hundred.
"""

from array import array
from collections.abc import Sequence
from heapq import nlargest, nsmallest
from typing import Final

from agentd.agent.ids import Namespace
from agentd.agent.memory import MemoryId, Vector
from agentd.memory.ledger import Ledger, conditions
from agentd.memory.place import Hit, Place, Row
from agentd.memory.vectors import code_of, dot

CANDIDATES: Final = 400
"""How many real vectors are compared at least: below this many memories, the search is exact."""
CHUNK: Final = 500
"""Rows that one statement reads."""


class ScannedVectors:
    """The vectors of one space. Blocks: only the store's thread uses it."""

    name = "sqlite"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._space = ""
        self._shelves: dict[Namespace, dict[int, int]] = {}
        """The codes of each namespace, by row."""

    def put(self, space: str, rows: Sequence[Row]) -> None:
        """Keep vectors, in place of those of the same rows."""
        self._use(space)
        for row in rows:
            blob = array("f", row.vector).tobytes()
            self._ledger.connection.execute(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?)", (row.key, blob)
            )
            if row.namespace in self._shelves:
                self._shelves[row.namespace][row.key] = code_of(row.vector)

    def remove(self, namespace: Namespace, rows: Sequence[tuple[int, MemoryId]]) -> None:
        """Forget vectors; the ledger deletes the rows."""
        shelf = self._shelves.get(namespace, {})
        for key, _ in rows:
            shelf.pop(key, None)

    def nearest(self, space: str, place: Place, vector: Vector, limit: int) -> Sequence[Hit]:
        """Return the memories whose vectors are nearest."""
        self._use(space)
        shelf = self._shelf(space, place.namespace)
        code = code_of(vector)
        count = max(CANDIDATES, 8 * limit)
        if place.scopes or place.kinds:
            where, values = conditions(place)
            found = self._ledger.connection.execute(
                f"SELECT key FROM entries WHERE {where}",  # noqa: S608 - our own words
                values,
            )
            pairs = [(code ^ shelf[key], key) for (key,) in found if key in shelf]
        else:
            pairs = [(code ^ other, key) for key, other in shelf.items()]
        if len(pairs) > count:
            pairs = nsmallest(count, pairs, key=lambda pair: pair[0].bit_count())
        hits = self._compare([key for _, key in pairs], place.now_ms, vector)
        return nlargest(limit, hits, key=lambda hit: hit.similarity)

    def close(self) -> None:
        """Hold nothing."""

    def _use(self, space: str) -> None:
        """Forget what was of another embedder: its vectors say nothing in this space."""
        if space != self._space:
            self._shelves.clear()
            self._space = space

    def _shelf(self, space: str, namespace: Namespace) -> dict[int, int]:
        shelf = self._shelves.get(namespace)
        if shelf is None:
            rows = self._ledger.connection.execute(
                "SELECT vectors.key, vector FROM vectors JOIN entries USING (key) "
                "WHERE namespace = ? AND space = ?",
                (namespace, space),
            )
            shelf = {key: code_of(_vector(blob)) for key, blob in rows}
            self._shelves[namespace] = shelf
        return shelf

    def _compare(self, keys: Sequence[int], now_ms: int, vector: Vector) -> list[Hit]:
        hits = []
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            marks = ", ".join("?" * len(chunk))
            rows = self._ledger.connection.execute(
                "SELECT id, vector FROM vectors JOIN entries USING (key) "  # noqa: S608
                f"WHERE key IN ({marks}) AND (expire_ms = 0 OR expire_ms > ?)",
                (*chunk, now_ms),
            )
            hits += [Hit(name, dot(_vector(blob), vector)) for name, blob in rows]
        return hits


def _vector(blob: bytes) -> "array[float]":
    vector = array("f")
    vector.frombytes(blob)
    return vector
