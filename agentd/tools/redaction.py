"""Take values out of text, in the forms in which they get into it: plain, base64, hexadecimal,
percent-encoded and JSON-escaped.

Pure. It guards against accidents, and not against one who can encode as he likes.
"""

import base64
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

MIN_CHARACTERS = 8
"""The shortest value: a shorter one would be found in ordinary text."""
MAX_BYTES = 16 * 1024
"""The longest value, as UTF-8: a long private key has 4 KB."""


class Redactor:
    """Replaces values, such as those of secrets, by their names."""

    def __init__(self, values: Mapping[str, Iterable[str]]) -> None:
        self._forms = tuple(
            _forms(name, value) for name, several in values.items() for value in several
        )

    def redact(self, text: str) -> str:
        """Return the text with `[secret NAME]` in the place of each value; the same object when
        there is none. JSON stays JSON.

        Of a value in base64 up to 4 bits at each end may stay: they share a character with what
        stands beside it.
        """
        spans = sorted(self._spans(text))
        if not spans:
            return text
        pieces, position = [], 0
        for start, end, name in spans:
            if start >= position:
                # With the backslashes before it: one alone would escape what takes its place.
                pieces += [text[position:start].rstrip("\\"), f"[secret {name}]"]
            # One that begins within another takes what goes beyond: no part of either stays.
            position = max(position, end)
        return "".join([*pieces, text[position:]])

    def redact_bytes(self, data: bytes) -> bytes:
        """Return the bytes, which need not be text, as `redact` does."""
        text = data.decode("utf-8", "surrogateescape")
        redacted = self.redact(text)
        return data if redacted is text else redacted.encode("utf-8", "surrogateescape")

    def unsettled(self, text: str) -> int:
        """Return how many characters at the end of a text that goes on may turn out to belong to a
        value: what comes before them can be redacted now."""
        opened = _UNFINISHED.search(text, max(0, len(text) - MAX_ESCAPE))
        end = opened.start() if opened else len(text)
        views = [_View(text, _NOTHING, _decode)]
        if "\n" in text or r"\n" in text:
            views.append(_View(text, _LINE_BREAK, lambda _: ""))
        if "%" in text or "\\" in text or "+" in text:
            views.append(_View(text[:end], _ESCAPE, _decode))
        needles = [needle for forms in self._forms for needle in forms.all]
        cut = min([end, *(view.open_end(needles) for view in views)])
        if cut < len(text):
            # A value may end as it begins: it is not to be cut where it may begin again.
            for start, stop, _ in sorted(self._spans(text), reverse=True):
                cut = start if start < cut < stop else cut
        return len(text) - cut

    def _spans(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield the start, the end and the name of every value, in no order."""
        for forms in self._forms:
            for needle in forms.all:
                yield from ((*span, forms.name) for span in _occurrences(needle, text))
        if "\n" in text or r"\n" in text:
            joined = _LINE_BREAK.sub("", text)
            if any(needle in joined for forms in self._forms for needle in forms.encoded):
                yield from self._within(_View(text, _LINE_BREAK, lambda _: ""))
        encoded = ("%" in text or r"\u" in text) and _ANY_CHARACTER.search(text)
        if encoded or any(forms.anchor in text for forms in self._forms):
            yield from self._within(_View(text, _ESCAPE, _decode))

    def _within(self, view: "_View") -> Iterator[tuple[int, int, str]]:
        for forms in self._forms:
            for needle in forms.all:
                yield from ((*span, forms.name) for span in view.occurrences(needle))


class _Forms(msgspec.Struct, frozen=True):
    """What to look for on behalf of one value."""

    name: str
    encoded: tuple[str, ...]
    all: tuple[str, ...]
    anchor: str
    """A part of the value that stays as it is unless everything is escaped."""


def _forms(name: str, value: str) -> _Forms:
    data = value.encode()
    encoded = tuple(dict.fromkeys((data.hex(), data.hex().upper(), *_base64_cores(data))))
    # The value may hold what looks like an escape, and text without escapes holds it either way.
    plain = dict.fromkeys((value, _ESCAPE.sub(_decode, value)))
    anchor = max(re.findall(r"[A-Za-z0-9_.~-]*", value), key=len)
    return _Forms(name, encoded, (*plain, *encoded), anchor)


def _base64_cores(data: bytes) -> Iterator[str]:
    """Yield the characters that encode nothing but this data, for each place where it may begin
    within three bytes and for both alphabets (RFC 4648)."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + data).decode("ascii")
        # A character has 6 bits: those that hold bits of a neighbour are left out.
        core = encoded[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6]
        yield core
        yield core.translate(_URL_SAFE)


class _View:
    """A text with some of its parts replaced, which knows where each came from."""

    def __init__(
        self, text: str, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]
    ) -> None:
        pieces: list[str] = []
        self._here, self._there = [0], [0]
        """Where a replaced part begins or ends: in this view, and in the text."""
        length = position = 0
        for found in pattern.finditer(text):
            start, end = found.span()
            replacement = replace(found)
            pieces += [text[position:start], replacement]
            length += start - position
            self._here += [length, length + len(replacement)]
            self._there += [start, end]
            length += len(replacement)
            position = end
        self._text = "".join([*pieces, text[position:]])

    def occurrences(self, needle: str) -> Iterator[tuple[int, int]]:
        """Yield where a needle is in the original text."""
        for start, end in _occurrences(needle, self._text):
            first = bisect_right(self._here, start) - 1
            last = bisect_left(self._here, end)
            if last == len(self._here) or self._here[last] != end:
                last -= 1
            yield (
                self._there[first] + start - self._here[first],
                self._there[last] + end - self._here[last],
            )

    def open_end(self, needles: Iterable[str]) -> int:
        """Return where in the original text the longest end begins that a needle may begin with."""
        begin = len(self._text)
        for needle in needles:
            start = self._text.find(needle[0], max(0, len(self._text) - len(needle) + 1), begin)
            while start >= 0 and not needle.startswith(self._text[start:]):
                start = self._text.find(needle[0], start + 1, begin)
            begin = start if start >= 0 else begin
        index = bisect_right(self._here, begin) - 1
        return self._there[index] + begin - self._here[index]


def _occurrences(needle: str, text: str) -> Iterator[tuple[int, int]]:
    start = text.find(needle)
    while start >= 0:
        yield start, start + len(needle)
        start = text.find(needle, start + 1)


def _decode(escape: re.Match[str]) -> str:
    """Return the character that an escape stands for."""
    match escape.lastgroup, escape[0]:
        case "percent", text:
            return bytes.fromhex(text.replace("%", "")).decode("utf-8", "replace")
        case "pair", _:
            units = bytes.fromhex(escape["high"] + escape["low"])
            return units.decode("utf-16-be")
        case "unit", _:
            return chr(int(escape["unit"], 16))
        case "short", _:
            return _SHORT_ESCAPES[escape["short"]]
        case _, text:
            return " " if text == "+" else "\\"


_LINE_BREAK = re.compile(r"\n|\r|\\\\*+[nr]")
"""As itself or within JSON. Each branch starts with a letter of its own: the search skips to it."""
_ESCAPE = re.compile(
    r"""
    % (?P<percent> [0-7]H | [CcDd]H%BH | [Ee]H%BH%BH | [Ff][0-7]%BH%BH%BH )
    | \\ \\*+ (?:                        # JSON in JSON has several backslashes for one character
        u (?P<pair> (?P<high>[Dd]BHH) \\++ u (?P<low>[Dd][C-Fc-f]HH) )
        | u (?P<unit> HHHH )
        | (?P<short> ["/bfnrt] )
    )?+
    | \+
    """.replace("B", "[89ABab]").replace("H", "[0-9A-Fa-f]"),
    re.VERBOSE,
)
"""A character as UTF-8 in percents (RFC 3986), one as in JSON (RFC 8259), any number of
backslashes, and the space of a form."""
_UNFINISHED = re.compile(
    r"""
    (?: (?: %[C-Fc-f]H (?: %BH ){0,2} )? (?: %H? )?
      | (?: \\++ u [Dd]BHH )? (?: \\++ (?: u H{0,3} )? )?
    ) \Z
    """.replace("B", "[89ABab]").replace("H", "[0-9A-Fa-f]"),
    re.VERBOSE,
)
"""The beginning of such an escape, or nothing, at the end of a text."""
MAX_ESCAPE = 32
"""The most characters of one, with as many backslashes as JSON in JSON in JSON has."""
_NOTHING = re.compile(r"(?!)")
_ANY_CHARACTER = re.compile(r"%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}")
"""An escape that may stand for a character that needs none."""
_SHORT_ESCAPES = {'"': '"', "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_URL_SAFE = str.maketrans("+/", "-_")
