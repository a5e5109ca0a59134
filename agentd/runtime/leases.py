"""The leases of calls at hosts.

A lease belongs to one attempt of one call and is proved by its token. It outlives the host's stream
and, because it is an event, the daemon: after a restart it is adopted from the journal for a full
term. It ends with the outcome, or at its expiry unless the host extends it.
"""

from collections.abc import Iterator

import msgspec

from agentd.agent.events import CallEnded, Event
from agentd.agent.hosting import Invocation, LeaseRef, Outcome, Stopped
from agentd.agent.ids import CallId, HostId, Namespace, RunId, RunIdentity
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallError, CallErrorReason, CallState, Tool
from agentd.errors import Conflict, Reason
from agentd.protocol.calls import fact_of, timed_out
from agentd.protocol.lifecycle.folding import stopping_call
from agentd.protocol.machine import without_outcome


class LeaseLimits(msgspec.Struct, frozen=True):
    """The bounds of leases."""

    lease_ms: int = 30_000
    sweep_s: float = 0.25
    """How often expiries and deadlines are looked at."""
    max_hosts: int = 10_000
    """Hosts that may be connected; more are refused."""
    stop_grace_ms: int = 5_000
    """How long a host may take to stop a call that has timed out."""


class Lease(msgspec.Struct):
    """One attempt at a host."""

    run: RunIdentity
    host: HostId
    tool: Tool
    invocation: Invocation
    expire_ms: int
    stop_ms: int = 0
    """When the daemon stops waiting for a call that it asked to stop; 0 means it did not ask."""
    timed_out: bool = False
    progress_count: int = 0


class Leases:
    """Every lease of the daemon. Lives on the event loop."""

    def __init__(self) -> None:
        self._leases: dict[tuple[Namespace, RunId, CallId], Lease] = {}

    def __iter__(self) -> Iterator[Lease]:
        return iter(list(self._leases.values()))

    def add(self, lease: Lease) -> None:
        """Take a lease whose event is durable."""
        run = lease.run
        self._leases[run.namespace, run.id, lease.invocation.call] = lease

    def find(self, run: RunIdentity, call: CallId) -> Lease | None:
        """Return the lease of a call."""
        return self._leases.get((run.namespace, run.id, call))

    def remove(self, run: RunIdentity, call: CallId) -> Lease | None:
        """Drop the lease of a call and return it."""
        return self._leases.pop((run.namespace, run.id, call), None)

    def proved(self, namespace: Namespace, ref: LeaseRef) -> Lease | None:
        """Return the lease that a report proves to have."""
        lease = self._leases.get((namespace, ref.run, ref.call))
        if lease is None:
            return None
        invocation = lease.invocation
        same = invocation.token == ref.token and invocation.attempt == ref.attempt
        return lease if same else None

    def of_host(self, namespace: Namespace, host: HostId) -> list[Lease]:
        """Return what a host has."""
        return [
            lease
            for lease in self._leases.values()
            if lease.host == host and lease.run.namespace == namespace
        ]

    def expire_time_ms(self, run: RunIdentity, call: CallId) -> int:
        """Return when a call's lease ends; 0 when it has none."""
        lease = self.find(run, call)
        return lease.expire_ms if lease else 0


def completed(state: State, lease: Lease, outcome: Outcome, fault: str | None) -> Event:
    """Return the fact for an outcome that a host reports; `fault` says why its result is not valid.

    Raises Conflict (WRONG_CALL_STATE) when the lease is not in force any more.
    """
    call = _leased(state, lease)
    if fault:
        error = CallError(CallErrorReason.INVALID_RESULT, fault)
        return CallEnded(call.id, call.attempt, CallState.FAILED, error=error)
    if lease.timed_out and isinstance(outcome, Stopped):
        return timed_out(call)
    return fact_of(call, outcome, stopping=stopping_call(state, call.id) is not None)


def given_up(state: State, lease: Lease, reason: CallErrorReason, message: str) -> Event:
    """Return the fact for a lease that ends without an outcome.

    Raises Conflict (WRONG_CALL_STATE) when the lease is not in force any more.
    """
    call = _leased(state, lease)
    if lease.timed_out and call.effect.repeatable and not call.probing:
        return timed_out(call)
    return without_outcome(call, reason, message)


def _leased(state: State, lease: Lease) -> OpenCall:
    """Return the call if the lease is still its present one."""
    call = state.call(lease.invocation.call)
    if call is None or call.token != lease.invocation.token:
        message = f"call {lease.invocation.call} is not leased to {lease.host}"
        raise Conflict(Reason.WRONG_CALL_STATE, message)
    return call
