"""Wishes: what a run wants done next. Each has a key that stays the same until it is done."""

import msgspec

from agentd.agent.budget import Reservation
from agentd.agent.events import CancelEntry, Event, RunFailure, RunState, WaitReason
from agentd.agent.ids import CallId
from agentd.agent.lifecycle import NewMemory, ThreadId
from agentd.agent.message import Purpose
from agentd.agent.tool import CallError, CallState


class Begin(msgspec.Struct, frozen=True):
    """Resolve the run's model, tools and transcript, and start it."""

    key: str = "begin"


class AskModel(msgspec.Struct, frozen=True):
    """Send one model request."""

    key: str
    purpose: Purpose
    model: str
    turn: int
    attempt: int
    reservation: Reservation
    not_before_ms: int = 0
    thread: ThreadId = ThreadId("")


class StartCall(msgspec.Struct, frozen=True):
    """Have one attempt of a call executed."""

    key: str
    call: CallId
    attempt: int


class ProbeCall(msgspec.Struct, frozen=True):
    """Have the tool find out what became of a call."""

    key: str
    call: CallId
    attempt: int


class CloseCall(msgspec.Struct, frozen=True):
    """End a call without executing it."""

    key: str
    call: CallId
    attempt: int
    state: CallState
    error: CallError


class StopCall(msgspec.Struct, frozen=True):
    """Have the host stop a call."""

    key: str
    call: CallId
    attempt: int


class AskApproval(msgspec.Struct, frozen=True):
    """Ask a person whether a call may be executed."""

    key: str
    call: CallId


class ApplyGrant(msgspec.Struct, frozen=True):
    """Answer the question about a call by what a person has allowed since it was asked."""

    key: str
    call: CallId


class Wait(msgspec.Struct, frozen=True):
    """Nothing can be done until something happens outside."""

    key: str
    reason: WaitReason
    detail: str


class Note(msgspec.Struct, frozen=True):
    """Record a fact that follows from the others, with nothing to be done outside."""

    key: str
    event: Event


class Recall(msgspec.Struct, frozen=True):
    """Look for what is remembered about a goal."""

    key: str
    query: str


class Remember(msgspec.Struct, frozen=True):
    """Store what was learned. What was stored under the same key before is stored once."""

    key: str
    phase: Purpose
    memories: tuple[NewMemory, ...]


class AskPlanApproval(msgspec.Struct, frozen=True):
    """Ask a person whether a plan may be executed."""

    key: str
    plan_json: str


class End(msgspec.Struct, frozen=True):
    """Reach a terminal state."""

    key: str
    state: RunState
    output: str = ""
    failure: RunFailure | None = None
    cancel_entries: tuple[CancelEntry, ...] = ()


Effect = (
    Begin
    | AskModel
    | StartCall
    | ProbeCall
    | CloseCall
    | StopCall
    | AskApproval
    | ApplyGrant
    | Wait
    | Note
    | Recall
    | Remember
    | AskPlanApproval
    | End
)
