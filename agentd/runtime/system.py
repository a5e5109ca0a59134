"""The machine's own clock and chance, and the interpreter's collector."""

import gc
import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32, in lower case: sorts as it counts."""


PAGE_BYTES = 4096
"""How much chance is asked for at a time."""


class SystemClock:
    """The wall clock."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch."""
        return time.time_ns() // 1_000_000


class SystemEntropy:
    """The operating system's chance, asked for a page at a time: each time costs as much as making
    a run's first events."""

    def __init__(self) -> None:
        self._page = b""
        self._used = 0

    def id(self, prefix: str) -> str:
        """Return `prefix`, 10 characters of time and 8 of chance, of 5 bits each."""
        return (
            prefix
            + _base32(time.time_ns() // 1_000_000, 10)
            + _base32(int.from_bytes(self._bytes(5)), 8)
        )

    def token(self) -> str:
        """Return 128 bits of chance in hexadecimal."""
        return self._bytes(16).hex()

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        return int.from_bytes(self._bytes(6)) / 2**48

    def _bytes(self, count: int) -> bytes:
        """Return bytes that nobody else is given."""
        start, self._used = self._used, self._used + count
        if self._used > len(self._page):
            self._page, start, self._used = os.urandom(PAGE_BYTES), 0, count
        return self._page[start : self._used]


def spare_the_collector() -> None:
    """Leave what start-up made out of every collection, and collect more rarely. For a process that
    is ready to serve: a step makes some hundred objects and leaves no cycles, and with the default
    thresholds collecting takes a third of the time of a busy daemon."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _base32(value: int, length: int) -> str:
    digits = []
    for _ in range(length):
        digits.append(_ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(digits))
