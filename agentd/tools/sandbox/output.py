"""Keep the head and the tail of what a program writes, and make it harmless to show."""

import re

_SEQUENCES = re.compile(
    # Strings that end with ST or BEL (OSC, DCS, SOS, PM, APC), or never; then CSI; then the others
    # of ECMA-48 and ISO 2022. Both the 7-bit forms and the 8-bit ones.
    r"(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|(?=\x1b)|\Z)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
_NEWLINES = re.compile(r"\r+\n?")
_CONTROLS = re.compile(
    # C0 but tab and newline, DEL, C1, and what turns the direction of text.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def clean(data: bytes) -> str:
    """Return a program's output as plain text: UTF-8, newlines, tabs, and nothing that a terminal
    or a reader would obey."""
    text = _SEQUENCES.sub("", data.decode("utf-8", "replace"))
    return _CONTROLS.sub("", _NEWLINES.sub("\n", text))


class Capture:
    """Takes any amount of output in bounded memory."""

    def __init__(self, limit: int) -> None:
        """Keep up to `limit` bytes: half from the head, half from the tail."""
        self._head = bytearray()
        self._tail = bytearray()
        self._head_limit = limit - limit // 2
        self._tail_limit = limit // 2
        self.total = 0

    @property
    def omitted(self) -> int:
        """How many bytes stand between head and tail and were not kept."""
        return self.total - len(self._head) - min(len(self._tail), self._tail_limit)

    def feed(self, data: bytes) -> None:
        """Take more output."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * self._tail_limit:
            del self._tail[: len(self._tail) - self._tail_limit]

    def text(self) -> str:
        """Return what was kept, and say how much was not."""
        if not self.omitted:
            return clean(bytes(self._head + self._tail))
        tail = self._tail[max(len(self._tail) - self._tail_limit, 0) :]
        return f"{clean(bytes(self._head))}\n[{self.omitted} bytes left out]\n{clean(bytes(tail))}"
