"""An event loop whose time is virtual: when nothing is ready, it is the time of the next timer."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


class Deadlock(Exception):
    """Nothing is ready, and no timer will ever make it so."""


class _OrderedSet(dict[Any, None]):
    """A set whose order is that of its making."""

    def add(self, item: Any) -> None:
        self[item] = None

    def discard(self, item: Any) -> None:
        self.pop(item, None)


class _OrderedTaskGroup(asyncio.TaskGroup):
    """A task group that cancels its tasks in the order in which they were made. The library's own
    goes by where they lie in memory, which no seed decides."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks = _OrderedSet()  # type: ignore[assignment]


@contextmanager
def in_order() -> Iterator[None]:
    """Have every task group of the block be an ordered one."""
    with patch.object(asyncio, "TaskGroup", _OrderedTaskGroup):
        yield


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
