"""The lexical embedder: spellings that are alike are near, and nothing else is."""

import math

import pytest

from agentd.memory.hashing import DIMENSIONS, MAX_CHARACTERS, HashedNgrams, embed_text
from agentd.memory.vectors import dot


async def test_vectors_have_length_one_and_never_change() -> None:
    embedder = HashedNgrams()
    first, again = await embedder.embed(["The deploy port", "The deploy port"])
    assert first == again
    assert len(first) == DIMENSIONS
    assert math.isclose(dot(first, first), 1.0)
    await embedder.close()


@pytest.mark.parametrize(
    ("near", "far"),
    [
        ("deploying to ports", "cats asleep on sofas"),
        ("the deployment port", "an invoice for March"),
    ],
)
def test_like_spellings_are_nearer(near: str, far: str) -> None:
    vector = embed_text("the port that we deploy to")
    assert dot(vector, embed_text(near)) > HashedNgrams.floor > dot(vector, embed_text(far))


def test_a_text_without_words_is_near_nothing() -> None:
    assert dot(embed_text(""), embed_text("rain")) == 0


def test_the_tail_of_a_long_text_is_not_looked_at() -> None:
    head = "rain " * (MAX_CHARACTERS // 5 + 1)
    assert embed_text(head) == embed_text(head + "snow " * 1000)
