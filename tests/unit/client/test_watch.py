"""A watch gives each event once and in order over cut streams, or says that it cannot."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from agentd.client import AgentdError, Client, Corrupt, OutOfRange, Reason, Unavailable, Watch
from agentd.client import watch as watch_module
from agentd.client.transport import Transport
from agentd.v1.event_pb2 import CallEvidenceKept, Delta, Event, MessagePosted, RunEnded
from agentd.v1.event_service_pb2 import EventFilter, WatchRequest, WatchResponse
from agentd.v1.system_service_pb2 import GetInfoResponse
from tests.fakes.server import Context, ScriptedServer, fail, forever, replies

Script = Callable[[Context], AsyncIterator[WatchResponse]]


def event(revision: int, sequence: int, run: str = "runs/a") -> Event:
    return Event(revision=revision, run=run, sequence=sequence, message_posted=MessagePosted())


def batch(*events: Event, **fields: Any) -> WatchResponse:
    return WatchResponse(events=events, **fields)


def streams(server: ScriptedServer, *scripts: Script) -> None:
    """Serve one script for each stream, in order."""
    remaining = iter(scripts)

    async def answer(_request: WatchRequest, context: Context) -> AsyncIterator[WatchResponse]:
        async for response in next(remaining)(context):
            yield response

    server.answers["Watch"] = answer


def ends_after(*batches: WatchResponse) -> Script:
    async def script(_context: Context) -> AsyncIterator[WatchResponse]:
        for response in batches:
            yield response

    return script


def fails_after(
    *batches: WatchResponse,
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
    reason: str = "DRAINING",
    **more: Any,
) -> Script:
    async def script(context: Context) -> AsyncIterator[WatchResponse]:
        for response in batches:
            yield response
        await fail(context, code, reason, **more)

    return script


def asked(server: ScriptedServer) -> list[int]:
    return [request.after_revision for request in server.named(WatchRequest)]


async def revisions(watch: Watch) -> list[int]:
    return [item.revision async for item in watch if isinstance(item, Event)]


async def test_a_cut_stream_is_resumed_without_loss_or_repeat(
    server: ScriptedServer, client: Client
) -> None:
    streams(
        server,
        fails_after(batch(event(3, 1), event(5, 2))),
        fails_after(batch(event(5, 2), event(9, 3))),  # A daemon may send too much: 5 came before.
        ends_after(batch(event(12, 4))),
    )
    cuts: list[AgentdError] = []
    watch = client.watch(
        EventFilter(runs=["runs/a"]), until_ended=True, on_interruption=cuts.append
    )
    assert await revisions(watch) == [3, 5, 9, 12]
    assert asked(server) == [0, 5, 9]
    assert [cut.reason for cut in cuts] == [Reason.DRAINING, Reason.DRAINING]
    assert watch.revision == 12


async def test_a_stream_that_ends_without_a_word_is_resumed(
    server: ScriptedServer, client: Client
) -> None:
    streams(server, ends_after(batch(event(3, 1))), fails_after(code=grpc.StatusCode.DATA_LOSS))
    with pytest.raises(Corrupt):
        await revisions(client.watch())
    assert asked(server) == [0, 3]


async def test_a_progress_mark_moves_the_position(server: ScriptedServer, client: Client) -> None:
    streams(
        server,
        fails_after(batch(event(3, 1)), WatchResponse(progress_revision=700)),
        ends_after(batch(event(701, 2))),
    )
    assert await revisions(client.watch(until_ended=True)) == [3, 701]
    assert asked(server) == [0, 700]
    assert server.named(WatchRequest)[0].progress_interval.seconds == 15


async def test_from_now_on_is_asked_once(server: ScriptedServer, client: Client) -> None:
    server.answers["GetInfo"] = replies(GetInfoResponse(revision=41))
    streams(server, fails_after(), ends_after(batch(event(42, 7))))
    assert await revisions(client.watch(after_revision=-1, until_ended=True)) == [42]
    assert asked(server) == [41, 41]


async def test_compacted_is_said(server: ScriptedServer, client: Client) -> None:
    compacted = fails_after(
        code=grpc.StatusCode.OUT_OF_RANGE, reason="COMPACTED", metadata={"oldest_revision": "90"}
    )
    streams(server, fails_after(batch(event(3, 1))), compacted)
    seen: list[int] = []
    with pytest.raises(OutOfRange) as raised:
        seen.extend([item.revision async for item in client.watch() if isinstance(item, Event)])
    assert raised.value.reason is Reason.COMPACTED
    assert raised.value.metadata["oldest_revision"] == "90"
    assert asked(server) == [0, 3]


async def test_a_slow_reader_is_told_and_goes_on(server: ScriptedServer, client: Client) -> None:
    slow = fails_after(
        batch(event(3, 1)),
        code=grpc.StatusCode.RESOURCE_EXHAUSTED,
        reason="SLOW_READER",
        metadata={"last_revision": "3"},
    )
    streams(server, slow, ends_after(batch(event(4, 2))))
    cuts: list[AgentdError] = []
    watch = client.watch(until_ended=True, on_interruption=cuts.append)
    assert await revisions(watch) == [3, 4]
    assert [cut.reason for cut in cuts] == [Reason.SLOW_READER]


async def test_a_gap_is_asked_for_again(server: ScriptedServer, client: Client) -> None:
    streams(
        server,
        ends_after(batch(event(3, 1), event(7, 3))),
        ends_after(batch(event(5, 2), event(7, 3))),
    )
    assert await revisions(client.watch(until_ended=True)) == [3, 5, 7]
    assert asked(server) == [0, 3]


async def test_a_gap_that_stays_is_an_error(server: ScriptedServer, client: Client) -> None:
    gap = batch(event(7, 3))
    streams(server, ends_after(batch(event(3, 1)), gap), ends_after(gap))
    with pytest.raises(Corrupt) as raised:
        await revisions(client.watch(until_ended=True))
    assert "event 3 followed event 1" in raised.value.message


async def test_the_first_event_of_a_known_run_is_checked(
    server: ScriptedServer, client: Client
) -> None:
    late = batch(event(7, 2))
    streams(server, ends_after(late), ends_after(late))
    with pytest.raises(Corrupt):
        await revisions(client.watch(sequences={"runs/a": 0}, until_ended=True))


async def test_runs_are_numbered_apart_and_kinds_leave_gaps(
    server: ScriptedServer, client: Client
) -> None:
    mixed = batch(event(1, 1), event(2, 1, "runs/b"), event(3, 2), event(4, 2, "runs/b"))
    streams(server, ends_after(mixed), ends_after(batch(event(1, 1), event(9, 5))))
    assert await revisions(client.watch(until_ended=True)) == [1, 2, 3, 4]
    kinds = client.watch(EventFilter(kinds=["message_posted"]), until_ended=True)
    assert await revisions(kinds) == [1, 9]


async def test_an_ended_run_is_forgotten(server: ScriptedServer, client: Client) -> None:
    end = Event(revision=2, run="runs/a", sequence=2, run_ended=RunEnded())
    late = Event(revision=3, run="runs/a", sequence=3, call_evidence_kept=CallEvidenceKept())
    streams(server, ends_after(batch(event(1, 1), end, late)))
    watch = client.watch(until_ended=True)
    assert await revisions(watch) == [1, 2, 3]


async def test_deltas_follow_the_events(server: ScriptedServer, client: Client) -> None:
    streams(server, ends_after(batch(event(1, 1), deltas=[Delta(run="runs/a", text="hi")])))
    items = [item async for item in client.watch(include_deltas=True, until_ended=True)]
    assert [type(item) for item in items] == [Event, Delta]
    assert server.named(WatchRequest)[0].include_deltas


async def test_leaving_early_keeps_the_position_and_closes_the_stream(
    server: ScriptedServer, client: Client
) -> None:
    closed = asyncio.Event()

    async def script(_context: Context) -> AsyncIterator[WatchResponse]:
        try:
            yield batch(event(3, 1), event(5, 2))
            await forever()
        finally:
            closed.set()

    streams(server, script)
    watch = client.watch()
    items = aiter(watch)
    first = await anext(items)
    assert isinstance(first, Event)
    assert watch.revision == first.revision == 3
    await items.aclose()  # type: ignore[attr-defined]
    await asyncio.wait_for(closed.wait(), 5)


async def test_a_silent_stream_counts_as_cut(
    server: ScriptedServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "SILENCE_S", 0.05)

    async def silent(_context: Context) -> AsyncIterator[WatchResponse]:
        yield batch(event(3, 1))
        await forever()

    streams(server, silent, ends_after(batch(event(4, 2))))
    assert await revisions(client.watch(until_ended=True)) == [3, 4]


async def test_an_outage_has_an_end(server: ScriptedServer, client: Client) -> None:
    async def away(_request: WatchRequest, context: Context) -> AsyncIterator[WatchResponse]:
        await fail(context, grpc.StatusCode.UNAVAILABLE, "DRAINING")
        yield WatchResponse()

    server.answers["Watch"] = away
    transport: Transport = client._transport
    with pytest.raises(Unavailable) as raised:
        await revisions(Watch(transport, WatchRequest(), outage_s=0.05))
    assert raised.value.reason is Reason.DRAINING
