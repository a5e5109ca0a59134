"""How well and how fast memories are found: against exact search, and against people's judgement.

Vectors of the large sets are made up: members of a thousand clusters, which is how real texts lie.
Needs the packages of the extra `chroma`, and for real meanings the files of minilm.
"""

import importlib
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

from agentd.agent.ids import DEFAULT_NAMESPACE
from agentd.agent.memory import SHARED_SCOPE, Memory, MemoryId, MemoryKind, Vector
from agentd.config import load
from agentd.memory.hashing import HashedNgrams
from agentd.memory.minilm import MiniLm, is_there
from agentd.memory.place import Hit, Place
from agentd.memory.ranking import Candidate, Weights, fuse
from agentd.memory.store import Store
from agentd.runtime.ports import Embedder
from agentd.runtime.recalling import MEANING, SPELLING
from tests.benchmarks.harness import Measure, Round, UnavailableError
from tests.benchmarks.ours.labelled import MEMORIES, QUESTIONS

DIMENSIONS = 384
CLUSTERS = 1_000
NOISE = 0.06
"""Of each coordinate: members of a cluster have cosines around 0.4 with each other, as sentences
about one thing have."""
QUERIES = 100
BATCH = 2_000
DEPTH = 10
PLACE = Place(DEFAULT_NAMESPACE, 1)


@dataclass(frozen=True)
class Filled:
    """A store full of vectors, queries, and which memories are really the nearest."""

    store: Store
    queries: Sequence[Vector]
    nearest: Sequence[frozenset[str]]


_filled: dict[tuple[str, int], Filled] = {}
_directory = tempfile.TemporaryDirectory(prefix="agentd-recall-")


def recall_at_10(kind: str, size: int) -> Measure:
    """Return the share of the ten nearest that the store finds."""

    async def measure(round: Round) -> float:
        filled = await fill(kind, round.count(size))
        shares = []
        for query, nearest in zip(filled.queries, filled.nearest, strict=True):
            hits = await filled.store.by_vector(PLACE, "made-up", query, DEPTH)
            shares.append(len(nearest & {hit.id for hit in hits}) / DEPTH)
        return statistics.mean(shares)

    return measure


def latency_ms(kind: str, size: int) -> Measure:
    """Return how long the search for the ten nearest takes, in the median."""

    async def measure(round: Round) -> float:
        filled = await fill(kind, round.count(size))
        times = []
        for query in filled.queries:
            start = perf_counter()
            await filled.store.by_vector(PLACE, "made-up", query, DEPTH)
            times.append((perf_counter() - start) * 1000)
        return statistics.median(times)

    return measure


def exact_ms(size: int) -> Measure:
    """Return how long comparing all vectors takes with numpy."""

    async def measure(round: Round) -> float:
        numpy, vectors, queries = _made_up(round.count(size))
        times = []
        for query in queries[:20]:
            start = perf_counter()
            numpy.argpartition(vectors @ query, -DEPTH)[-DEPTH:]
            times.append((perf_counter() - start) * 1000)
        return statistics.median(times)

    return measure


async def fill(kind: str, size: int) -> Filled:
    """Return a store with so many vectors; it is made once a process."""
    found = _filled.get((kind, size))
    if found is not None:
        return found
    numpy, vectors, queries = _made_up(size)
    store = Store(Path(_directory.name) / f"{kind}-{size}", chroma=kind == "chroma")
    for start in range(0, size, BATCH):
        part = range(start, min(start + BATCH, size))
        await store.put([_memory(number, "") for number in part])
        await store.put_vectors(
            "made-up",
            [(DEFAULT_NAMESPACE, MemoryId(f"m{n}"), tuple(vectors[n].tolist())) for n in part],
        )
    if store.name != kind:
        raise UnavailableError("; ".join(store.faults))
    nearest = [
        frozenset(f"m{n}" for n in numpy.argpartition(vectors @ query, -DEPTH)[-DEPTH:])
        for query in queries
    ]
    filled = Filled(store, [tuple(query.tolist()) for query in queries], nearest)
    _filled[kind, size] = filled
    return filled


@cache
def _made_up(size: int) -> tuple[Any, Any, Any]:
    """Return numpy, vectors and queries, the same ones each time."""
    try:
        numpy: Any = importlib.import_module("numpy")
    except ImportError as error:
        raise UnavailableError("needs the extra 'chroma'") from error
    random = numpy.random.default_rng(7)

    def near(centres: Any, count: int) -> Any:
        chosen = centres[random.integers(0, CLUSTERS, count)]
        found = chosen + NOISE * random.standard_normal((count, DIMENSIONS))
        found /= numpy.linalg.norm(found, axis=1, keepdims=True)
        return found.astype(numpy.float32)

    centres = random.standard_normal((CLUSTERS, DIMENSIONS))
    centres /= numpy.linalg.norm(centres, axis=1, keepdims=True)
    return numpy, near(centres, size), near(centres, QUERIES)


# Quality.


def quality(embedder: str, way: str) -> Measure:
    """Return the mean reciprocal rank of the first right answer in the labelled set: 1 is always
    first, 0.5 always second. `way` is `words`, `vectors` or `fused`."""

    async def measure(_round: Round) -> float:
        return (await judge(embedder))[way][0]

    return measure


async def judge(name: str) -> dict[str, tuple[float, float]]:
    """Return, for each way, the mean reciprocal rank among the first ten, and the share of
    questions with a right answer among the first three."""
    embedder = _embedder(name)
    weights = SPELLING if embedder.lexical else MEANING
    store = Store(None)
    try:
        memories = [_memory(number, text) for number, text in enumerate(MEMORIES)]
        await store.put(memories)
        vectors = await embedder.embed(MEMORIES)
        await store.put_vectors(
            embedder.name,
            [(m.namespace, m.id, vector) for m, vector in zip(memories, vectors, strict=True)],
        )
        asked = [await _answers(store, embedder, question) for question, _ in QUESTIONS]
    finally:
        await store.close()
        await embedder.close()
    ways: dict[str, Weights] = {
        "words": Weights(0, 1),
        "vectors": Weights(1, 0),
        "fused": weights,
    }
    return {way: _score(asked, each) for way, each in ways.items()}


async def _answers(
    store: Store, embedder: Embedder, question: str
) -> tuple[Sequence[Hit], Sequence[Hit]]:
    [vector] = await embedder.embed([question])
    hits = await store.by_vector(PLACE, embedder.name, vector, 50)
    near = [hit for hit in hits if hit.similarity >= embedder.floor]
    return near, await store.by_words(PLACE, question, 50)


def _score(
    asked: Sequence[tuple[Sequence[Hit], Sequence[Hit]]], weights: Weights
) -> tuple[float, float]:
    candidates = {MemoryId(f"m{number}"): Candidate(0) for number in range(len(MEMORIES))}
    reciprocal, among = 0.0, 0
    for (near, words), (_, right) in zip(asked, QUESTIONS, strict=True):
        lists = (near if weights.vector else (), words if weights.words else ())
        ranked = [each.id for each in fuse(*lists, candidates, 0, weights)][:DEPTH]
        ranks = [ranked.index(MemoryId(f"m{n}")) + 1 for n in right if f"m{n}" in ranked]
        reciprocal += 1 / min(ranks) if ranks else 0
        among += bool(ranks and min(ranks) <= 3)
    return reciprocal / len(QUESTIONS), among / len(QUESTIONS)


def _embedder(name: str) -> Embedder:
    made: dict[str, Callable[[], Embedder]] = {"lexical": HashedNgrams, "minilm": _minilm}
    return made[name]()


def _minilm() -> Embedder:
    directory = load(environ=dict(os.environ)).state.models_directory
    if not is_there(directory) or not MiniLm.can_load():
        raise UnavailableError("needs `agentd models pull minilm` and the extra 'chroma'")
    return MiniLm(directory)


def _memory(number: int, text: str) -> Memory:
    name = MemoryId(f"m{number}")
    return Memory(DEFAULT_NAMESPACE, name, MemoryKind.EPISODE, SHARED_SCOPE, text or name)
