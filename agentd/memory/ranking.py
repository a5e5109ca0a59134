"""Join what vectors and what words have found, by reciprocal rank fusion. Pure.

Ranks and not scores are joined, because a cosine and BM25 have nothing in common: each list gives
`weight / (K + rank)` (Cormack, Clarke, Büttcher, SIGIR 2009). What is newer, and what is of a scope
named earlier, wins over what fits equally well.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agentd.agent.memory import MemoryId
from agentd.memory.place import Hit

K: Final = 5
"""Less than the 60 of web search: these lists are short, and their first places mean more. On the
labelled set of tests/benchmarks, 5 finds the right memory earlier than 10, 20 and 60."""
RECENCY: Final = 0.05
"""How much a memory of this moment is worth more than an old one."""
HALF_LIFE_MS: Final = 30 * 24 * 3_600_000
SCOPE: Final = 0.05
"""How much the scope named first is worth more than the last."""


class Weights(msgspec.Struct, frozen=True):
    """How much each list counts."""

    vector: float = 1.0
    words: float = 1.0


class Candidate(msgspec.Struct, frozen=True):
    """What is known of a memory that may be found."""

    create_time_ms: int
    scope_rank: int = 0
    """The place of its scope among those asked for, from 0."""


class Ranked(msgspec.Struct, frozen=True):
    """A memory's place in each list (0: not in it), and what they come to."""

    id: MemoryId
    score: float
    """0 to 1: 1 is the first of every list, new, and of the first scope."""
    vector_rank: int = 0
    similarity: float = 0.0
    word_rank: int = 0


def fuse(
    by_vector: Sequence[Hit],
    by_words: Sequence[Hit],
    candidates: Mapping[MemoryId, Candidate],
    now_ms: int,
    weights: Weights,
) -> Sequence[Ranked]:
    """Return the candidates that any list has, best first. Ties go to the newer, then by name."""
    vectors = {hit.id: (rank, hit.similarity) for rank, hit in enumerate(by_vector, 1)}
    words = {hit.id: rank for rank, hit in enumerate(by_words, 1)}
    best = (weights.vector + weights.words) / (K + 1) * (1 + RECENCY + SCOPE)
    ranked = []
    for memory in vectors.keys() | words.keys():
        candidate = candidates.get(memory)
        if candidate is None:
            continue
        vector_rank, similarity = vectors.get(memory, (0, 0.0))
        word_rank = words.get(memory, 0)
        score = weights.vector / (K + vector_rank) if vector_rank else 0.0
        score += weights.words / (K + word_rank) if word_rank else 0.0
        score *= 1 + RECENCY * _recency(candidate, now_ms) + SCOPE / (1 + candidate.scope_rank)
        ranked.append(Ranked(memory, score / best, vector_rank, similarity, word_rank))
    ranked.sort(key=lambda each: (-each.score, -candidates[each.id].create_time_ms, each.id))
    return ranked


def _recency(candidate: Candidate, now_ms: int) -> float:
    age_ms = max(0, now_ms - candidate.create_time_ms)
    return float(0.5 ** (age_ms / HALF_LIFE_MS))
