"""Replace text in a text, so that doing it a second time changes nothing. Pure."""

from difflib import unified_diff

from agentd.tools.builtin.frame import Refused

MAX_DIFF_LINES = 4000
"""The most lines on either side that are compared: the comparison is quadratic in them."""
MAX_DIFF_CHARACTERS = 64 * 1024
"""The longest difference that is shown."""


def replace_text(text: str, old: str, new: str, *, everywhere: bool) -> tuple[str, int]:
    """Return a text with `new` in the place of `old`, and how often that was done.

    What lies within a `new` that is there already does not count as `old`; so once replaced, there
    is nothing more to replace. Raises Refused if `old` is empty, is missing, is there more than
    once without `everywhere`, or would be there again after it was replaced.
    """
    if not old or old == new:
        raise Refused("'old' must be a text, and 'new' another one")
    places = _places(text, old, new, 1 if not everywhere else len(text))
    if not places:
        raise Refused("the file does not have the text 'old': it must match to the last blank")
    if len(places) > 1 and not everywhere:
        raise Refused(
            "the file has the text 'old' more than once: give more of its surroundings, or set "
            "'replace_all'"
        )
    pieces, start = [], 0
    for place in places:
        pieces += [text[start:place], new]
        start = place + len(old)
    changed = "".join([*pieces, text[start:]])
    if _places(changed, old, new, 1):
        raise Refused("after the change the file would have the text 'old' again: choose more text")
    return changed, len(places)


def is_replaced(text: str, old: str, new: str) -> bool:
    """Whether a text looks as `replace_text` leaves it."""
    return new in text and not _places(text, old, new, 1)


def _places(text: str, old: str, new: str, enough: int) -> list[int]:
    """Return where `old` begins outside of every `new`, one more than `enough` at most. Where two
    overlap, only the first counts if more than one is wanted."""
    places: list[int] = []
    shelter = text.find(new) if new else -1
    position = text.find(old)
    while position >= 0 and len(places) <= enough:
        while shelter >= 0 and shelter + len(new) < position + len(old):
            shelter = text.find(new, shelter + len(new))
        if 0 <= shelter <= position:
            step = shelter + len(new) - len(old) - position + 1
        else:
            places.append(position)
            step = 1 if enough == 1 else len(old)
        position = text.find(old, position + step)
    return places


def difference(path: str, before: str, after: str) -> str:
    """Return the unified difference of two texts, or in one line why there is none to show."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if max(len(old), len(new)) > MAX_DIFF_LINES:
        return f"(more than {MAX_DIFF_LINES} lines: the difference is not shown)\n"
    lines = (
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in unified_diff(old, new, f"a/{path}", f"b/{path}")
    )
    text = "".join(lines)
    if len(text) <= MAX_DIFF_CHARACTERS:
        return text
    return (
        f"{text[:MAX_DIFF_CHARACTERS]}\n(and {len(text) - MAX_DIFF_CHARACTERS} characters more)\n"
    )
