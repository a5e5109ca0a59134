"""Joining two rankings: what both find wins, and nothing is found twice or made up."""

from hypothesis import given
from hypothesis import strategies as st

from agentd.agent.memory import MemoryId
from agentd.memory.place import Hit
from agentd.memory.ranking import HALF_LIFE_MS, Candidate, Weights, fuse

NOW = 10 * HALF_LIFE_MS
EVEN = Weights(1.0, 1.0)
NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True).map(
    lambda names: [Hit(MemoryId(name), 0.5) for name in names]
)


def hits(names: str) -> list[Hit]:
    return [Hit(MemoryId(name), 0.9) for name in names]


def candidates(names: str, **times: int) -> dict[MemoryId, Candidate]:
    return {MemoryId(name): Candidate(times.get(name, 0)) for name in names}


def order(vectors: str, words: str, weights: Weights = EVEN, **times: int) -> str:
    ranked = fuse(hits(vectors), hits(words), candidates("abcdefgh", **times), NOW, weights)
    return "".join(each.id for each in ranked)


def test_what_both_find_comes_first() -> None:
    assert order("abc", "cde").startswith("c")


def test_the_heavier_list_leads() -> None:
    assert order("ab", "cd", Weights(1.0, 0.2)) == "abcd"
    assert order("ab", "cd", Weights(0.2, 1.0)) == "cdab"


def test_of_equals_the_newer_comes_first() -> None:
    assert order("a", "b") == "ab"
    assert order("a", "b", b=NOW) == "ba"


def test_a_scope_named_earlier_comes_first() -> None:
    names = {MemoryId("a"): Candidate(0, 1), MemoryId("b"): Candidate(0, 0)}
    assert [each.id for each in fuse(hits("a"), hits("b"), names, NOW, EVEN)] == ["b", "a"]


def test_says_why() -> None:
    [first, second] = fuse(hits("ab"), hits("b"), candidates("ab"), NOW, EVEN)
    assert (first.id, first.vector_rank, first.similarity, first.word_rank) == ("b", 2, 0.9, 1)
    assert (second.id, second.vector_rank, second.word_rank) == ("a", 1, 0)


@given(NAMES, NAMES, st.floats(0, 2), st.floats(0.01, 2))
def test_every_candidate_is_ranked_once(
    vectors: list[Hit], words: list[Hit], left: float, right: float
) -> None:
    known = candidates("abcde")
    ranked = fuse(vectors, words, known, NOW, Weights(left, right))
    names = [each.id for each in ranked]
    assert set(names) == {hit.id for hit in (*vectors, *words)} & known.keys()
    assert len(set(names)) == len(names)
    scores = [each.score for each in ranked]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1.0000001 for score in scores)
