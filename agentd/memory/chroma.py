"""Vectors in Chroma, embedded: one collection for each namespace and embedder.

Chroma gets names and vectors, and no text: no embedding function, so that it never looks for a
model, and no telemetry. Importing it takes half a second and 75 MB, so it waits for the first
vector. Blocks: only the store's thread uses it.
"""

import importlib
import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from agentd.agent.ids import Namespace
from agentd.agent.memory import MemoryId, Vector
from agentd.errors import Reason, Unavailable
from agentd.memory.place import Hit, Place, Row

FOLDER: Final = "chroma"
MAX_BATCH: Final = 5_000
"""Chroma takes 5,461 at a time."""
SEARCH_BREADTH: Final = 200
"""HNSW's ef_search: more finds more of the nearest, and takes longer."""
BUILD_BREADTH: Final = 100
"""HNSW's ef_construction, likewise at writing."""


class ChromaVectors:
    """The vectors of one directory."""

    name = "chroma"

    def __init__(self, directory: Path) -> None:
        """Open Chroma's folder, and make it anew if it is damaged: the ledger must then be told
        that no memory has a vector (see `emptied`).

        Raises Unavailable (UNREACHABLE) when Chroma is not installed, or does not work at all.
        """
        if importlib.util.find_spec("chromadb") is None:
            message = "chroma is not installed: pip install 'agentd[chroma]'"
            raise Unavailable(Reason.UNREACHABLE, message)
        with _guarded("imported"):
            chromadb: Any = importlib.import_module("chromadb")
            config: Any = importlib.import_module("chromadb.config")
            shared: Any = importlib.import_module("chromadb.api.shared_system_client")
        folder = directory / FOLDER
        self.emptied = not folder.exists()
        """Whether it began without any vector."""

        def start() -> Any:
            settings = config.Settings(anonymized_telemetry=False)
            client = chromadb.PersistentClient(str(folder), settings=settings)
            client.list_collections()
            return client

        try:
            with _guarded("opened"):
                self._client = start()
        except Unavailable:
            shutil.rmtree(folder, ignore_errors=True)
            self.emptied = True
            with _guarded("opened"):
                # Chroma keeps the system of each path, one that could not start too.
                shared.SharedSystemClient.clear_system_cache()
                self._client = start()
        self._space = ""
        self._collections: dict[Namespace, Any] = {}

    def put(self, space: str, rows: Sequence[Row]) -> None:
        """Keep vectors, in place of those of the same names. Raises Unavailable."""
        by_namespace: dict[Namespace, list[Row]] = {}
        for row in rows:
            by_namespace.setdefault(row.namespace, []).append(row)
        with _guarded("written"):
            self._use(space)
            for namespace, part in by_namespace.items():
                collection = self._collection(namespace)
                for start in range(0, len(part), MAX_BATCH):
                    batch = part[start : start + MAX_BATCH]
                    collection.upsert(
                        ids=[row.id for row in batch],
                        embeddings=[list(row.vector) for row in batch],
                        metadatas=[{"scope": row.scope, "kind": row.kind} for row in batch],
                    )

    def remove(self, namespace: Namespace, rows: Sequence[tuple[int, MemoryId]]) -> None:
        """Forget vectors, of whatever embedder. Raises Unavailable."""
        with _guarded("written"):
            for found in self._client.list_collections():
                if found.name.partition(".")[0] == namespace:
                    self._client.get_collection(found.name, embedding_function=None).delete(
                        ids=[name for _, name in rows]
                    )

    def nearest(self, space: str, place: Place, vector: Vector, limit: int) -> Sequence[Hit]:
        """Return the memories whose vectors are nearest. Raises Unavailable."""
        with _guarded("searched"):
            self._use(space)
            collection = self._collection(place.namespace)
            count = collection.count()
            if not count:
                return ()
            found = collection.query(
                query_embeddings=[list(vector)],
                n_results=min(limit, count),
                where=_where(place),
                include=["distances"],
            )
        [ids], [distances] = found["ids"], found["distances"]
        return [
            Hit(MemoryId(name), 1.0 - float(distance))
            for name, distance in zip(ids, distances, strict=True)
        ]

    def close(self) -> None:
        """Let Chroma write what it holds and stop its threads."""
        self._collections.clear()
        self._client.close()

    def _use(self, space: str) -> None:
        """Work in one space, and drop the collections of others: nothing is compared with them."""
        if space == self._space:
            return
        self._collections.clear()
        for found in self._client.list_collections():
            if found.name.partition(".")[2] != space:
                self._client.delete_collection(found.name)
        self._space = space

    def _collection(self, namespace: Namespace) -> Any:
        collection = self._collections.get(namespace)
        if collection is None:
            collection = self._client.get_or_create_collection(
                f"{namespace}.{self._space}",
                embedding_function=None,
                configuration={
                    "hnsw": {
                        "space": "cosine",
                        "ef_search": SEARCH_BREADTH,
                        "ef_construction": BUILD_BREADTH,
                    }
                },
            )
            self._collections[namespace] = collection
        return collection


def _where(place: Place) -> dict[str, Any] | None:
    parts: list[dict[str, Any]] = []
    if place.scopes:
        parts.append({"scope": {"$in": sorted(place.scopes)}})
    if place.kinds:
        parts.append({"kind": {"$in": sorted(kind.value for kind in place.kinds)}})
    match parts:
        case []:
            return None
        case [one]:
            return one
        case _:
            return {"$and": parts}


@contextmanager
def _guarded(done: str) -> Iterator[None]:
    """Turn whatever Chroma raises into Unavailable. Its errors have no common root: a damaged file
    gives whatever comes first, a panic of its native part too, which is no Exception."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        message = f"chroma cannot be {done}: {said}"
        raise Unavailable(Reason.UNREACHABLE, message) from error
