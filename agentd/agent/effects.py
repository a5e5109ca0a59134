"""Wishes: what a run wants done next. Each has a key that stays the same until it is done."""

from dataclasses import dataclass

from agentd.agent.budget import Reservation
from agentd.agent.events import CancelEntry, RunFailure, RunState, WaitReason
from agentd.agent.ids import CallId
from agentd.agent.message import Purpose
from agentd.agent.tool import CallError, CallState


@dataclass(frozen=True, slots=True)
class Begin:
    """Resolve the run's model, tools and transcript, and start it."""

    key: str = "begin"


@dataclass(frozen=True, slots=True)
class AskModel:
    """Send one model request."""

    key: str
    purpose: Purpose
    model: str
    turn: int
    attempt: int
    reservation: Reservation
    not_before_ms: int = 0


@dataclass(frozen=True, slots=True)
class StartCall:
    """Have one attempt of a call executed."""

    key: str
    call: CallId
    attempt: int


@dataclass(frozen=True, slots=True)
class ProbeCall:
    """Have the tool find out what became of a call."""

    key: str
    call: CallId
    attempt: int


@dataclass(frozen=True, slots=True)
class CloseCall:
    """End a call without executing it."""

    key: str
    call: CallId
    attempt: int
    state: CallState
    error: CallError


@dataclass(frozen=True, slots=True)
class StopCall:
    """Have the host stop a call."""

    key: str
    call: CallId
    attempt: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done until something happens outside."""

    key: str
    reason: WaitReason
    detail: str


@dataclass(frozen=True, slots=True)
class End:
    """Reach a terminal state."""

    key: str
    state: RunState
    output: str = ""
    failure: RunFailure | None = None
    cancel_entries: tuple[CancelEntry, ...] = ()


Effect = Begin | AskModel | StartCall | ProbeCall | CloseCall | StopCall | Wait | End
