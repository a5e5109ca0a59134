"""What passes between the runtime and the hosts of tools. Pure data."""

from enum import Enum

import msgspec

from agentd.agent.ids import DEFAULT_NAMESPACE, CallId, HostId, Namespace, RunId
from agentd.agent.permission import NO_LABELS, Labels
from agentd.agent.tool import Tool


class InvocationKind(Enum):
    """What to do with a call; the values are those of `agentd.v1.InvocationKind`."""

    EXECUTE = 1
    RECONCILE = 2
    SIMULATE = 3


class LeaseResult(Enum):
    """Whether a report counted; the values are those of `agentd.v1.LeaseResult`."""

    OK = 1
    STALE_LEASE = 2
    NOT_FOUND = 3
    INVALID = 4


class Registration(msgspec.Struct, frozen=True):
    """A host and what it offers."""

    namespace: Namespace
    host: HostId
    toolset: str
    tools: tuple[Tool, ...]
    capacity: int


class Invocation(msgspec.Struct, frozen=True):
    """A call to be executed, or looked into."""

    run: RunId
    call: CallId
    kind: InvocationKind
    tool: str
    """`toolset/tool`."""
    arguments_json: str
    attempt: int
    token: str
    idempotency_key: str
    deadline_ms: int
    lease_expire_time_ms: int
    permissions: tuple[str, ...] = ()
    workspace: str = ""
    """The run's folder, for tools of the daemon itself; empty for hosts."""
    namespace: Namespace = DEFAULT_NAMESPACE
    seen: Labels = NO_LABELS
    """What the run has seen when the call begins."""


class Cancellation(msgspec.Struct, frozen=True):
    """Asks a host to stop a call."""

    run: RunId
    call: CallId
    attempt: int
    token: str
    reason: str
    deadline_ms: int


class Welcome(msgspec.Struct, frozen=True):
    """The first instruction to a host, with the leases it still has."""

    lease_ms: int
    leases: tuple[Invocation, ...] = ()


class HostDrain(msgspec.Struct, frozen=True):
    """The daemon is going down."""


Instruction = Welcome | Invocation | Cancellation | HostDrain


class Succeeded(msgspec.Struct, frozen=True):
    """The attempt succeeded, or had succeeded."""

    result_json: str
    labels: Labels = NO_LABELS
    """What this result brings into the run, beyond what its tool's results always bring."""


class Failed(msgspec.Struct, frozen=True):
    """The attempt failed, or had failed."""

    message: str


class Stopped(msgspec.Struct, frozen=True):
    """The attempt was stopped before it had its effect."""


class OutcomeUnknown(msgspec.Struct, frozen=True):
    """Nobody knows what became of the attempt."""

    message: str = ""


class NotExecuted(msgspec.Struct, frozen=True):
    """A probe found that the attempt had not happened."""


Outcome = Succeeded | Failed | Stopped | OutcomeUnknown | NotExecuted


class LeaseRef(msgspec.Struct, frozen=True):
    """Names one lease."""

    run: RunId
    call: CallId
    attempt: int
    token: str


class Completion(msgspec.Struct, frozen=True):
    """The outcome of one attempt, as its host reports it."""

    lease: LeaseRef
    outcome: Outcome


class Progress(msgspec.Struct, frozen=True):
    """A note on the progress of one attempt."""

    lease: LeaseRef
    message: str
    fraction: float
    """0 to 1; negative means not said."""


class LeaseStatus(msgspec.Struct, frozen=True):
    """Whether a report counted."""

    lease: LeaseRef
    result: LeaseResult
    lease_expire_time_ms: int = 0


class Reconciled(msgspec.Struct, frozen=True):
    """ResolveCall: it happened, with this result."""

    result_json: str


class ReconciledFailure(msgspec.Struct, frozen=True):
    """ResolveCall: it happened and failed."""

    message: str


class Retry(msgspec.Struct, frozen=True):
    """ResolveCall: another attempt is to be made."""


class Abandon(msgspec.Struct, frozen=True):
    """ResolveCall: nobody will know."""


Resolution = Reconciled | ReconciledFailure | Retry | Abandon
