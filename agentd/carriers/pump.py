"""Pass a service's stream on to one reader, and cut a reader that stalls. Knows no protocol."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Never

from agentd.services.registry import Response, SlowReader


async def pump(
    responses: AsyncGenerator[Response, None],
    write: Callable[[Response], Awaitable[None]],
    *,
    timeout_s: float,
) -> None:
    """Write each response; close the generator however the stream ends.

    Raises Exhausted (SLOW_READER) when one write takes longer than `timeout_s`.
    """
    loop, writer = asyncio.get_running_loop(), _Writer()
    async with aclosing(responses):
        async for response in responses:
            # A bare timer: asyncio.timeout costs seven times as much.
            timer = loop.call_later(timeout_s, writer.expire)
            try:
                await write(response)
            except asyncio.CancelledError:
                if not writer.stops_waiting():
                    raise
                await _cut(responses)
            finally:
                timer.cancel()


class _Writer:
    """The task that writes to one reader, and may have to stop waiting for it."""

    __slots__ = ("_late", "_task")

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._late = False

    def expire(self) -> None:
        """Cancel the task because the reader takes too long."""
        assert self._task is not None
        self._late = True
        self._task.cancel()

    def stops_waiting(self) -> bool:
        """Whether the task was cancelled for that alone; it then goes on."""
        assert self._task is not None
        return self._late and self._task.uncancel() == 0


async def _cut(responses: AsyncGenerator[Response, None]) -> Never:
    """End a stream whose reader is too slow: its service may say how far the reader came."""
    slow = SlowReader()
    with suppress(StopAsyncIteration):
        await responses.athrow(slow)
    raise slow
