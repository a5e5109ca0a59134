"""The state of a run, folded from its events. Small: large content stays in the journal.

These two are msgspec structs rather than dataclasses because every fact replaces them, and
`dataclasses.replace` of so many fields takes 4 µs against 0.3 µs.
"""

import msgspec

from agentd.agent.approval import ApprovalId
from agentd.agent.budget import Budget, Usage
from agentd.agent.events import (
    CancelEntry,
    ModelRequested,
    RunCancelling,
    RunEnded,
    RunFailure,
    RunStarted,
    RunState,
    RunWaiting,
)
from agentd.agent.ids import CallId, HostId
from agentd.agent.permission import NO_LABELS, Grant, Judgement, Labels
from agentd.agent.threads import Lifecycle
from agentd.agent.tool import CallError, CallErrorReason, CallState, EffectClass


class OpenCall(msgspec.Struct, frozen=True):
    """A call that has no outcome yet."""

    id: CallId
    path: str
    """`toolset/tool`; empty when there is no such tool."""
    state: CallState
    effect: EffectClass
    reconcile: bool = False
    attempt: int = 0
    """The newest attempt, counted from 1; 0 before the first."""
    host: HostId | None = None
    token: str = ""
    deadline_ms: int = 0
    refusal: CallError | None = None
    unknown_reason: CallErrorReason | None = None
    unknown_message: str = ""
    probing: bool = False
    """Whether its tool is being asked what became of it."""
    probed: bool = False
    """Whether its tool was asked and could not say."""
    judgement: Judgement | None = None
    """Whether it may be executed; None when it was refused before that was asked."""
    seen: Labels = NO_LABELS
    """What the run had seen when that was judged."""
    labels: Labels = NO_LABELS
    """What its result brings into the run."""
    arguments_sha256: str = ""
    """Set when a person is to be asked about them."""
    approval: ApprovalId | None = None
    """The question, once it was asked."""
    simulate: bool = False
    """Whether its tool is only to say what it would do."""


class State(msgspec.Struct, frozen=True):
    """What evolve has folded from a run's events so far."""

    run: RunState = RunState.PENDING
    created: bool = False
    budget: Budget = Budget()
    usage: Usage = Usage()
    started: RunStarted | None = None
    turn: int = 1
    """The present turn, counted from 1."""
    attempt: int = 0
    """The attempts of the present turn that were made."""
    in_flight: ModelRequested | None = None
    not_before_ms: int = 0
    """When the next attempt of the present turn may be made, in milliseconds since the epoch."""
    context_tokens: int = 0
    """An estimate of the next request's input."""
    calls: tuple[OpenCall, ...] = ()
    """The calls of the present turn that have no outcome, in the order of the model's answer."""
    unread: int = 0
    """Messages that no model request has carried yet."""
    answer: str | None = None
    """The text of the newest reply, when it asked for no calls."""
    failure: RunFailure | None = None
    """Why the run ends in FAILED as soon as its history is closed."""
    stopping: RunCancelling | None = None
    cancel_entries: tuple[CancelEntry, ...] = ()
    waiting: RunWaiting | None = None
    ended: RunEnded | None = None
    messages_seen: tuple[str, ...] = ()
    """The request ids of the newest messages, so that a message that is sent again is one."""
    evidence: int = 0
    """Late completions that were kept."""
    labels: Labels = NO_LABELS
    """What the run has seen, the session's earlier runs included."""
    grants: tuple[Grant, ...] = ()
    """What people have allowed for longer than a call."""
    rerouted: int = 0
    """How many models of its route were given up."""
    lifecycle: Lifecycle | None = None
    """Set for runs of the protocol `lifecycle`; `turn`, `attempt`, `in_flight`, `answer` and
    `failure` are then those of its threads, and stay as they are here."""

    @property
    def flights(self) -> tuple[ModelRequested, ...]:
        """The model requests that are in flight."""
        if self.lifecycle is None:
            return (self.in_flight,) if self.in_flight else ()
        flights = (thread.in_flight for thread in self.lifecycle.threads)
        return tuple(flight for flight in flights if flight)

    def call(self, call: CallId) -> OpenCall | None:
        """Return an open call, or None when it has ended or never was."""
        for candidate in self.calls:
            if candidate.id == call:
                return candidate
        return None
