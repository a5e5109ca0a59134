"""Counts Ctrl-C, so that once can mean to detach and twice to cancel."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupts:
    """How often Ctrl-C was pressed."""

    def __init__(self) -> None:
        self._count = 0
        self._more = asyncio.Event()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Count Ctrl-C instead of dying of it."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self.press)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def press(self) -> None:
        """Count one more."""
        self._count += 1
        self._more.set()

    async def during(
        self, work: asyncio.Task[Any], count: int, timeout_s: float | None = None
    ) -> bool:
        """Wait until Ctrl-C was pressed so often, the work is done or the time is up; return
        whether it was Ctrl-C."""
        async with asyncio.TaskGroup() as group:
            pressed = group.create_task(self.reach(count))
            await asyncio.wait(
                {work, pressed}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            was_pressed = pressed.done()
            pressed.cancel()
        return was_pressed

    async def reach(self, count: int) -> None:
        """Wait until Ctrl-C was pressed so often."""
        while self._count < count:
            self._more.clear()
            await self._more.wait()
