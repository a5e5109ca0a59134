"""A real journal in a directory, a clock that is set by hand, and chance that counts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agentd.runtime.journal.sqlite import SqliteJournal


class HandClock:
    """A clock that stands still until it is set."""

    def __init__(self, time_ms: int = 1_000_000) -> None:
        self.time_ms = time_ms

    def now_ms(self) -> int:
        return self.time_ms


class CountingEntropy:
    """Chance that counts."""

    def __init__(self) -> None:
        self.count = 0

    def id(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count:04d}"

    def token(self) -> str:
        return self.id("token-")

    def fraction(self) -> float:
        return 0.5


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[SqliteJournal]:
    """Open a journal in a directory, and close it."""
    journal = await SqliteJournal.open(directory, HandClock())
    try:
        yield journal
    finally:
        await journal.close()
