"""Facts: what has happened to a run. Journaled, immutable, never edited.

The class names and fields are those of the messages in `agentd/v1/event.proto`; what is stored
beyond them (a provider's opaque content, lease tokens) never leaves the daemon. A field may be
added with a default; nothing is renamed or removed after a release: every journal must replay.

Facts are msgspec structs rather than dataclasses: they are made, encoded and decoded on every step,
in about a quarter of the time.
"""

from enum import Enum

import msgspec

from agentd.agent.approval import ApprovalId, ApprovalScope, ApprovalState
from agentd.agent.budget import (
    FREE,
    NO_RESERVATION,
    NO_USAGE,
    Budget,
    ModelUsage,
    Prices,
    Reservation,
    Usage,
)
from agentd.agent.ids import AgentId, CallId, HostId, RunId, RunIdentity, SessionId
from agentd.agent.lifecycle import RoutedModel, Terms, ThreadId
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
from agentd.agent.message import AssistantMessage, ModelErrorKind, StopReason
from agentd.agent.permission import NO_LABELS, Decision, Grant, Judgement, Labels, Layer
from agentd.agent.spec import OnUnknown, ProtocolKind
from agentd.agent.tool import CallError, CallErrorReason, CallState, EffectClass


class RunState(Enum):
    """The state of a run; the values are those of `agentd.v1.RunState`."""

    PENDING = 1
    RUNNING = 2
    WAITING = 3
    PAUSED = 4
    CANCELLING = 5
    SUCCEEDED = 6
    FAILED = 7
    CANCELLED = 8
    ABANDONED = 9

    def __init__(self, value: int) -> None:
        self.ended = value >= 6
        """Whether nothing follows."""


class WaitReason(Enum):
    """What a waiting run waits for; the values are those of `agentd.v1.WaitReason`."""

    APPROVAL = 1
    HOST = 2
    MESSAGE = 3
    INPUT = 4
    TIMER = 5


class FailureReason(Enum):
    """Why a run did not succeed; the values are those of `agentd.v1.RunFailureReason`."""

    BUDGET_TURNS = 1
    BUDGET_TOKENS = 2
    BUDGET_COST = 3
    BUDGET_TOOL_CALLS = 4
    BUDGET_WALL_TIME = 5
    MODEL_AUTHENTICATION = 6
    MODEL_INVALID_REQUEST = 7
    MODEL_REFUSED = 8
    MODEL_UNAVAILABLE = 9
    MODEL_CONTEXT_EXCEEDED = 10
    MODEL_OUTPUT_TRUNCATED = 11
    NOT_FOUND = 12
    INTERNAL = 13
    PLAN_REJECTED = 14
    ANSWER_INVALID = 15
    GOAL_NOT_REACHED = 16


class CancelOutcome(Enum):
    """What became of something to be stopped; the values of `agentd.v1.CancelOutcome`."""

    STOPPED = 1
    REFUSED = 2
    STILL_RUNNING = 3


class RunFailure(msgspec.Struct, frozen=True):
    """Why a run did not succeed."""

    reason: FailureReason
    message: str


class CancelEntry(msgspec.Struct, frozen=True):
    """What became of one model request (`requests/{turn}`) or call (`calls/{call}`)."""

    name: str
    outcome: CancelOutcome
    detail: str = ""


class RunCreated(msgspec.Struct, frozen=True):
    """The run was created."""

    agent: AgentId
    agent_revision: int
    goal: str
    budget: Budget
    session: SessionId | None = None
    parent_run: RunId | None = None


class GrantedTool(msgspec.Struct, frozen=True):
    """A tool that a run may use, by its manifest at the time the run started."""

    path: str
    """`toolset/tool`."""
    alias: str
    """The name that the model sees."""
    digest: str
    """The manifest's digest in the tool registry."""
    effect: EffectClass
    reconcile: bool = False


class RunStarted(msgspec.Struct, frozen=True):
    """The run left PENDING, with everything resolved that its machine needs to know."""

    model: str
    """`provider/model`."""
    protocol: ProtocolKind = ProtocolKind.DIRECT
    tools: tuple[GrantedTool, ...] = ()
    previous_run: RunId | None = None
    """The run of the same session whose transcript this one continues."""
    prices: Prices = FREE
    context_tokens: int = 0
    """An estimate of the first request's input."""
    max_output_tokens: int = 0
    max_parallel_calls: int = 8
    max_attempts: int = 1
    """Attempts of one model turn."""
    max_call_attempts: int = 1
    """Attempts of one call that may be repeated."""
    on_unknown: OnUnknown = OnUnknown.ASK
    deadline_ms: int = 0
    """When the wall time is used up, in milliseconds since the epoch. 0 means never."""
    layers: tuple[Layer, ...] = ()
    """The rules of its agent and of every ancestor's agent. Empty means the default rules: a run
    of a release that had no others."""
    grants: tuple[Grant, ...] = ()
    """What people have allowed its agent for good."""
    labels: Labels = NO_LABELS
    """What the session's earlier runs have seen."""
    workspace: str = ""
    """The absolute path of its folder; empty when it has none."""
    lifecycle: Terms | None = None
    """Set for runs of the protocol `lifecycle`."""
    fallbacks: tuple[RoutedModel, ...] = ()
    """The models that take over, in this order, while those before them stay down; those of a run
    of the protocol `lifecycle` are in its terms."""


class RunWaiting(msgspec.Struct, frozen=True):
    """Nothing is in progress, and the run waits."""

    reason: WaitReason
    detail: str = ""


class RunPaused(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nothing new starts until RunResumed."""

    reason: str = ""
    """Why, when it was not a person who paused it."""


class RunResumed(msgspec.Struct, frozen=True):
    """The pause is over."""


class RunCancelling(msgspec.Struct, frozen=True):
    """What is in progress is being stopped; the run then ends in `outcome`."""

    outcome: RunState
    reason: str = ""
    timeout_ms: int = 10_000
    failure: RunFailure | None = None


class RunEnded(msgspec.Struct, frozen=True):
    """The run reached a terminal state. Nothing but CallEvidenceKept follows."""

    state: RunState
    output: str = ""
    failure: RunFailure | None = None
    usage: Usage = Usage()
    cancel_entries: tuple[CancelEntry, ...] = ()


class MessagePosted(msgspec.Struct, frozen=True):
    """A message of the user was given to the run."""

    text: str
    request_id: str = ""
    """What makes the request that brought it repeatable."""


class ModelRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model request is about to be sent, and holds its reservation."""

    turn: int
    attempt: int
    model: str
    reservation: Reservation = NO_RESERVATION
    thread: ThreadId = ThreadId("")
    """The line of model turns that it belongs to; empty for runs of the protocol `direct`."""


class RequestedCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call of a model's answer."""

    call: CallId
    refusal: CallError | None = None
    """Why it cannot be executed: no such tool, arguments that do not match its schema, or a
    permission that it does not have."""
    path: str = ""
    """`toolset/tool`; empty when there is no such tool."""
    effect: EffectClass = EffectClass.IRREVERSIBLE
    reconcile: bool = False
    judgement: Judgement | None = None
    """Whether it may be executed; None when it was refused before that was asked."""
    seen: Labels = NO_LABELS
    """What the run had seen when that was judged."""
    labels: Labels = NO_LABELS
    """What its result brings into the run."""
    arguments_sha256: str = ""
    """In hexadecimal; set when a person is to be asked about them."""
    simulate: bool = False
    """Whether its tool is only to say what it would do."""
    departs: str = ""
    """How it departs from the plan that its task is part of."""

    @property
    def state(self) -> CallState:
        """The state that the call begins in."""
        if self.refusal:
            return CallState.REQUESTED
        asks = self.judgement and self.judgement.decision is Decision.ASK
        return CallState.AWAITING_APPROVAL if asks else CallState.QUEUED


class ModelReplied(msgspec.Struct, frozen=True):
    """A model request was answered. `calls` stands in the order of `message.calls`."""

    turn: int
    attempt: int
    message: AssistantMessage
    stop_reason: StopReason
    calls: tuple[RequestedCall, ...] = ()
    usage: ModelUsage = NO_USAGE


class ModelFailed(msgspec.Struct, frozen=True):
    """A model request failed."""

    turn: int
    attempt: int
    kind: ModelErrorKind
    message: str
    retry_at_ms: int = 0
    """When the next attempt is made, in milliseconds since the epoch. 0 means there is none."""
    retry_delay_ms: int = 0
    usage: ModelUsage = NO_USAGE


class ModelLost(msgspec.Struct, frozen=True):
    """A model request was stopped or cut off: nobody knows its outcome, so its reservation stays
    spent."""

    turn: int
    attempt: int
    reason: str
    still_running: bool = False
    """Whether it had not stopped at the deadline of a cancel."""


class CallLeased(msgspec.Struct, frozen=True):
    """A host was given a call."""

    call: CallId
    attempt: int
    host: HostId
    token: str = ""
    """Proves that the attempt is the host's. Empty for tools of the daemon itself."""
    deadline_ms: int = 0
    """When the attempt times out, in milliseconds since the epoch."""
    path: str = ""
    """`toolset/tool`."""
    effect: EffectClass = EffectClass.IRREVERSIBLE


class CallLost(msgspec.Struct, frozen=True):
    """An attempt ended without an outcome, and another is permitted: the tool may be repeated, or
    its host says that the attempt was not executed."""

    call: CallId
    attempt: int
    reason: CallErrorReason


class CallUnknown(msgspec.Struct, frozen=True):
    """An attempt ended without an outcome, and must not be repeated by itself. After a CallProbed:
    the probe found nothing out, and is not repeated."""

    call: CallId
    attempt: int
    reason: CallErrorReason
    message: str = ""


class CallProbed(msgspec.Struct, frozen=True):
    """A host was asked what became of a call of unknown outcome."""

    call: CallId
    attempt: int
    host: HostId
    token: str = ""
    deadline_ms: int = 0


class CallEnded(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call reached an end; its result is in the model's history from here on."""

    call: CallId
    attempt: int
    state: CallState
    result_json: str = ""
    error: CallError | None = None
    resolution: str = ""
    """The reason a person gave with ResolveCall."""
    labels: Labels = NO_LABELS
    """What this result brought into the run, beyond what its tool's results always bring."""


class CallRetried(msgspec.Struct, frozen=True):
    """After an unknown outcome, another attempt was decided on."""

    call: CallId
    reason: str = ""


class CallEvidenceKept(msgspec.Struct, frozen=True):
    """A completion arrived that did not count."""

    call: CallId
    host: HostId
    attempt: int
    result_json: str = ""
    error_message: str = ""


class ApprovalRequested(msgspec.Struct, frozen=True):
    """A person is asked whether a call may be executed. The question is stored with it."""

    approval: ApprovalId
    call: CallId
    arguments_sha256: str = ""


class ApprovalDecided(msgspec.Struct, frozen=True):
    """It was decided whether a call may be executed: ALLOWED or DENIED. A question is CANCELLED by
    the end of its call instead."""

    approval: ApprovalId
    call: CallId
    decision: ApprovalState
    reason: str = ""
    scope: ApprovalScope = ApprovalScope.ONCE
    edited_arguments_json: str = ""
    """What the call is executed with in place of the model's arguments; empty for those."""
    decided_by: str = ""
    judgement: Judgement | None = None
    """That of the edited arguments."""
    request_id: str = ""
    """What makes the request that brought it repeatable."""


Event = (
    RunCreated
    | RunStarted
    | RunWaiting
    | RunPaused
    | RunResumed
    | RunCancelling
    | RunEnded
    | MessagePosted
    | ModelRequested
    | ModelReplied
    | ModelFailed
    | ModelLost
    | CallLeased
    | CallLost
    | CallUnknown
    | CallProbed
    | CallEnded
    | CallRetried
    | CallEvidenceKept
    | ApprovalRequested
    | ApprovalDecided
    | PhaseStarted
    | PhaseAnswered
    | PhaseEnded
    | PlanAdopted
    | PlanApprovalRequested
    | PlanApprovalDecided
    | TaskStarted
    | TaskEnded
    | TaskRetried
    | TaskSkipped
    | TaskStopping
    | MemoriesRecalled
    | MemoriesKept
    | ModelRerouted
)


class Entry(msgspec.Struct, frozen=True):
    """A fact at its place in the journal."""

    revision: int
    """The position in the journal: grows over all runs, with gaps."""
    run: RunIdentity
    sequence: int
    """The position in the run, dense from 1."""
    time_ms: int
    event: Event
