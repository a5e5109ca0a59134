"""Times at which something happens to runs, on the wall clock."""

import asyncio
import heapq
from collections.abc import Callable

from agentd.agent.ids import RunIdentity, RunKey
from agentd.runtime.ports import Clock


class Timers:
    """When runs are to be woken, and when their wall time is used up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wakes: list[tuple[int, RunKey]] = []
        self._deadlines: list[tuple[int, RunKey]] = []
        self._changed = asyncio.Event()

    def wake_at(self, run: RunIdentity, time_ms: int) -> None:
        """Have a run woken at a time in milliseconds since the epoch."""
        heapq.heappush(self._wakes, (time_ms, run.key))
        self._changed.set()

    def stop_at(self, run: RunIdentity, time_ms: int) -> None:
        """Have a run stopped at a time in milliseconds since the epoch."""
        heapq.heappush(self._deadlines, (time_ms, run.key))
        self._changed.set()

    async def keep(self, wake: Callable[[RunKey], None], stop: Callable[[RunKey], None]) -> None:
        """Call `wake` and `stop` at their times until cancelled."""
        while True:
            self._changed.clear()
            now = self._clock.now_ms()
            for heap, act in ((self._wakes, wake), (self._deadlines, stop)):
                while heap and heap[0][0] <= now:
                    act(heapq.heappop(heap)[1])
            due = [heap[0][0] for heap in (self._wakes, self._deadlines) if heap]
            delay_s = max(min(due) - now, 1) / 1000 if due else None
            try:
                async with asyncio.timeout(delay_s):
                    await self._changed.wait()
            except TimeoutError:
                pass
