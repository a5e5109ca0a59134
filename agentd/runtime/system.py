"""The machine's own clock and chance, and the interpreter's collector."""

import gc
import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32, in lower case: sorts as it counts."""


class SystemClock:
    """The wall clock."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch."""
        return time.time_ns() // 1_000_000


class SystemEntropy:
    """The operating system's chance."""

    def id(self, prefix: str) -> str:
        """Return `prefix`, 10 characters of time and 8 of chance, of 5 bits each."""
        return (
            prefix
            + _base32(time.time_ns() // 1_000_000, 10)
            + _base32(int.from_bytes(os.urandom(5)), 8)
        )

    def token(self) -> str:
        """Return 128 bits of chance in hexadecimal."""
        return os.urandom(16).hex()

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        return int.from_bytes(os.urandom(6)) / 2**48


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
