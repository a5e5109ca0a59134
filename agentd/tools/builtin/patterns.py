"""Compile the patterns that models write: regular expressions for lines, and globs for paths.

They are matched by RE2: its time grows with the length of the text alone, where Python's `re` can
take years over `(a+)+$`; and it lets go of the interpreter's lock.
"""

import importlib
from typing import Any, Protocol

from agentd.tools.builtin.frame import Refused

MAX_PATTERN_BYTES = 2 * 1024 * 1024
"""How much memory a compiled pattern may take, in bytes."""


class Match(Protocol):
    """Where a pattern matched."""

    def start(self) -> int:
        """Return the first byte."""


class Pattern(Protocol):
    """A compiled pattern over bytes."""

    def search(self, text: bytes, pos: int = 0, endpos: int | None = None) -> Match | None:
        """Return the first match that lies within these bytes."""


def compile_lines(pattern: str, *, ignore_case: bool) -> Pattern:
    """Return a regular expression whose matches lie within one line each. Raises Refused."""
    try:
        return _compile(f"(?m){pattern}", ignore_case=ignore_case)
    except Refused as refusal:
        raise Refused(
            f"the pattern is not a regular expression: {refusal} (RE2 syntax, which has no "
            "look-around and no back-references)"
        ) from None


def compile_glob(pattern: str) -> Pattern:
    """Return a glob for paths: `*` and `?` stay within a name, `**` is any number of folders,
    `[a-z]` and `{one,other}` are choices. Without a slash it means that name in every folder.

    Raises Refused.
    """
    parts = pattern.strip("/").split("/")
    if len(parts) == 1:
        parts.insert(0, "**")
    text = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            text += ".*" if last else "(?:[^/]*/)*"
        else:
            text += _segment(part) + ("" if last else "/")
    try:
        return _compile(f"(?s)\\A(?:{text})\\z", ignore_case=False)
    except Refused as refusal:
        raise Refused(f"{pattern!r} is not a pattern for paths: {refusal}") from None


def _segment(glob: str) -> str:
    """Return the regular expression of one name's glob."""
    text, position, depth = "", 0, 0
    while position < len(glob):
        character = glob[position]
        close = glob.find("]", position + 2) if character == "[" else -1
        if close > 0:
            text += _choice(glob[position + 1 : close])
            position = close
        elif character == "{":
            text, depth = f"{text}(?:", depth + 1
        elif character == "}" and depth:
            text, depth = f"{text})", depth - 1
        elif character == "," and depth:
            text += "|"
        else:
            text += _WILD.get(character) or _literal(character)
        position += 1
    return text


_WILD = {"*": "[^/]*", "?": "[^/]"}


def _choice(characters: str) -> str:
    """Return the class of `[…]`, in which `!` or `^` first means all others."""
    inverse = characters[0] in "!^"
    inner = "".join(
        character if character == "-" else _literal(character) for character in characters[inverse:]
    )
    return f"[{'^/' if inverse else ''}{inner}]"


def _literal(character: str) -> str:
    if character.isalnum() or ord(character) > 127:
        return character
    return f"\\x{ord(character):02x}"


def _compile(pattern: str, *, ignore_case: bool) -> Pattern:
    re2 = importlib.import_module("re2")  # 5 ms, which only a search has to pay for
    options: Any = re2.Options()
    options.log_errors = False
    options.never_nl = True  # No match spans lines.
    options.max_mem = MAX_PATTERN_BYTES
    options.case_sensitive = not ignore_case
    try:
        compiled: Pattern = re2.compile(pattern.encode(), options)
    except UnicodeEncodeError:
        raise Refused("it has half of a surrogate pair") from None
    except re2.error as error:
        raise Refused(error.args[0].decode("utf-8", "replace")) from None
    finally:
        re2.purge()  # Its cache would keep 128 of them.
    return compiled
