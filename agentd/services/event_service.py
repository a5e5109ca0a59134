"""Serve EventService: read the journal and follow it."""
# ruff: noqa: N802  (methods bear the contract's names)

from collections.abc import AsyncGenerator
from contextlib import aclosing

from agentd.errors import Exhausted, Reason, invalid_field
from agentd.runtime.watch import WatchBatch, Watches
from agentd.services import checks, convert_event, parse
from agentd.services.caller import Caller
from agentd.services.frames import Frames
from agentd.services.pages import cut, parse_page
from agentd.v1 import event_service_pb2 as pb

MIN_PROGRESS_MS = 100
MAX_PROGRESS_MS = 600_000


class EventService:
    """The methods of `agentd.v1.EventService`."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches
        self._frames = Frames()

    async def Watch(self, request: pb.WatchRequest, caller: Caller) -> AsyncGenerator[bytes, None]:
        """Stream the events after a revision, then follow the journal: encoded responses.

        The stream is a view of the journal: a reader that lost its connection asks again with the
        last revision it saw, and misses nothing.
        """
        selector = parse.selector(request.filter, caller.namespace)
        last = checks.number(request.after_revision, "after_revision", least=-1)
        interval_s: float | None = None
        if request.HasField("progress_interval"):
            interval_s = 0.001 * checks.duration_ms(
                request.progress_interval,
                "progress_interval",
                least_ms=MIN_PROGRESS_MS,
                most_ms=MAX_PROGRESS_MS,
            )
        if request.until_ended and not selector.runs:
            raise invalid_field("until_ended", "needs filter.runs: it says which runs must end")
        batches = self._watches.watch(
            selector,
            after_revision=request.after_revision,
            include_deltas=request.include_deltas,
            progress_interval_s=interval_s,
            until_ended=request.until_ended,
        )
        async with aclosing(batches):
            async for batch in batches:
                for response, revision in self._frames.responses(batch):
                    try:
                        yield response
                    except Exhausted:  # The carrier says that the reader did not take it.
                        raise _slow_reader(last if last >= 0 else _before(batch)) from None
                    last = max(last, revision)

    async def ListEvents(
        self, request: pb.ListEventsRequest, caller: Caller
    ) -> pb.ListEventsResponse:
        """List events page by page, oldest first."""
        selector = parse.selector(request.filter, caller.namespace)
        start = checks.number(request.after_revision, "after_revision")
        scope = (str(request.filter), str(start))
        page = parse_page(request, int, "ListEvents", caller.namespace, *scope)
        after = start if page.position is None else page.position
        entries, looked_at = await self._watches.list_events(
            selector, after_revision=after, limit=page.size
        )
        shown, more = cut([convert_event.event(entry) for entry in entries], page.size)
        if more:
            token = page.token(shown[-1].revision)
        else:
            token = page.token(looked_at) if len(entries) == page.size else ""
        return pb.ListEventsResponse(events=shown, next_page_token=token)


def _before(batch: WatchBatch) -> int:
    """Return a revision after which nothing but this batch and what follows it is selected."""
    return batch.entries[0].revision - 1 if batch.entries else batch.progress_revision


def _slow_reader(last_revision: int) -> Exhausted:
    return Exhausted(
        Reason.SLOW_READER,
        f"the reader did not keep up; watch again after revision {last_revision}",
        metadata={"last_revision": str(last_revision)},
        retry_after_s=0.1,
    )
