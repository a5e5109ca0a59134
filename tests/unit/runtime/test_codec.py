"""What is stored can be read again, by this release and by the next."""

from typing import get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.agent.budget import Budget
from agentd.agent.events import CallEnded, CallLeased, Event, ModelReplied, RunCreated, RunState
from agentd.agent.ids import AgentId, CallId, HostId, RunId
from agentd.agent.message import Purpose
from agentd.agent.run import RunView
from agentd.agent.spec import RunSpec
from agentd.agent.state import State
from agentd.agent.tool import CallState
from agentd.errors import Corrupt, Reason
from agentd.runtime.codec import (
    KINDS,
    decode_event,
    decode_spec,
    decode_state,
    decode_view,
    encode_event,
    encode_spec,
    encode_state,
    encode_view,
)
from agentd.v1 import event_pb2

# Numbers are stored in 64 bits; none of ours is larger.
st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))

LEASED = CallLeased(CallId("c1-1"), 1, HostId("h1"), token="t", deadline_ms=5)


def test_every_kind_of_event_has_the_number_of_its_field_in_the_contract() -> None:
    fields = event_pb2.Event.DESCRIPTOR.oneofs_by_name["payload"].fields
    assert {field.name.replace("_", ""): field.number for field in fields} == {
        kind.__name__.lower(): number for kind, number in KINDS.items()
    }
    assert set(KINDS) == set(get_args(Event))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(*(st.from_type(kind) for kind in KINDS)))
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    assert decode_event(*encode_event(event)) == event


@settings(max_examples=50, deadline=None)
@given(st.from_type(State), st.from_type(RunView))
def test_a_state_and_a_view_are_read_as_they_were_written(state: State, view: RunView) -> None:
    assert decode_state(encode_state(state)) == state
    assert decode_view(encode_view(view)) == view


def test_a_spec_is_read_as_it_was_written() -> None:
    spec = RunSpec(
        "add", 3, Budget(1, 2, 3, 4, 5), "openai/x", ("math/*",), {"a": "b"}, RunId("p"), 9
    )
    assert decode_spec(encode_spec(spec)) == spec


def test_an_enum_is_stored_by_its_value() -> None:
    event = CallEnded(CallId("c1-1"), 1, CallState.SUCCEEDED)
    assert msgspec.msgpack.decode(encode_event(event)[1])["state"] == CallState.SUCCEEDED.value
    assert Purpose.PLANNING.value == 1


def test_a_field_of_a_newer_release_is_ignored() -> None:
    kind, body = encode_event(LEASED)
    newer = msgspec.msgpack.decode(body) | {"region": {"name": "eu"}}
    assert decode_event(kind, msgspec.msgpack.encode(newer)) == LEASED


def test_a_field_that_an_older_release_did_not_write_takes_its_default() -> None:
    older = msgspec.msgpack.encode({"call": "c1-1", "attempt": 1, "host": "h1"})
    expected = CallLeased(CallId("c1-1"), 1, HostId("h1"))
    assert decode_event(KINDS[CallLeased], older) == expected
    assert decode_view(msgspec.msgpack.encode({"state": 2})) == RunView(RunState.RUNNING)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (999, b"\x80"),
        (KINDS[CallLeased], b""),
        (KINDS[CallLeased], b"\x80"),
        (KINDS[CallLeased], b"\xc1"),
        (KINDS[CallLeased], encode_event(LEASED)[1][:-1]),
        (KINDS[ModelReplied], encode_event(LEASED)[1]),
        (KINDS[CallEnded], msgspec.msgpack.encode({"call": "c", "attempt": 1, "state": 99})),
        (KINDS[RunCreated], b"\x81\xa5agent\xa1\xff"),
    ],
)
def test_damage_is_told(kind: int, body: bytes) -> None:
    with pytest.raises(Corrupt) as caught:
        decode_event(kind, body)
    assert caught.value.reason is Reason.JOURNAL_CORRUPT


def test_text_that_is_not_unicode_is_refused_before_it_is_stored() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_event(RunCreated(AgentId("a"), 1, "\ud800", Budget()))
