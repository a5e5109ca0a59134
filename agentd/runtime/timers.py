"""Times at which something happens to runs, on the wall clock."""

import asyncio
import heapq
from collections.abc import Callable

from agentd.agent.ids import RunIdentity, RunKey
from agentd.runtime.ports import Clock

SPARE = 64
"""How many times that nobody waits for any more are kept before they are swept out."""


class Timers:
    """When runs are to be woken, and when their wall time is used up. A run has one of each."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wakes = _Times()
        self._deadlines = _Times()
        self._changed = asyncio.Event()

    def wake_at(self, run: RunIdentity, time_ms: int) -> None:
        """Have a run woken at a time in milliseconds since the epoch, or before that: it then looks
        again, and says when next."""
        self._wakes.add(run.key, time_ms)
        self._changed.set()

    def stop_at(self, run: RunIdentity, time_ms: int) -> None:
        """Have a run stopped at a time in milliseconds since the epoch."""
        self._deadlines.add(run.key, time_ms)
        self._changed.set()

    def forget(self, run: RunIdentity) -> None:
        """Do nothing more to a run: it has ended."""
        self._wakes.remove(run.key)
        self._deadlines.remove(run.key)

    async def keep(self, wake: Callable[[RunKey], None], stop: Callable[[RunKey], None]) -> None:
        """Call `wake` and `stop` at their times until cancelled."""
        while True:
            self._changed.clear()
            now = self._clock.now_ms()
            for times, act in ((self._wakes, wake), (self._deadlines, stop)):
                for key in times.take(now):
                    act(key)
            due = [time for times in (self._wakes, self._deadlines) if (time := times.first())]
            delay_s = max(min(due) - now, 1) / 1000 if due else None
            try:
                async with asyncio.timeout(delay_s):
                    await self._changed.wait()
            except TimeoutError:
                pass


class _Times:
    """The next time of each run."""

    def __init__(self) -> None:
        self._of_run: dict[RunKey, int] = {}
        self._sorted: list[tuple[int, RunKey]] = []
        """A heap of these, and of times that do not count any more."""

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, key: RunKey, time_ms: int) -> None:
        """Give a run a time, unless it has an earlier one."""
        if self._of_run.get(key, time_ms + 1) > time_ms:
            self._of_run[key] = time_ms
            heapq.heappush(self._sorted, (time_ms, key))
            self._sweep()

    def remove(self, key: RunKey) -> None:
        """Take a run's time away."""
        if self._of_run.pop(key, None) is not None:
            self._sweep()

    def take(self, now_ms: int) -> list[RunKey]:
        """Take the times that have come; return whose they were."""
        due: list[RunKey] = []
        while self._sorted and self._sorted[0][0] <= now_ms:
            time_ms, key = heapq.heappop(self._sorted)
            if self._of_run.get(key) == time_ms:
                del self._of_run[key]
                due.append(key)
        return due

    def first(self) -> int:
        """Return the next time, or one that does not count and is before it; 0 when there is
        none."""
        return self._sorted[0][0] if self._sorted else 0

    def _sweep(self) -> None:
        if len(self._sorted) > 2 * len(self._of_run) + SPARE:
            self._sorted = [(time_ms, key) for key, time_ms in self._of_run.items()]
            heapq.heapify(self._sorted)
