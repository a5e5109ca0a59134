"""Work that is done to its end although whoever asked for it has gone away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from agentd.runtime.posting import going_down

_T = TypeVar("_T")


class Errands:
    """Errands of callers, in a task group that outlives them."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None

    def enter(self, group: asyncio.TaskGroup) -> None:
        """Put errands into this group from now on."""
        self._group = group

    def close(self) -> None:
        """Take no more errands."""
        self._group = None

    async def run(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do work and return its result; a caller that is cancelled meanwhile leaves it going.

        Raises what the work raises, and Unavailable when the daemon is going down.
        """
        if self._group is None:
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
