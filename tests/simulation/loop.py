"""An event loop whose time is virtual: when nothing is ready, it is the time of the next timer."""

import asyncio
from typing import Any


class Deadlock(Exception):
    """Nothing is ready, and no timer will ever make it so."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is ready in order; has no threads, no sockets and no wall clock.

    asyncio's own loop asks a selector to wait for files or the next timer; here the loop is its own
    selector and waits by setting its clock forward.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        """Callbacks run so far, timers not counted."""
        self._now = 0.0
        self._selector = self

    def time(self) -> float:
        """Return seconds of virtual time."""
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Set the clock forward instead of waiting. Raises Deadlock."""
        self.steps += len(self._ready)  # type: ignore[attr-defined]
        if timeout is None:
            raise Deadlock
        self._now += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no files that could be ready."""

    def _write_to_self(self) -> None:
        """There is no other thread that could have to wake this one."""
