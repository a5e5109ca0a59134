"""The journal in memory with reads that take time, as those of another thread do."""

import asyncio
from collections.abc import Callable, Sequence

from agentd.agent.events import Entry
from agentd.agent.ids import Namespace, RunId, RunIdentity, RunKey
from agentd.runtime.ports import Clock, Record, RunQuery, Selector, StoredRun
from tests.fakes.journal import Commit, MemoryJournal


class SlowJournal(MemoryJournal):
    """What is read was true at some moment between the question and the answer.

    `lag` returns how many seconds each half of a read takes.
    """

    def __init__(self, clock: Clock, plan: Callable[[], Commit], lag: Callable[[], float]) -> None:
        super().__init__(clock, plan)
        self._lag = lag

    def crash(self, *, stored: int = 0) -> "SlowJournal":
        left = super().crash(stored=stored)
        journal = SlowJournal(self._clock, self._plan or Commit, self._lag)
        MemoryJournal.__init__(journal, self._clock, self._plan, left._disk)
        return journal

    async def get_run(self, namespace: Namespace, run: RunId) -> StoredRun | None:
        await self._wait()
        found = await super().get_run(namespace, run)
        await self._wait()
        return found

    async def list_runs(
        self, query: RunQuery, *, before: RunKey | None, limit: int
    ) -> Sequence[StoredRun]:
        await self._wait()
        found = await super().list_runs(query, before=before, limit=limit)
        await self._wait()
        return found

    async def read_run(
        self, run: RunIdentity, *, after_sequence: int = 0, limit: int = 0
    ) -> Sequence[Entry]:
        await self._wait()
        found = await super().read_run(run, after_sequence=after_sequence, limit=limit)
        await self._wait()
        return found

    async def scan(
        self, selector: Selector, *, after_revision: int, limit: int
    ) -> tuple[Sequence[Entry], int]:
        await self._wait()
        found = await super().scan(selector, after_revision=after_revision, limit=limit)
        await self._wait()
        return found

    async def get(
        self, kind: str, namespace: Namespace, id: str, revision: int = 0
    ) -> Record | None:
        await self._wait()
        found = await super().get(kind, namespace, id, revision)
        await self._wait()
        return found

    async def _wait(self) -> None:
        delay_s = self._lag()
        if delay_s:
            await asyncio.sleep(delay_s)
