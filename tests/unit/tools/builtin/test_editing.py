"""Edits replace what they say, and a second time nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.builtin.editing import (
    MAX_DIFF_CHARACTERS,
    MAX_DIFF_LINES,
    difference,
    is_replaced,
    replace_text,
)
from agentd.tools.builtin.frame import Refused

letters = st.text("ab", max_size=4)


def test_one_occurrence_is_replaced() -> None:
    assert replace_text("one two", "two", "three", everywhere=False) == ("one three", 1)
    assert replace_text("one two", " two", "", everywhere=False) == ("one", 1)


def test_several_are_replaced_only_when_asked() -> None:
    with pytest.raises(Refused, match="more than once"):
        replace_text("x x x", "x", "y", everywhere=False)
    assert replace_text("x x x", "x", "y", everywhere=True) == ("y y y", 3)


def test_occurrences_that_overlap_are_several() -> None:
    with pytest.raises(Refused, match="more than once"):
        replace_text("aaa", "aa", "b", everywhere=False)


def test_what_lies_within_the_new_text_is_not_the_old() -> None:
    assert replace_text("port 8080, port 80", "80", "8080", everywhere=False) == (
        "port 8080, port 8080",
        1,
    )


@pytest.mark.parametrize(("text", "old", "new"), [("a", "b", "c"), ("a", "", "b"), ("a", "a", "a")])
def test_an_edit_that_changes_nothing_is_refused(text: str, old: str, new: str) -> None:
    with pytest.raises(Refused):
        replace_text(text, old, new, everywhere=False)


def test_an_edit_that_could_be_repeated_is_refused() -> None:
    with pytest.raises(Refused, match="again"):
        replace_text("aabb", "ab", "", everywhere=False)


@given(letters, letters, letters, st.booleans())
def test_a_second_edit_finds_nothing_to_do(text: str, old: str, new: str, every: bool) -> None:
    try:
        after, count = replace_text(text, old, new, everywhere=every)
    except Refused:
        return
    assert count == 1 or every
    assert len(after) == len(text) + count * (len(new) - len(old))
    assert is_replaced(after, old, new)
    with pytest.raises(Refused):
        replace_text(after, old, new, everywhere=every)


@given(letters, letters.filter(bool), letters)
def test_a_text_to_be_edited_is_not_taken_for_an_edited_one(text: str, old: str, new: str) -> None:
    try:
        replace_text(text, old, new, everywhere=True)
    except Refused:
        return
    assert not is_replaced(text, old, new)


def test_a_difference_names_the_file_and_the_lines() -> None:
    shown = difference("f", "a\nb\n", "a\nc")
    assert shown == "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n\\ No newline at end of file\n"


def test_a_difference_is_bounded() -> None:
    assert "not shown" in difference("f", "", "x\n" * (MAX_DIFF_LINES + 1))
    shown = difference("f", "", "x" * 2 * MAX_DIFF_CHARACTERS)
    assert len(shown) < MAX_DIFF_CHARACTERS + 100
    assert shown.endswith("characters more)\n")
