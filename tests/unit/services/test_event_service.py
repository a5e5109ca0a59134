"""The journal is read and followed; what the contract forbids is refused by field."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from agentd.errors import Exhausted, OutOfRange, Reason
from agentd.services import pages
from agentd.v1 import event_service_pb2 as pb
from agentd.v1 import run_pb2, run_service_pb2
from tests.unit.services.house import CALLER, STRANGER, House, failing, house, refused

NAME = "runs/r-1"


async def start(home: House, name: str = NAME) -> int:
    run = run_pb2.Run(name=name, goal="say hello")
    answer = await home.runs.CreateRun(run_service_pb2.CreateRunRequest(run=run), CALLER)
    return answer.revision


async def finish(home: House, name: str = NAME) -> None:
    await home.runs.WaitRun(run_service_pb2.WaitRunRequest(name=name), CALLER)


async def read(home: House, request: pb.WatchRequest) -> list[pb.WatchResponse]:
    async with home.watch(request) as stream:
        return [pb.WatchResponse.FromString(data) async for data in stream]


async def test_a_watch_shows_a_whole_run_and_ends_with_it(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        request = pb.WatchRequest(
            filter=pb.EventFilter(runs=[NAME]),
            after_revision=await start(home),
            include_deltas=True,
            until_ended=True,
        )
        responses = await read(home, request)
        events = [event for response in responses for event in response.events]
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert {event.run for event in events} == {NAME}
        kinds = [event.WhichOneof("payload") for event in events]
        assert kinds[:2] == ["run_created", "run_started"]
        assert kinds[-1] == "run_ended"
        assert events[-1].run_ended.output == "Hello."
        assert responses[-1].progress_revision >= events[-1].revision
        # Whatever a watch showed, the journal holds.
        assert await home.all_events(filter=pb.EventFilter(runs=[NAME])) == events


async def test_a_watch_resumes_where_it_was_left(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        revision = await start(home)
        await finish(home)
        selected = pb.EventFilter(runs=[NAME])
        whole = await read(
            home,
            pb.WatchRequest(filter=selected, after_revision=revision, until_ended=True),
        )
        events = [event for response in whole for event in response.events]
        for index in range(1, len(events)):
            request = pb.WatchRequest(
                filter=selected, after_revision=events[index - 1].revision, until_ended=True
            )
            rest = await read(home, request)
            assert [e for response in rest for e in response.events] == events[index:]


async def test_watchers_of_one_selector_share_their_bytes(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        request = pb.WatchRequest(filter=pb.EventFilter(kinds=["run_ended"]), after_revision=-1)
        async with home.watch(request) as one, home.watch(request) as two:
            async with asyncio.TaskGroup() as group:
                first, second = group.create_task(anext(one)), group.create_task(anext(two))
                await asyncio.sleep(0)  # both have joined before the run begins
                await start(home)
            assert first.result() is second.result()


async def test_progress_is_sent_when_nothing_else_is(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await start(home)
        await finish(home)
        request = pb.WatchRequest(after_revision=-1, progress_interval=Duration(nanos=100_000_000))
        async with home.watch(request) as stream:
            response = pb.WatchResponse.FromString(await anext(stream))
        assert not response.events
        assert response.progress_revision == home.runtime.journal.revision


async def test_others_see_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await start(home)
        await finish(home)
        answer = await home.events.ListEvents(pb.ListEventsRequest(), STRANGER)
        assert answer == pb.ListEventsResponse()


async def test_a_revision_to_come_is_out_of_range(tmp_path: Path) -> None:
    async with house(tmp_path) as home, failing(OutOfRange, Reason.FUTURE_REVISION):
        await read(home, pb.WatchRequest(after_revision=10**9))


@pytest.mark.parametrize("after", [0, -1])
async def test_a_reader_that_is_cut_learns_where_it_was(tmp_path: Path, after: int) -> None:
    async with house(tmp_path) as home:
        stream = home.events.Watch(pb.WatchRequest(after_revision=after), CALLER)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(anext(stream))
            await asyncio.sleep(0)
            await start(home)
        taken = pb.WatchResponse.FromString(waiting.result())
        first = taken.events[0].revision
        with pytest.raises(Exhausted) as caught:  # the first response was not taken
            await stream.athrow(Exhausted(Reason.SLOW_READER, "too slow"))
        assert caught.value.reason is Reason.SLOW_READER
        last = int(caught.value.metadata["last_revision"])
        assert 0 <= last < first
        request = pb.WatchRequest(after_revision=last)
        async with home.watch(request) as again:
            assert pb.WatchResponse.FromString(await anext(again)).events[0].revision == first


async def test_a_reader_that_is_cut_later_learns_what_it_took(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await start(home)
        await finish(home)
        request = pb.WatchRequest(filter=pb.EventFilter(kinds=["run_created"]))
        stream = home.events.Watch(request, CALLER)
        taken = pb.WatchResponse.FromString(await anext(stream))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(anext(stream))
            await start(home, "runs/r-2")
        refused_ = pb.WatchResponse.FromString(waiting.result())
        assert [event.run for event in refused_.events] == ["runs/r-2"]
        with pytest.raises(Exhausted) as caught:
            await stream.athrow(Exhausted(Reason.SLOW_READER, "too slow"))
        assert int(caught.value.metadata["last_revision"]) == taken.progress_revision


async def test_lists_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path) as home:
        for index in range(3):
            await start(home, f"runs/r-{index}")
            await finish(home, f"runs/r-{index}")
        whole = await home.all_events()
        assert await home.all_events(page_size=1) == whole
        assert await home.all_events(page_size=7) == whole
        some = pb.EventFilter(kinds=["run_created", "run_ended"])
        expected = [
            event for event in whole if event.WhichOneof("payload") in ("run_created", "run_ended")
        ]
        assert await home.all_events(filter=some, page_size=2) == expected
        after = whole[4].revision
        assert await home.all_events(after_revision=after, page_size=3) == whole[5:]
        monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 200)
        assert await home.all_events() == whole


BAD_FILTERS: list[tuple[dict[str, Any], str]] = [
    ({"runs": ["r-1"]}, "filter.runs[0]"),
    ({"runs": [NAME, "runs/R"]}, "filter.runs[1]"),
    ({"runs": [NAME] * 1001}, "filter.runs"),
    ({"session": "s"}, "filter.session"),
    ({"agent": "a"}, "filter.agent"),
    ({"kinds": ["call_ended", "call_finished"]}, "filter.kinds[1]"),
    ({"kinds": ["CallEnded"]}, "filter.kinds[0]"),
]


@pytest.mark.parametrize(("fields", "field"), BAD_FILTERS)
async def test_bad_filters(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    async with house(tmp_path) as home:
        async with refused(field):
            await read(home, pb.WatchRequest(filter=pb.EventFilter(**fields)))
        async with refused(field):
            await home.all_events(filter=pb.EventFilter(**fields))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"after_revision": -2}, "after_revision"),
        ({"progress_interval": Duration(nanos=99_000_000)}, "progress_interval"),
        ({"progress_interval": Duration(seconds=601)}, "progress_interval"),
        ({"progress_interval": Duration(seconds=-1)}, "progress_interval"),
        ({"progress_interval": Duration()}, "progress_interval"),
        ({"until_ended": True}, "until_ended"),
        ({"until_ended": True, "filter": {"agent": "agents/a"}}, "until_ended"),
    ],
)
async def test_bad_watches(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    async with house(tmp_path) as home, refused(field):
        await read(home, pb.WatchRequest(**fields))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"after_revision": -1}, "after_revision"),
        ({"page_size": -1}, "page_size"),
        ({"page_token": "x"}, "page_token"),
    ],
)
async def test_bad_lists(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    async with house(tmp_path) as home, refused(field):
        await home.events.ListEvents(pb.ListEventsRequest(**fields), CALLER)
