"""The end of leases whose hosts do not report: their expiry, and the deadlines of their calls."""

import asyncio

from agentd.agent.tool import CallErrorReason
from agentd.runtime.hosts import Hosts
from agentd.runtime.leases import Lease, LeaseLimits, Leases, given_up
from agentd.runtime.ports import Clock
from agentd.runtime.scheduler import Scheduler


class Expiry:
    """Looks at every lease of the daemon."""

    def __init__(
        self, scheduler: Scheduler, hosts: Hosts, leases: Leases, clock: Clock, limits: LeaseLimits
    ) -> None:
        self._scheduler = scheduler
        self._hosts = hosts
        self._leases = leases
        self._clock = clock
        self._limits = limits

    async def keep(self) -> None:
        """Expire leases and time calls out, for as long as the daemon lives."""
        while True:
            await asyncio.sleep(self._limits.sweep_s)
            now = self._clock.now_ms()
            for lease in self._leases:
                self._look_at(lease, now)

    def _look_at(self, lease: Lease, now: int) -> None:
        if lease.stop_ms and lease.stop_ms <= now:
            self._give_up(lease, CallErrorReason.TIMEOUT, "it did not stop in time")
        elif lease.expire_ms <= now:
            message = f"host {lease.host} was lost: its lease was not extended"
            self._give_up(lease, CallErrorReason.HOST_LOST, message)
        elif not lease.stop_ms and lease.invocation.deadline_ms <= now:
            lease.timed_out = True
            deadline_ms = now + self._limits.stop_grace_ms
            self._hosts.ask_to_stop(lease, "the call timed out", deadline_ms)

    def _give_up(self, lease: Lease, reason: CallErrorReason, message: str) -> None:
        """Have the run record that an attempt ended without an outcome. The lease stays until it
        has: a completion that arrives first still counts."""
        lease.stop_ms = 0
        self._hosts.extend(lease)
        self._scheduler.settle_soon(lease.run, given_up, lease, reason, message)
