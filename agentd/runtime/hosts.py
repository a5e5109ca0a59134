"""Hosts of tools and the leases of their calls.

A lease belongs to one attempt of one call and is proved by its token. It outlives the host's stream
and, because it is an event, the daemon: a host that connects again with its id is told its leases. A
lease ends with the outcome, or at its expiry unless the host extends it; what an expiry means is the
machine's to say. Nothing here decides about a run: outcomes are handed to the engine as postings.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from agentd.agent.events import CallEnded, CallEvidenceKept, Event
from agentd.agent.hosting import (
    Cancellation,
    Completion,
    Failed,
    HostDrain,
    Instruction,
    Invocation,
    LeaseRef,
    LeaseResult,
    LeaseStatus,
    Outcome,
    OutcomeUnknown,
    Progress,
    Registration,
    Stopped,
    Succeeded,
    Welcome,
)
from agentd.agent.ids import CallId, HostId, Namespace, RunId, RunIdentity, RunKey
from agentd.agent.state import State
from agentd.agent.tool import CallError, CallErrorReason, CallState, Tool
from agentd.errors import Conflict, Exhausted, Reason
from agentd.protocol.calls import fact_of, timed_out
from agentd.protocol.machine import without_outcome
from agentd.runtime.ports import Clock, Entropy
from agentd.runtime.watch import CallProgress, Delta
from agentd.tools.schema import compile_result

MAX_EVIDENCE = 64
"""Late completions kept for one run."""


@dataclass(frozen=True, slots=True)
class LeaseLimits:
    """The bounds of leases."""

    lease_ms: int = 30_000
    sweep_s: float = 0.25
    """How often expiries and deadlines are looked at."""
    stop_grace_ms: int = 5_000
    """How long a host may take to stop a call that has timed out."""


class Owner(Protocol):
    """What hosts need of the engine."""

    async def settle(
        self, run: RunIdentity, build: Callable[..., Event], *arguments: object
    ) -> None:
        """Record the event that `build(state, *arguments)` returns; durable when this returns.

        Raises what `build` raises.
        """
        ...

    def settle_soon(
        self, run: RunIdentity, build: Callable[..., Event], *arguments: object
    ) -> None:
        """The same without waiting; what `build` raises is dropped."""
        ...

    def wake(self, run: RunIdentity) -> None:
        """Have a run look again at what it is owed."""
        ...

    async def find(self, namespace: Namespace, run: RunId) -> RunIdentity | None:
        """Return a run's identity."""
        ...

    async def register_tools(self, namespace: Namespace, tools: Sequence[Tool]) -> None:
        """Check manifests and make them known, durably."""
        ...

    async def has_call(self, run: RunIdentity, call: CallId) -> bool:
        """Whether the run's model ever asked for the call."""
        ...

    def publish_delta(self, delta: Delta) -> None:
        """Pass progress on to watchers."""
        ...


@dataclass(slots=True)
class Lease:
    """One attempt at a host."""

    run: RunIdentity
    tool: Tool
    invocation: Invocation
    host: HostId
    expire_ms: int
    stop_ms: int = 0
    """When the daemon stops waiting for a call that it asked to stop; 0 means it did not ask."""
    timed_out: bool = False
    progress_count: int = 0


class _Connection:
    """A host that is connected: its stream's list of instructions and one future."""

    __slots__ = ("in_use", "instructions", "registration", "replaced", "tools", "wakeup")

    def __init__(self, registration: Registration, in_use: int) -> None:
        self.registration = registration
        self.tools = frozenset(tool.path for tool in registration.tools)
        self.in_use = in_use
        self.instructions: list[Instruction] = []
        self.wakeup: asyncio.Future[None] | None = None
        self.replaced = False

    @property
    def room(self) -> int:
        return self.registration.capacity - self.in_use

    def send(self, instruction: Instruction) -> None:
        """Queue an instruction. Bounded by the capacity: one invocation and one cancellation for
        each lease."""
        self.instructions.append(instruction)
        self.wake()

    def wake(self) -> None:
        if self.wakeup and not self.wakeup.done():
            self.wakeup.set_result(None)


class Hosts:
    """Every connected host and every lease of the daemon. Lives on the event loop."""

    def __init__(
        self, owner: Owner, clock: Clock, entropy: Entropy, limits: LeaseLimits | None = None
    ) -> None:
        self._owner = owner
        self._clock = clock
        self._entropy = entropy
        self._limits = limits or LeaseLimits()
        self._connections: dict[tuple[Namespace, HostId], _Connection] = {}
        self._leases: dict[tuple[Namespace, RunId, CallId], Lease] = {}
        self._waiting: dict[tuple[Namespace, str], OrderedDict[RunKey, RunIdentity]] = {}
        self.draining = False

    @property
    def connected_count(self) -> int:
        """The hosts that are connected."""
        return len(self._connections)

    @property
    def lease_ms(self) -> int:
        """How long a lease lasts."""
        return self._limits.lease_ms

    def available(self, namespace: Namespace, path: str) -> bool:
        """Whether a host that offers the tool is connected."""
        return any(
            place[0] == namespace and path in connection.tools
            for place, connection in self._connections.items()
        )

    # What hosts call.

    async def watch_calls(self, registration: Registration) -> AsyncIterator[Sequence[Instruction]]:
        """Register a host, then yield what it is to do until it is replaced or goes away.

        Raises InvalidRequest for a manifest that is not valid, and Conflict (HOST_REPLACED) when
        the host has connected again.
        """
        await self._owner.register_tools(registration.namespace, registration.tools)
        place = (registration.namespace, registration.host)
        earlier = self._connections.get(place)
        if earlier:
            earlier.replaced = True
            earlier.wake()
        leases = tuple(self._leases_of(registration.namespace, registration.host))
        connection = _Connection(registration, len(leases))
        self._connections[place] = connection
        connection.send(Welcome(self._limits.lease_ms, leases))
        if self.draining:
            connection.send(HostDrain())
        self._offer_room(connection)
        try:
            while not connection.replaced:
                if not connection.instructions:
                    connection.wakeup = asyncio.get_running_loop().create_future()
                    await connection.wakeup
                instructions, connection.instructions = connection.instructions, []
                if instructions:
                    yield instructions
            message = f"host {registration.host} has connected again"
            raise Conflict(Reason.HOST_REPLACED, message, metadata={"host": registration.host})
        finally:
            if self._connections.get(place) is connection:
                del self._connections[place]

    async def complete(
        self, namespace: Namespace, completions: Sequence[Completion]
    ) -> Sequence[LeaseStatus]:
        """Record the outcomes of attempts. Those with the status OK are durable."""
        if len(completions) == 1:
            return [await self._complete(namespace, completions[0])]
        statuses: list[LeaseStatus | None] = [None] * len(completions)

        async def settle(index: int) -> None:
            statuses[index] = await self._complete(namespace, completions[index])

        async with asyncio.TaskGroup() as group:
            for index in range(len(completions)):
                group.create_task(settle(index))
        return [status for status in statuses if status]

    async def report_progress(
        self, namespace: Namespace, reports: Sequence[Progress]
    ) -> Sequence[LeaseStatus]:
        """Pass notes on to watchers, and extend the leases they belong to."""
        statuses = []
        for report in reports:
            status = await self._extend(namespace, report.lease)
            lease = self._leases_by_ref(namespace, report.lease)
            if lease:
                piece = CallProgress(report.message, report.fraction)
                source = lease.invocation.call
                attempt = lease.invocation.attempt
                index = lease.progress_count
                lease.progress_count += 1
                self._owner.publish_delta(Delta(lease.run, source, attempt, index, piece))
            statuses.append(status)
        return statuses

    async def extend(
        self, namespace: Namespace, leases: Sequence[LeaseRef]
    ) -> Sequence[LeaseStatus]:
        """Extend leases to a full term from now."""
        return [await self._extend(namespace, lease) for lease in leases]

    # What runs call.

    def acquire(self, run: RunIdentity, path: str) -> HostId | None:
        """Return a connected host that offers the tool and has room, and take the room; or None,
        and have the run woken when there is one."""
        best: _Connection | None = None
        if not self.draining:
            for (namespace, _), connection in self._connections.items():
                fits = namespace == run.namespace and path in connection.tools
                if fits and connection.room > (best.room if best else 0):
                    best = connection
        if best is None:
            waiting = self._waiting.setdefault((run.namespace, path), OrderedDict())
            waiting[run.key] = run
            return None
        best.in_use += 1
        return best.registration.host

    def give_back(self, run: RunIdentity, host: HostId) -> None:
        """Return the room of an `acquire` that led to no lease."""
        connection = self._connections.get((run.namespace, host))
        if connection:
            connection.in_use -= 1
            self._offer_room(connection)

    def forget(self, run: RunIdentity) -> None:
        """Stop waking a run that has ended."""
        for waiting in self._waiting.values():
            waiting.pop(run.key, None)

    def lease(self, run: RunIdentity, host: HostId, tool: Tool, invocation: Invocation) -> None:
        """Send an invocation whose lease is durable, into room taken by `acquire`."""
        now = self._clock.now_ms()
        expire_ms = now + self._limits.lease_ms
        invocation = replace(invocation, lease_expire_time_ms=expire_ms)
        self._leases[run.namespace, run.id, invocation.call] = Lease(
            run, tool, invocation, host, expire_ms
        )
        connection = self._connections.get((run.namespace, host))
        if connection:
            connection.send(invocation)

    def adopt(self, run: RunIdentity, host: HostId, tool: Tool, invocation: Invocation) -> None:
        """Take over a lease from the journal after a restart; it gets a full term."""
        if (run.namespace, run.id, invocation.call) in self._leases:
            return
        expire_ms = self._clock.now_ms() + self._limits.lease_ms
        invocation = replace(invocation, lease_expire_time_ms=expire_ms)
        self._leases[run.namespace, run.id, invocation.call] = Lease(
            run, tool, invocation, host, expire_ms
        )
        connection = self._connections.get((run.namespace, host))
        if connection:
            connection.in_use += 1

    def stop(self, run: RunIdentity, call: CallId, reason: str, timeout_ms: int) -> None:
        """Ask the host to stop a call; at the deadline it is given up."""
        lease = self._leases.get((run.namespace, run.id, call))
        if lease:
            self._ask_to_stop(lease, reason, self._clock.now_ms() + timeout_ms)

    def release(self, run: RunIdentity, call: CallId) -> None:
        """Drop a lease whose call has an outcome, and offer its room to the next call."""
        lease = self._leases.pop((run.namespace, run.id, call), None)
        if lease is None:
            return
        connection = self._connections.get((run.namespace, lease.host))
        if connection:
            connection.in_use -= 1
            self._offer_room(connection)

    def expire_time_ms(self, run: RunIdentity, call: CallId) -> int:
        """Return when a call's lease ends; 0 when it has none."""
        lease = self._leases.get((run.namespace, run.id, call))
        return lease.expire_ms if lease else 0

    def new_token(self, host: HostId) -> str:
        """Return the token of a new lease: it proves the lease, and names its host."""
        return f"{host}/{self._entropy.token()}"

    # Time.

    async def sweep(self) -> None:
        """Expire leases and time calls out, for as long as the daemon lives."""
        while True:
            await asyncio.sleep(self._limits.sweep_s)
            self.sweep_once()

    def sweep_once(self) -> None:
        """Look once at every lease's expiry and deadline."""
        now = self._clock.now_ms()
        for lease in list(self._leases.values()):
            if lease.stop_ms and lease.stop_ms <= now:
                self._give_up(lease, CallErrorReason.TIMEOUT, "it did not stop in time")
            elif lease.expire_ms <= now:
                message = f"host {lease.host} was lost: its lease was not extended"
                self._give_up(lease, CallErrorReason.HOST_LOST, message)
            elif not lease.stop_ms and lease.invocation.deadline_ms <= now:
                lease.timed_out = True
                grace = now + self._limits.stop_grace_ms
                self._ask_to_stop(lease, "the call timed out", grace)

    def drain(self) -> None:
        """Tell every host that the daemon is going down, and give no new calls out."""
        self.draining = True
        for connection in self._connections.values():
            connection.send(HostDrain())

    # Inside.

    async def _complete(self, namespace: Namespace, completion: Completion) -> LeaseStatus:
        ref = completion.lease
        lease = self._leases_by_ref(namespace, ref)
        if lease is None:
            return await self._keep_evidence(namespace, completion)
        outcome = completion.outcome
        fault = None
        if isinstance(outcome, Succeeded):
            if not _is_json(outcome.result_json):
                return LeaseStatus(ref, LeaseResult.INVALID)
            fault = compile_result(lease.tool).check(outcome.result_json)
        try:
            await self._owner.settle(lease.run, _completed, lease, outcome, fault)
        except Conflict:
            return await self._keep_evidence(namespace, completion)
        return LeaseStatus(ref, LeaseResult.OK)

    async def _keep_evidence(self, namespace: Namespace, completion: Completion) -> LeaseStatus:
        ref = completion.lease
        run = await self._owner.find(namespace, ref.run)
        if run is None or not await self._owner.has_call(run, ref.call):
            return LeaseStatus(ref, LeaseResult.NOT_FOUND)
        result_json, message = _evidence_of(completion.outcome)
        host = HostId(ref.token.partition("/")[0][:63])
        event = CallEvidenceKept(ref.call, host, ref.attempt, result_json, message)
        with contextlib.suppress(Exhausted):
            await self._owner.settle(run, _evidence, event)
        return LeaseStatus(ref, LeaseResult.STALE_LEASE)

    async def _extend(self, namespace: Namespace, ref: LeaseRef) -> LeaseStatus:
        lease = self._leases_by_ref(namespace, ref)
        if lease is None:
            known = await self._owner.find(namespace, ref.run)
            result = LeaseResult.STALE_LEASE if known else LeaseResult.NOT_FOUND
            return LeaseStatus(ref, result)
        lease.expire_ms = self._clock.now_ms() + self._limits.lease_ms
        return LeaseStatus(ref, LeaseResult.OK, lease.expire_ms)

    def _leases_by_ref(self, namespace: Namespace, ref: LeaseRef) -> Lease | None:
        """Return the lease that a report proves to have, or None."""
        lease = self._leases.get((namespace, ref.run, ref.call))
        if lease is None:
            return None
        proved = lease.invocation.token == ref.token and lease.invocation.attempt == ref.attempt
        return lease if proved else None

    def _leases_of(self, namespace: Namespace, host: HostId) -> list[Invocation]:
        return [
            lease.invocation
            for lease in self._leases.values()
            if lease.host == host and lease.run.namespace == namespace
        ]

    def _ask_to_stop(self, lease: Lease, reason: str, deadline_ms: int) -> None:
        if lease.stop_ms:
            lease.stop_ms = min(lease.stop_ms, deadline_ms)
            return
        lease.stop_ms = deadline_ms
        connection = self._connections.get((lease.run.namespace, lease.host))
        if connection:
            invocation = lease.invocation
            connection.send(
                Cancellation(
                    invocation.run,
                    invocation.call,
                    invocation.attempt,
                    invocation.token,
                    reason,
                    deadline_ms,
                )
            )

    def _give_up(self, lease: Lease, reason: CallErrorReason, message: str) -> None:
        """Have the run record that an attempt ended without an outcome. The lease stays until it
        has: a completion that arrives first still counts."""
        lease.stop_ms = 0
        lease.expire_ms = self._clock.now_ms() + self._limits.lease_ms
        self._owner.settle_soon(lease.run, _given_up, lease, reason, message)

    def _offer_room(self, connection: _Connection) -> None:
        """Wake as many waiting runs as the host has room for, in the order of their waiting."""
        room = connection.room
        for path in connection.tools:
            waiting = self._waiting.get((connection.registration.namespace, path))
            while waiting and room > 0:
                _, run = waiting.popitem(last=False)
                room -= 1
                self._owner.wake(run)


def _completed(state: State, lease: Lease, outcome: Outcome, fault: str | None) -> Event:
    call = state.call(lease.invocation.call)
    stale = call is None or call.token != lease.invocation.token
    if call is None or stale or (call.state is not CallState.LEASED and not call.probing):
        message = f"call {lease.invocation.call} is not leased to {lease.host}"
        raise Conflict(Reason.WRONG_CALL_STATE, message)
    if lease.timed_out and isinstance(outcome, Stopped):
        return timed_out(call)
    if fault:
        error = CallError(CallErrorReason.INVALID_RESULT, fault)
        return CallEnded(call.id, call.attempt, CallState.FAILED, error=error)
    return fact_of(call, outcome, stopping=state.stopping is not None)


def _given_up(state: State, lease: Lease, reason: CallErrorReason, message: str) -> Event:
    call = state.call(lease.invocation.call)
    if call is None or call.token != lease.invocation.token:
        raise Conflict(Reason.WRONG_CALL_STATE, "the call has an outcome")
    if lease.timed_out and call.effect.repeatable and not call.probing:
        return timed_out(call)
    return without_outcome(call, reason, message)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False
    return True


def _evidence(state: State, event: CallEvidenceKept) -> Event:
    if state.evidence >= MAX_EVIDENCE:
        message = f"the run keeps {MAX_EVIDENCE} late completions already"
        raise Exhausted(Reason.LIMIT_REACHED, message)
    return event


def _evidence_of(outcome: Outcome) -> tuple[str, str]:
    match outcome:
        case Succeeded(result_json=result_json):
            return result_json, ""
        case Failed(message=message) | OutcomeUnknown(message=message):
            return "", message
        case _:
            return "", type(outcome).__name__
