"""Work that is carried through even when whoever asked for it goes away meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from agentd.runtime.posting import going_down

_T = TypeVar("_T")


class Errands:
    """Such work, in the task group of the runs."""

    def __init__(self) -> None:
        self.closed = False
        """Whether the group takes no more tasks."""
        self._group: asyncio.TaskGroup

    @contextmanager
    def open(self, group: asyncio.TaskGroup) -> Iterator[None]:
        """Put work into this group until the block is left: then the daemon is being stopped."""
        self._group = group
        try:
            yield
        finally:
            self.closed = True

    async def run(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Return what the work returns, or raise what it raises.

        Raises Unavailable (OUTCOME_UNKNOWN) when the daemon is stopped before the work is done.
        """
        if self.closed:
            raise going_down()
        done: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._group.create_task(_carry_out(work, done))
        return await done


async def _carry_out(work: Callable[[], Awaitable[_T]], done: asyncio.Future[_T]) -> None:
    try:
        result = await work()
    except asyncio.CancelledError:
        if not done.done():
            done.set_exception(going_down())
        raise
    except Exception as error:  # noqa: BLE001 - it is the caller's, and must not hurt the runs
        if not done.done():
            done.set_exception(error)
    else:
        if not done.done():
            done.set_result(result)
