"""The event loop's half of writing: gives events their places, lets in what fits, and answers when
the writer's thread has spoken."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar, cast

import apsw

from agentd.agent.events import Entry, Event
from agentd.agent.ids import RunIdentity
from agentd.errors import AgentdError, Exhausted, Reason, Unavailable
from agentd.runtime.codec import encode_event
from agentd.runtime.journal.batch import Value, Write
from agentd.runtime.journal.reader import Heads
from agentd.runtime.journal.writer import SETTLE, Item, Marker, Standing, Task
from agentd.runtime.ports import Clock

_Answer = TypeVar("_Answer")

_TIMEOUT_S: Final = 10.0
"""How long a caller waits while the queue is full or the database is being opened again."""

Listener = Callable[[Sequence[Entry]], None]


class Intake:
    """What is assigned but not yet durable, and who waits for it.

    A run's head (position and sequence of its newest event) is in `heads` from its first append
    until two checkpoints of heads have found it unchanged; then the index has it.
    """

    def __init__(self, clock: Clock, max_pending: int) -> None:
        self._clock = clock
        self._max_pending = max_pending
        self._loop = asyncio.get_running_loop()
        self._listeners: list[Listener] = []
        self._put: Callable[[Item | Marker], None]
        self._pending = 0
        self._gate: asyncio.Event | None = None
        self._settling = False
        self._fault: AgentdError | None = None
        self._end: AgentdError | None = None
        self._position = self._time_ms = self._swept = 0
        self.revision = self.oldest_revision = 0
        self.heads: Heads = {}
        self.held = True
        """Whether `admit` may have to wait or to refuse."""

    def begin(self, standing: Standing, put: Callable[[Item | Marker], None]) -> None:
        """Go on from what is stored; what is let in goes to the writer's queue."""
        self._stand(standing)
        self._put = put
        self.held = False

    def end(self, error: AgentdError) -> None:
        """Let nobody in any more; those who wait are refused."""
        self._end = error
        self.held = True
        if self._gate is not None:
            self._gate.set()

    def subscribe(self, listener: Listener) -> None:
        """Have durable entries passed on."""
        self._listeners.append(listener)

    async def admit(self) -> None:
        """Wait until something may be written.

        Raises Unavailable: DRAINING when the journal closes, OUTCOME_UNKNOWN after ten seconds.
        """
        if self.held:
            await self._pass(lambda: self._gate)

    async def settle(self) -> None:
        """Wait until it is known what is stored. Raises Unavailable as `admit` does."""
        if self._settling or self._end is not None:
            await self._pass(lambda: self._gate if self._settling else None)

    def place(self, run: RunIdentity, head: tuple[int, int], events: Sequence[Event]) -> Write:
        """Give events their places after a head; nothing is changed when one cannot be encoded.

        What is placed must be submitted before anything is waited for.
        """
        previous, sequence = head
        position = self._position
        time_ms = max(self._time_ms, self._clock.now_ms())
        key = run.key
        entries: list[Entry] = []
        rows: list[Value] = []
        for event in events:
            kind, body = encode_event(event)
            position += 1
            sequence += 1
            rows += (position, key, sequence, previous, kind, time_ms, body)
            entries.append(Entry(position, run, sequence, time_ms, event))
            previous = position
        self._position = position
        self._time_ms = time_ms
        self.heads[key] = (previous, sequence)
        return Write(self._loop.create_future(), entries, rows)

    def submit(self, item: Item) -> None:
        """Queue something for the writer, in the order of its places."""
        self._pending += 1
        if self._pending >= self._max_pending:
            self._hold()
        self._put(item)

    async def perform(self, action: Callable[[apsw.Connection], _Answer]) -> _Answer:
        """Have the writer do something on the database; return what it answers once durable."""
        await self.admit()
        future: asyncio.Future[_Answer] = self._loop.create_future()
        self.submit(Task(future, action))
        return await future

    async def flush(self) -> None:
        """Wait until everything queued so far is durable, or known not to be."""
        await self.admit()
        future: asyncio.Future[None] = self._loop.create_future()
        self.submit(Task(future, None))
        with contextlib.suppress(Unavailable, Exhausted):
            await future

    # What the writer's thread says.

    def committed(self, items: list[Item]) -> None:
        """Pass durable entries on and answer, in the same turn of the loop."""
        entries: list[Entry] = []
        for item in items:
            if type(item) is Write:
                if item.error is None:
                    entries += item.entries
                else:
                    self.heads.pop(cast("int", item.created[0]), None)
        try:
            self._publish(entries)
        finally:
            for item in items:
                _answer(item, item.error)
            self._leave(len(items))

    def faulted(self, items: list[Item], error: AgentdError) -> None:
        """Acknowledge nothing until the writer has found out what is stored."""
        self._fault = error
        self._settling = True
        self._hold()
        for item in items:
            _answer(item, error)
        self._pending -= len(items)
        self._put(SETTLE)

    def settled(self, durable: list[Write], stale: list[Item], standing: Standing) -> None:
        """Go on from what is stored; what turned out to be durable is passed on."""
        self._stand(standing)
        try:
            self._publish([entry for write in durable for entry in write.entries])
        finally:
            self._reopen(stale, self._fault)

    def broken(self, stale: list[Item], error: AgentdError) -> None:
        """Refuse everything from now on."""
        self.end(error)
        self._reopen(stale, error)

    def heads_saved(self, revision: int) -> None:
        """Forget the heads that the index has and that have not changed for a while."""
        quiet = [key for key, head in self.heads.items() if head[0] <= self._swept]
        for key in quiet:
            del self.heads[key]
        self._swept = revision

    def _stand(self, standing: Standing) -> None:
        self.revision = standing.revision
        self.oldest_revision = standing.oldest_revision
        self._position = standing.revision
        self._time_ms = max(self._time_ms, standing.last_time_ms)
        self._swept = standing.heads_revision
        self.heads = standing.heads

    def _publish(self, entries: list[Entry]) -> None:
        if entries:
            self.revision = max(self.revision, entries[-1].revision)
            for listener in self._listeners:
                listener(entries)

    def _reopen(self, stale: list[Item], error: AgentdError | None) -> None:
        self._settling = False
        for item in stale:
            _answer(item, error)
        self._leave(len(stale))

    def _hold(self) -> None:
        self.held = True
        if self._gate is None:
            self._gate = asyncio.Event()

    def _leave(self, count: int) -> None:
        self._pending -= count
        if self._gate is not None and not self._settling:
            self._gate.set()
            self._gate = None
            self.held = self._end is not None

    async def _pass(self, gate: Callable[[], asyncio.Event | None]) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                while self._end is None and (event := gate()) is not None:
                    await event.wait()
        except TimeoutError:
            raise Unavailable(
                Reason.OUTCOME_UNKNOWN, f"the journal did not answer within {_TIMEOUT_S} s"
            ) from None
        if self._end is not None:
            raise _copy(self._end)


def _answer(item: Item, error: AgentdError | None) -> None:
    if item.future.done():  # Its caller was cancelled; what it asked for was done all the same.
        return
    if error is not None:
        item.future.set_exception(_copy(error))
    elif isinstance(item, Write):
        item.future.set_result(item.entries)
    else:
        item.future.set_result(item.result)


def _copy(error: AgentdError) -> AgentdError:
    """Return the same error for another caller to raise."""
    return type(error)(
        error.reason, error.message, metadata=error.metadata, retry_after_s=error.retry_after_s
    )
