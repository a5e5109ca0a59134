"""Joined frames are what protobuf itself would have written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent.events import Entry, MessagePosted, RunPaused
from agentd.agent.ids import AgentId, Namespace, RunId, RunIdentity, RunKey
from agentd.runtime.watch import Delta, WatchBatch
from agentd.services import convert_event, frames
from agentd.services.frames import Frames, framed, varint
from agentd.v1 import event_service_pb2 as pb
from tests.unit.services.anything import anything

RUN = RunIdentity(RunKey(7), Namespace("default"), RunId("r-1"), AgentId("a"))


def entry(revision: int, text: str = "hi") -> Entry:
    return Entry(revision, RUN, revision, 1_000 + revision, MessagePosted(text))


def decoded(store: Frames, batch: WatchBatch) -> list[pb.WatchResponse]:
    return [pb.WatchResponse.FromString(data) for data, _ in store.responses(batch)]


@given(
    st.lists(st.integers(1, 2**62), unique=True, max_size=5).map(sorted),
    st.lists(anything(Delta), max_size=3),
    st.integers(0, 2**62),
)
def test_a_batch_is_its_message(revisions: list[int], deltas: list[Delta], progress: int) -> None:
    entries = [entry(revision, "x" * (revision % 300)) for revision in revisions]
    expected = pb.WatchResponse(
        events=[convert_event.event(each) for each in entries],
        deltas=[convert_event.delta(each) for each in deltas],
        progress_revision=progress,
    )
    assert decoded(Frames(), WatchBatch(entries, deltas, progress)) == [expected]


@given(st.integers(0, 2**63 - 1))
def test_numbers(value: int) -> None:
    response = pb.WatchResponse.FromString(b"\x18" + varint(value))
    assert response.progress_revision == value


@given(st.binary(max_size=400))
def test_lengths(payload: bytes) -> None:
    field = framed(b"\x0a", payload)
    assert field == b"\x0a" + varint(len(payload)) + payload


def test_readers_share_a_batch_and_selectors_share_frames() -> None:
    store = Frames()
    one = WatchBatch([entry(1), entry(2)], (), 2)
    ((first, revision),) = store.responses(one)
    ((again, _),) = store.responses(one)
    assert first is again
    assert revision == 2
    assert store.event(entry(1)) is store.event(entry(1))
    other = WatchBatch([entry(2)], (), 3)
    assert decoded(store, other)[0].events[0].revision == 2


def test_kept_frames_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "GENERATION", 4)
    store = Frames()
    for revision in range(1, 100):
        store.event(entry(revision))
        assert len(store._young) + len(store._old) <= 8
    assert store.event(entry(99)) is store.event(entry(99))
    long = entry(100, "x" * frames.MAX_KEPT_BYTES)
    assert store.event(long) is not store.event(long)
    assert store.event(long) == store.event(long)


def test_a_large_batch_is_several_responses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_RESPONSE_BYTES", 300)
    entries = [entry(revision, "x" * 100) for revision in range(1, 8)]
    deltas = [Delta(RUN, 1, 1, index, "y" * 100) for index in range(5)]
    batch = WatchBatch(entries, deltas, 50)
    store = Frames()
    responses = decoded(store, batch)
    assert len(responses) > 3
    assert [e.revision for r in responses for e in r.events] == list(range(1, 8))
    assert [d.index for r in responses for d in r.deltas] == list(range(5))
    for data, _ in store.responses(batch):
        assert len(data) < 400
    sent = 0
    for response in responses[:-1]:
        sent = max([sent, *(event.revision for event in response.events)])
        assert response.progress_revision == sent
    assert responses[-1].progress_revision == 50
    assert batch.encoded is None


def test_one_event_larger_than_a_response_is_sent_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_RESPONSE_BYTES", 10)
    batch = WatchBatch([entry(1), entry(2)], (), 2)
    assert [len(response.events) for response in decoded(Frames(), batch)] == [1, 1]


def test_a_batch_of_nothing_is_a_progress_mark() -> None:
    assert decoded(Frames(), WatchBatch((), (), 9)) == [pb.WatchResponse(progress_revision=9)]
    paused = Entry(1, RUN, 1, 1, RunPaused())
    assert decoded(Frames(), WatchBatch([paused], (), 1))[0].events[0].HasField("run_paused")
