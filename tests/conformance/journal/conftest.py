"""The journals that are held to one suite: in SQLite, and the fake in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.runtime.journal.sqlite import SqliteJournal
from tests.conformance.journal.helpers import AnyJournal
from tests.fakes.journal import MemoryJournal
from tests.fakes.runs import FixedClock


class Lab:
    """A journal that can be closed and opened again."""

    def __init__(self, kind: str, directory: Path) -> None:
        self._directory = directory
        self._kind = kind
        self._open: AnyJournal | None = None
        self.clock = FixedClock()

    async def open(self) -> AnyJournal:
        if self._kind == "sqlite":
            self._open = await SqliteJournal.open(self._directory, self.clock)
        else:
            self._open = MemoryJournal(self.clock)
        return self._open

    async def reopen(self) -> AnyJournal:
        journal = self._open
        assert journal is not None
        await journal.close()
        if isinstance(journal, MemoryJournal):
            self._open = journal.crash()
        else:
            await self.open()
        assert self._open is not None
        return self._open

    async def close(self) -> None:
        if self._open is not None:
            await self._open.close()


@pytest.fixture(params=["sqlite", "memory"])
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(request.param, tmp_path)
    yield lab
    await lab.close()


@pytest.fixture
async def journal(lab: Lab) -> AnyJournal:
    return await lab.open()
