"""The embedder that needs no model: hashed words and trigrams. It compares spellings, no meanings.

Each feature adds a signed weight to one coordinate, chosen by its CRC-32 (feature hashing). Cheap
and the same everywhere; `car` and `automobile` have nothing in common for it.
"""

import math
from collections import Counter
from collections.abc import Sequence
from zlib import crc32

from agentd.agent.memory import Vector
from agentd.memory.vectors import unit
from agentd.memory.words import query_words, words_of

DIMENSIONS = 512
MAX_CHARACTERS = 8_192
"""What comes after is not looked at."""
WORD_WEIGHT = 1.0
TRIGRAM_WEIGHT = 0.4


class HashedNgrams:
    """The port `Embedder` by arithmetic alone."""

    name = "hashed-ngrams"
    lexical = True
    floor = 0.15
    """Two texts below this cosine share no more than chance gives."""

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return a vector for each text. Takes some 100 µs for a short one."""
        return [embed_text(text) for text in texts]

    async def close(self) -> None:
        """Hold nothing."""


def embed_text(text: str) -> Vector:
    """Return the vector of a text."""
    head = text[:MAX_CHARACTERS]
    features: Counter[str] = Counter()
    for word in query_words(head):
        features[f"w {word}"] += 1
    for word in words_of(head):
        framed = f" {word} "
        for start in range(len(framed) - 2):
            features[framed[start : start + 3]] += 1
    vector = [0.0] * DIMENSIONS
    for feature, count in features.items():
        digest = crc32(feature.encode())
        weight = WORD_WEIGHT if feature.startswith("w ") else TRIGRAM_WEIGHT
        sign = 1.0 if digest & 0x8000_0000 else -1.0
        vector[digest % DIMENSIONS] += sign * weight * math.sqrt(count)
    return unit(vector)
