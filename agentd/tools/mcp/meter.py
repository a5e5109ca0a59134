"""Bound what a server can pour out: messages a second, and bytes a message. Pure."""

from collections.abc import Iterator

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""The longest message of a server; a longer one ends the connection."""
RATE_PER_S = 500.0
"""How many messages that nobody asked for are read in a second, in the long run."""
BURST = 2_000.0
"""How many are read at once."""


class TooLong(Exception):
    """A message has more than MAX_MESSAGE_BYTES."""


class Meter:
    """A leaky bucket: it says how long to let the server wait, which slows down nobody else."""

    def __init__(self, rate_per_s: float = RATE_PER_S, burst: float = BURST) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._level = 0.0
        self._time_s = 0.0

    def delay_s(self, now_s: float) -> float:
        """Take note of one message, and return for how many seconds to read no other."""
        self._level = max(0.0, self._level - (now_s - self._time_s) * self._rate_per_s) + 1
        self._time_s = now_s
        return max(0.0, (self._level - self._burst) / self._rate_per_s)


class Lines:
    """Cuts what a server writes into lines."""

    def __init__(self, limit_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that end in this chunk, or raise TooLong."""
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            self._add(line)
            whole = bytes(self._rest)
            self._rest.clear()
            yield whole
        self._add(rest)

    def _add(self, part: bytes) -> None:
        if len(self._rest) + len(part) > self._limit_bytes:
            raise TooLong(f"it sent a message of more than {self._limit_bytes} bytes")
        self._rest += part
