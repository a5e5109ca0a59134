"""Turn facts, specs, views and states into the bytes that are stored, and back: msgpack maps.

A field is stored by its name and an enum by its value. A name that is not known is ignored and a
missing one takes its default, so every journal that was ever written can be read.
"""

from typing import Final, TypeVar

import msgspec

from agentd.agent.events import (
    ApprovalDecided,
    ApprovalRequested,
    CallEnded,
    CallEvidenceKept,
    CallLeased,
    CallLost,
    CallProbed,
    CallRetried,
    CallUnknown,
    Event,
    MessagePosted,
    ModelFailed,
    ModelLost,
    ModelReplied,
    ModelRequested,
    RunCancelling,
    RunCreated,
    RunEnded,
    RunPaused,
    RunResumed,
    RunStarted,
    RunWaiting,
)
from agentd.agent.lifecycle_events import (
    MemoriesKept,
    MemoriesRecalled,
    ModelRerouted,
    PhaseAnswered,
    PhaseEnded,
    PhaseStarted,
    PlanAdopted,
    PlanApprovalDecided,
    PlanApprovalRequested,
    TaskEnded,
    TaskRetried,
    TaskSkipped,
    TaskStarted,
    TaskStopping,
)
from agentd.agent.run import RunView
from agentd.agent.spec import RunSpec
from agentd.agent.state import State
from agentd.errors import Corrupt, Reason

_Stored = TypeVar("_Stored")

KINDS: Final[dict[type[Event], int]] = {
    RunCreated: 10,
    RunStarted: 11,
    RunWaiting: 12,
    RunPaused: 13,
    RunResumed: 14,
    RunCancelling: 15,
    RunEnded: 16,
    MessagePosted: 17,
    ModelRequested: 20,
    ModelReplied: 21,
    ModelFailed: 22,
    ModelLost: 23,
    CallLeased: 30,
    CallLost: 31,
    CallUnknown: 32,
    CallEnded: 33,
    CallRetried: 34,
    CallEvidenceKept: 35,
    CallProbed: 36,
    ApprovalRequested: 40,
    ApprovalDecided: 41,
    PhaseStarted: 60,
    PhaseEnded: 61,
    PhaseAnswered: 62,
    PlanAdopted: 63,
    TaskStarted: 64,
    TaskEnded: 65,
    TaskRetried: 66,
    TaskSkipped: 67,
    TaskStopping: 68,
    MemoriesRecalled: 69,
    MemoriesKept: 70,
    ModelRerouted: 71,
    PlanApprovalRequested: 72,
    PlanApprovalDecided: 73,
}
"""The number of each kind of event: those of the fields of `agentd.v1.Event.payload`."""

_encode = msgspec.msgpack.Encoder().encode
_event_decoders = {number: msgspec.msgpack.Decoder(kind) for kind, number in KINDS.items()}
_spec_decoder = msgspec.msgpack.Decoder(RunSpec)
_view_decoder = msgspec.msgpack.Decoder(RunView)
_state_decoder = msgspec.msgpack.Decoder(State)


def encode_event(event: Event) -> tuple[int, bytes]:
    """Return an event's kind and body."""
    return KINDS[type(event)], _encode(event)


def decode_event(kind: int, body: bytes) -> Event:
    """Return the event of a kind and body, or raise Corrupt (JOURNAL_CORRUPT)."""
    decoder = _event_decoders.get(kind)
    if decoder is None:
        raise Corrupt(
            Reason.JOURNAL_CORRUPT,
            f"the journal holds an event of the unknown kind {kind}",
            metadata={"kind": str(kind)},
        )
    return _decode(decoder, body)


def encode_spec(spec: RunSpec) -> bytes:
    """Return a run's spec as it is stored."""
    return _encode(spec)


def decode_spec(body: bytes) -> RunSpec:
    """Return a stored spec, or raise Corrupt (JOURNAL_CORRUPT)."""
    return _decode(_spec_decoder, body)


def encode_view(view: RunView) -> bytes:
    """Return a run's view as it is stored."""
    return _encode(view)


def decode_view(body: bytes) -> RunView:
    """Return a stored view, or raise Corrupt (JOURNAL_CORRUPT)."""
    return _decode(_view_decoder, body)


def encode_state(state: State) -> bytes:
    """Return a run's state as it is stored."""
    return _encode(state)


def decode_state(body: bytes) -> State:
    """Return a stored state, or raise Corrupt (JOURNAL_CORRUPT)."""
    return _decode(_state_decoder, body)


def _decode(decoder: msgspec.msgpack.Decoder[_Stored], body: bytes) -> _Stored:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        raise Corrupt(Reason.JOURNAL_CORRUPT, f"the journal cannot be decoded: {error}") from error
