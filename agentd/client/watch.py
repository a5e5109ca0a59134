"""Follows the journal over cut streams: each event once, in order, none missing, or an error."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing

import grpc.aio

from agentd.client.errors import from_rpc_error
from agentd.client.resources import duration
from agentd.client.transport import Transport
from agentd.errors import AgentdError, Corrupt, Reason, Unavailable
from agentd.v1.event_pb2 import Delta, Event
from agentd.v1.event_service_pb2 import WatchRequest, WatchResponse
from agentd.v1.system_service_pb2 import GetInfoRequest, GetInfoResponse

PROGRESS_INTERVAL_S = 15.0
"""How often the daemon marks its position, so that a quiet watch resumes from a recent one."""
SILENCE_S = 4 * PROGRESS_INTERVAL_S
"""After how long without any message, marks included, a stream counts as cut."""
OUTAGE_S = 60.0
"""How long a daemon may be out of reach before a watch gives up."""


class Watch:
    """An asynchronous iterator over events, and over deltas when asked for.

    A cut stream is resumed after the last revision seen, so an event comes exactly once. Deltas of
    the time between are lost; the event of the finished thing replaces them. Iterating raises

    - OutOfRange (COMPACTED) when the journal no longer reaches back to the revision to resume
      from: events are lost, and `metadata` names the oldest revision to start again after;
    - Corrupt (JOURNAL_CORRUPT) when the daemon leaves out an event of a run, twice at the same
      place: the events of a run are numbered without gaps, which is checked unless the filter's
      `kinds` leave some out;
    - Unavailable when the daemon stays out of reach for `outage_s`.

    `on_interruption` is told of each cut. SLOW_READER is one of them: the daemon cuts a reader that
    does not keep up, and the watch resumes.
    """

    def __init__(
        self,
        transport: Transport,
        request: WatchRequest,
        *,
        sequences: Mapping[str, int] | None = None,
        on_interruption: Callable[[AgentdError], None] | None = None,
        outage_s: float = OUTAGE_S,
    ) -> None:
        self.revision = request.after_revision
        """The revision up to which everything was seen: where another watch would resume."""
        self._transport = transport
        self._request = request
        self._on_interruption = on_interruption
        self._outage_s = outage_s
        self._sequences = dict(sequences or {})
        self._checked = not request.filter.kinds
        self._gap_after: int | None = None
        self._lost_at: float | None = None
        self._pauses = transport.retry.pauses()

    async def __aiter__(self) -> AsyncIterator[Event | Delta]:
        if self.revision < 0:
            # "From now on" is asked once: a stream cut before its first message would skip events.
            info = await self._transport.call(GetInfoRequest(), GetInfoResponse)
            self.revision = info.revision
        while True:
            try:
                async with aclosing(self._items()) as items:
                    async for item in items:
                        yield item
            except AgentdError as error:
                if not self._resumable(error):
                    raise
                await self._interrupted(error)
            else:
                if self._request.until_ended:
                    return
                await self._interrupted(Unavailable(Reason.UNREACHABLE, "the stream was ended"))

    async def _items(self) -> AsyncGenerator[Event | Delta]:
        """Yield what is new on one stream."""
        async with aclosing(self._batches()) as batches:
            async for batch in batches:
                self._pauses, self._lost_at = self._transport.retry.pauses(), None
                for event in batch.events:
                    if self._is_next(event):
                        yield event
                for delta in batch.deltas:
                    yield delta
                self.revision = max(self.revision, batch.progress_revision)

    async def _interrupted(self, error: AgentdError) -> None:
        """Pause before the next stream; raise the error when the outage has lasted too long."""
        now = asyncio.get_running_loop().time()
        if self._lost_at is None:
            self._lost_at = now
        if now - self._lost_at >= self._outage_s:
            raise error
        if self._on_interruption is not None:
            self._on_interruption(error)
        await asyncio.sleep(next(self._pauses) + (error.retry_after_s or 0))

    async def _batches(self) -> AsyncGenerator[WatchResponse]:
        """Yield the messages of one stream that starts after `revision`."""
        request = WatchRequest()
        request.CopyFrom(self._request)
        request.after_revision = self.revision
        request.progress_interval.CopyFrom(duration(PROGRESS_INTERVAL_S))
        call = self._transport.stream(request)
        try:
            while True:
                async with asyncio.timeout(SILENCE_S):
                    batch = await call.read()
                if batch is grpc.aio.EOF:
                    return
                yield batch
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._transport.address) from error
        except TimeoutError as error:
            message = f"the daemon was silent for {SILENCE_S:.0f} s"
            raise Unavailable(Reason.UNREACHABLE, message) from error
        finally:
            call.cancel()

    def _is_next(self, event: Event) -> bool:
        """Move on behind an event that is new; raise _Gap when one before it is missing."""
        if event.revision <= self.revision:
            return False
        last = self._sequences.get(event.run)
        if self._checked and last is not None and event.sequence != last + 1:
            message = f"{event.run}: event {event.sequence} followed event {last}"
            raise _Gap(Reason.JOURNAL_CORRUPT, message, metadata={"run": event.run})
        if event.HasField("run_ended"):
            self._sequences.pop(event.run, None)
        else:
            self._sequences[event.run] = event.sequence
        self.revision = event.revision
        return True

    def _resumable(self, error: AgentdError) -> bool:
        if isinstance(error, _Gap):
            # The stream may have lost what the journal has: ask once more from the same place.
            repeated, self._gap_after = self._gap_after == self.revision, self.revision
            return not repeated
        return isinstance(error, Unavailable) or error.reason is Reason.SLOW_READER


class _Gap(Corrupt):
    """The daemon left out an event."""
