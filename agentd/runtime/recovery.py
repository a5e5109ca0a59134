"""After a start: take over the runs that have not ended, and bring them back little by little."""

import asyncio
from collections.abc import Sequence

from agentd.runtime.loading import waits_for_a_person
from agentd.runtime.ports import StoredRun
from agentd.runtime.scheduler import Scheduler
from agentd.runtime.timers import Timers

SLICE = 16
"""Runs that are brought back at a time."""


class Recovery:
    """The unfinished runs of a journal, on their way back."""

    def __init__(self, scheduler: Scheduler, timers: Timers) -> None:
        self._scheduler = scheduler
        self._timers = timers
        self._resumed: list[StoredRun] = []

    def take_over(self, stored: Sequence[StoredRun]) -> None:
        """Make runs known, oldest first; those that only a person brings back stay parked."""
        for run in stored:
            if self._scheduler.know(run.run.identity) and not self._park(run):
                self._resumed.append(run)

    async def resume(self) -> None:
        """Bring the others back in slices, between which requests are served."""
        for start in range(0, len(self._resumed), SLICE):
            for run in self._resumed[start : start + SLICE]:
                self._scheduler.bring_back(run)
            await asyncio.sleep(0)
        self._resumed.clear()

    def _park(self, stored: StoredRun) -> bool:
        if not waits_for_a_person(stored):
            return False
        started = stored.snapshot.started if stored.snapshot else None
        if started and started.deadline_ms:
            self._timers.stop_at(stored.run.identity, started.deadline_ms)
        return True
