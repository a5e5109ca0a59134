"""Which words count."""

import pytest

from agentd.memory.words import MAX_QUERY_WORDS, query_words, sameness, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Port's 8080.", ["the", "port", "s", "8080"]),
        (
            "\uff26\uff55\uff4c\uff4c\u00a0\ufb01le STRASSE straße",
            ["full", "file", "strasse", "strasse"],
        ),
        ("", []),
        ("?!", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_common_words_are_left_out_unless_there_are_no_others() -> None:
    assert query_words("What is the port of the port?") == ["port"]
    assert query_words("to be or not to be") == ["to", "be", "or", "not"]
    assert len(query_words(" ".join(f"w{n}" for n in range(100)))) == MAX_QUERY_WORDS


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("The deploy port is 8080.", "deploy PORT is   8080", True),
        ("The port is 80", "The port is 81", False),
        ("Ann owns Bob's dog", "Bob owns Ann's dog", False),
        ("It is on", "It is not on", False),
        ("!!", "??", False),
        ("a", "the", False),
    ],
)
def test_only_the_same_words_in_order_say_the_same(left: str, right: str, same: bool) -> None:
    assert (sameness(left) == sameness(right)) is same
