"""What passes between the runtime and the hosts of tools. Pure data."""

from dataclasses import dataclass
from enum import Enum

from agentd.agent.ids import CallId, HostId, Namespace, RunId
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


@dataclass(frozen=True, slots=True)
class Registration:
    """A host and what it offers."""

    namespace: Namespace
    host: HostId
    toolset: str
    tools: tuple[Tool, ...]
    capacity: int


@dataclass(frozen=True, slots=True)
class Invocation:
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


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Asks a host to stop a call."""

    run: RunId
    call: CallId
    attempt: int
    token: str
    reason: str
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Welcome:
    """The first instruction to a host, with the leases it still has."""

    lease_ms: int
    leases: tuple[Invocation, ...] = ()


@dataclass(frozen=True, slots=True)
class HostDrain:
    """The daemon is going down."""


Instruction = Welcome | Invocation | Cancellation | HostDrain


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The attempt succeeded, or had succeeded."""

    result_json: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed, or had failed."""

    message: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The attempt was stopped before it had its effect."""


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """Nobody knows what became of the attempt."""

    message: str = ""


@dataclass(frozen=True, slots=True)
class NotExecuted:
    """A probe found that the attempt had not happened."""


Outcome = Succeeded | Failed | Stopped | OutcomeUnknown | NotExecuted


@dataclass(frozen=True, slots=True)
class LeaseRef:
    """Names one lease."""

    run: RunId
    call: CallId
    attempt: int
    token: str


@dataclass(frozen=True, slots=True)
class Completion:
    """The outcome of one attempt, as its host reports it."""

    lease: LeaseRef
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Progress:
    """A note on the progress of one attempt."""

    lease: LeaseRef
    message: str
    fraction: float
    """0 to 1; negative means not said."""


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """Whether a report counted."""

    lease: LeaseRef
    result: LeaseResult
    lease_expire_time_ms: int = 0


@dataclass(frozen=True, slots=True)
class Reconciled:
    """ResolveCall: it happened, with this result."""

    result_json: str


@dataclass(frozen=True, slots=True)
class ReconciledFailure:
    """ResolveCall: it happened and failed."""

    message: str


@dataclass(frozen=True, slots=True)
class Retry:
    """ResolveCall: another attempt is to be made."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """ResolveCall: nobody will know."""


Resolution = Reconciled | ReconciledFailure | Retry | Abandon
