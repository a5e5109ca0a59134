"""The hosts that are connected: their streams, their room, and the runs that wait for room."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable, Collection, Sequence

from msgspec.structs import replace

from agentd.agent.hosting import (
    Cancellation,
    HostDrain,
    Instruction,
    Invocation,
    Registration,
    Welcome,
)
from agentd.agent.ids import CallId, HostId, Namespace, RunIdentity, RunKey
from agentd.agent.tool import Tool
from agentd.errors import Conflict, Exhausted, Reason
from agentd.runtime.leases import Lease, LeaseLimits, Leases
from agentd.runtime.ports import Clock, Entropy

_Place = tuple[Namespace, str]
"""A tool in its namespace, by `toolset/tool`."""


class _Connection:
    """A host's stream: a list of instructions and one future."""

    __slots__ = ("called", "gone", "in_use", "instructions", "registration", "tools", "wakeup")

    def __init__(self, registration: Registration, in_use: int) -> None:
        self.registration = registration
        self.tools = frozenset(tool.path for tool in registration.tools)
        self.in_use = in_use
        self.called = 0
        """Runs that were woken for its room and have not asked for it yet."""
        self.instructions: list[Instruction] = []
        self.wakeup: asyncio.Future[None] | None = None
        self.gone = False
        """Whether it is replaced or closed."""

    @property
    def room(self) -> int:
        return self.registration.capacity - self.in_use

    def send(self, instruction: Instruction) -> None:
        """Queue an instruction. Bounded by the capacity: an invocation and a cancellation for each
        lease."""
        self.instructions.append(instruction)
        self.wake()

    def wake(self) -> None:
        if self.wakeup and not self.wakeup.done():
            self.wakeup.set_result(None)


class Hosts:
    """Every connected host of the daemon. Lives on the event loop."""

    def __init__(self, leases: Leases, clock: Clock, entropy: Entropy, limits: LeaseLimits) -> None:
        self._leases = leases
        self._clock = clock
        self._entropy = entropy
        self._limits = limits
        self._connections: dict[tuple[Namespace, HostId], _Connection] = {}
        self._taken: Counter[tuple[Namespace, HostId]] = Counter()
        """Room for leases that are being recorded: a host may connect again meanwhile."""
        self._offering: dict[_Place, list[_Connection]] = {}
        self._waiting: dict[_Place, OrderedDict[RunKey, RunIdentity]] = {}
        self._waits: dict[RunKey, list[_Place]] = {}
        self._called: dict[RunKey, list[_Connection]] = {}
        """The connections for whose room a run was woken."""
        self._draining = False
        self.wake: Callable[[RunIdentity], None]
        """Has a run look again for room; set by the composition of the runtime."""

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
        return (namespace, path) in self._offering

    async def connect(
        self, registration: Registration
    ) -> AsyncGenerator[Sequence[Instruction], None]:
        """Yield what a host is to do until it is replaced or goes away.

        Raises Conflict (HOST_REPLACED) when the host has connected again.
        """
        place = (registration.namespace, registration.host)
        earlier = self._connections.get(place)
        if earlier:
            earlier.gone = True
            earlier.wake()
        elif len(self._connections) >= self._limits.max_hosts:
            raise _too_many(self._limits.max_hosts)
        connection = self._open(registration)
        self._connections[place] = connection
        for path in connection.tools:
            self._offering.setdefault((registration.namespace, path), []).append(connection)
        self._offer_room(connection)
        try:
            while not connection.gone:
                if not connection.instructions:
                    connection.wakeup = asyncio.get_running_loop().create_future()
                    await connection.wakeup
                instructions, connection.instructions = connection.instructions, []
                if instructions:
                    yield instructions
            message = f"host {registration.host} has connected again"
            raise Conflict(Reason.HOST_REPLACED, message, metadata={"host": registration.host})
        finally:
            self._close(place, connection)

    def recall(self, paths: Collection[str]) -> None:
        """Wake the runs that wait for a host of tools which this process now has itself."""
        for place in [place for place in self._waiting if place[1] in paths]:
            for run in tuple(self._waiting[place].values()):
                self._stop_waiting(place, run.key)
                self.wake(run)

    # What runs ask for.

    def acquire(self, run: RunIdentity, path: str) -> HostId | None:
        """Return a connected host that offers the tool and has room, and take the room; or None,
        and have the run woken when there is one."""
        place = (run.namespace, path)
        offering = self._offering.get(place)
        present = (each for each in offering or () if not each.gone)
        best = max(present, key=_room, default=None)
        if best is None or best.room <= 0 or self._draining:
            self._waiting.setdefault(place, OrderedDict())[run.key] = run
            places = self._waits.setdefault(run.key, [])
            if place not in places:
                places.append(place)
            return None
        best.in_use += 1
        host = best.registration.host
        self._taken[run.namespace, host] += 1
        return host

    def give_back(self, run: RunIdentity, host: HostId) -> None:
        """Return room that was taken for a lease that is not to be."""
        self._settle(run, host)
        self._free(run, host)

    def pass_on(self, run: RunIdentity) -> None:
        """Offer the next what is left of the room that a run was woken for, once it has asked for
        all it wants: it may want none of it any more, or have found room elsewhere."""
        for connection in self._called.pop(run.key, ()):
            connection.called -= 1
            self._offer_room(connection)

    def forget(self, run: RunIdentity) -> None:
        """Stop waking a run that has ended."""
        for place in tuple(self._waits.get(run.key, ())):
            self._stop_waiting(place, run.key)
        self.pass_on(run)

    def new_token(self, host: HostId) -> str:
        """Return the token of a new lease: it proves the lease, and names its host."""
        return f"{host}/{self._entropy.token()}"

    def lease(self, run: RunIdentity, host: HostId, tool: Tool, invocation: Invocation) -> None:
        """Send an invocation whose lease is durable, into room that was taken."""
        self._settle(run, host)
        lease = self._new_lease(run, host, tool, invocation)
        connection = self._connections.get((run.namespace, host))
        if connection:
            connection.send(lease.invocation)

    def adopt(self, run: RunIdentity, host: HostId, tool: Tool, invocation: Invocation) -> None:
        """Take over a lease from the journal, for a full term. A host that was welcomed before the
        run was read back is welcomed again: an invocation would say that nobody has begun it."""
        if self._leases.find(run, invocation.call):
            return
        lease = self._new_lease(run, host, tool, invocation)
        connection = self._connections.get((run.namespace, host))
        if connection:
            connection.in_use += 1
            connection.send(Welcome(self._limits.lease_ms, (lease.invocation,)))

    def stop(self, run: RunIdentity, call: CallId, reason: str, timeout_ms: int) -> None:
        """Ask the host of a call to stop it; at the deadline it is given up."""
        lease = self._leases.find(run, call)
        if lease:
            self.ask_to_stop(lease, reason, self._clock.now_ms() + timeout_ms)

    def ask_to_stop(self, lease: Lease, reason: str, deadline_ms: int) -> None:
        """Send a cancellation, once for each lease."""
        if lease.stop_ms:
            lease.stop_ms = min(lease.stop_ms, deadline_ms)
            return
        lease.stop_ms = deadline_ms
        connection = self._connections.get((lease.run.namespace, lease.host))
        if connection:
            asked = lease.invocation
            connection.send(
                Cancellation(asked.run, asked.call, asked.attempt, asked.token, reason, deadline_ms)
            )

    def extend(self, lease: Lease) -> None:
        """Let a lease last for a full term from now."""
        lease.expire_ms = self._clock.now_ms() + self._limits.lease_ms

    def release(self, run: RunIdentity, call: CallId) -> None:
        """Drop the lease of a call that has an outcome, and offer its room to the next."""
        lease = self._leases.remove(run, call)
        if lease:
            self._free(run, lease.host)

    def drain(self) -> None:
        """Tell every host that the daemon is going down, and give no new calls out."""
        self._draining = True
        for connection in self._connections.values():
            connection.send(HostDrain())

    # Inside.

    def _open(self, registration: Registration) -> _Connection:
        leases = self._leases.of_host(registration.namespace, registration.host)
        taken = self._taken[registration.namespace, registration.host]
        connection = _Connection(registration, len(leases) + taken)
        invocations = tuple(lease.invocation for lease in leases)
        connection.send(Welcome(self._limits.lease_ms, invocations))
        if self._draining:
            connection.send(HostDrain())
        return connection

    def _settle(self, run: RunIdentity, host: HostId) -> None:
        """Count room as taken no more: it became a lease, or is given back."""
        place = (run.namespace, host)
        self._taken[place] -= 1
        if not self._taken[place]:
            del self._taken[place]

    def _free(self, run: RunIdentity, host: HostId) -> None:
        connection = self._connections.get((run.namespace, host))
        if connection:
            connection.in_use -= 1
            self._offer_room(connection)

    def _new_lease(
        self, run: RunIdentity, host: HostId, tool: Tool, invocation: Invocation
    ) -> Lease:
        expire_ms = self._clock.now_ms() + self._limits.lease_ms
        invocation = replace(invocation, lease_expire_time_ms=expire_ms)
        lease = Lease(run, host, tool, invocation, expire_ms)
        self._leases.add(lease)
        return lease

    def _offer_room(self, connection: _Connection) -> None:
        """Wake as many waiting runs as the host has room for, in the order of their waiting."""
        room = connection.room - connection.called
        if not self._waiting or connection.gone or self._draining:
            return
        for path in connection.tools:
            place = (connection.registration.namespace, path)
            while room > 0 and place in self._waiting:
                run = next(iter(self._waiting[place].values()))
                self._stop_waiting(place, run.key)
                self._called.setdefault(run.key, []).append(connection)
                connection.called += 1
                room -= 1
                self.wake(run)

    def _stop_waiting(self, place: _Place, key: RunKey) -> None:
        del self._waiting[place][key]
        if not self._waiting[place]:
            del self._waiting[place]
        self._waits[key].remove(place)
        if not self._waits[key]:
            del self._waits[key]

    def _close(self, place: tuple[Namespace, HostId], connection: _Connection) -> None:
        connection.gone = True
        if self._connections.get(place) is connection:
            del self._connections[place]
        for path in connection.tools:
            offering = self._offering[place[0], path]
            offering.remove(connection)
            if not offering:
                del self._offering[place[0], path]


def _room(connection: _Connection) -> int:
    return connection.room


def _too_many(limit: int) -> Exhausted:
    metadata = {"limit": "max_hosts", "value": str(limit)}
    message = f"{limit} hosts are connected"
    return Exhausted(Reason.LIMIT_REACHED, message, metadata=metadata, retry_after_s=1.0)
