"""What hosts report: registrations, outcomes and progress.

Nothing here decides about a run: an outcome is handed to it as a posting, and counts once it is
durable. What does not count is kept as evidence.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from agentd.agent.events import CallEvidenceKept, Event
from agentd.agent.hosting import (
    Completion,
    Failed,
    Instruction,
    LeaseRef,
    LeaseResult,
    LeaseStatus,
    Outcome,
    OutcomeUnknown,
    Progress,
    Registration,
    Succeeded,
)
from agentd.agent.ids import HostId, Namespace
from agentd.agent.state import State
from agentd.errors import Conflict, Exhausted, Reason
from agentd.runtime.hosts import Hosts
from agentd.runtime.leases import Lease, Leases, completed
from agentd.runtime.manifests import Manifests
from agentd.runtime.reading import Reading
from agentd.runtime.scheduler import Scheduler
from agentd.runtime.watch import CallProgress, Delta, Watches
from agentd.tools.schema import compile_result

MAX_EVIDENCE = 64
"""Late completions kept for one run."""


class Hosting:
    """The side of the runtime that hosts speak to."""

    def __init__(
        self,
        *,
        manifests: Manifests,
        scheduler: Scheduler,
        reading: Reading,
        watches: Watches,
        hosts: Hosts,
        leases: Leases,
    ) -> None:
        self._manifests = manifests
        self._scheduler = scheduler
        self._reading = reading
        self._watches = watches
        self._hosts = hosts
        self._leases = leases

    async def watch_calls(
        self, registration: Registration
    ) -> AsyncGenerator[Sequence[Instruction], None]:
        """Register a host and its tools, then yield what it is to do.

        Raises InvalidRequest for a manifest that is not valid, and Conflict (HOST_REPLACED) when
        the host has connected again.
        """
        await self._manifests.register(registration.namespace, registration.tools)
        async with aclosing(self._hosts.connect(registration)) as instructions:
            async for batch in instructions:
                yield batch

    async def complete(
        self, namespace: Namespace, completions: Sequence[Completion]
    ) -> Sequence[LeaseStatus]:
        """Record the outcomes of attempts. Those with the status OK are durable."""
        if len(completions) == 1:
            return [await self._complete(namespace, completions[0])]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._complete(namespace, completion))
                    for completion in completions
                ]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def report_progress(
        self, namespace: Namespace, reports: Sequence[Progress]
    ) -> Sequence[LeaseStatus]:
        """Pass notes on to watchers, and extend the leases they belong to."""
        statuses = []
        for report in reports:
            statuses.append(await self._extend(namespace, report.lease))
            lease = self._leases.proved(namespace, report.lease)
            if lease:
                note = CallProgress(report.message, report.fraction)
                asked = lease.invocation
                index = lease.progress_count
                lease.progress_count += 1
                delta = Delta(lease.run, asked.call, asked.attempt, index, note)
                self._watches.publish_delta(delta)
        return statuses

    async def extend(
        self, namespace: Namespace, leases: Sequence[LeaseRef]
    ) -> Sequence[LeaseStatus]:
        """Extend leases to a full term from now."""
        return [await self._extend(namespace, lease) for lease in leases]

    async def _complete(self, namespace: Namespace, completion: Completion) -> LeaseStatus:
        ref = completion.lease
        lease = await self._proved(namespace, ref)
        if lease is None:
            return await self._keep_evidence(namespace, completion)
        outcome = completion.outcome
        fault = None
        if isinstance(outcome, Succeeded):
            if not _is_json(outcome.result_json):
                return LeaseStatus(ref, LeaseResult.INVALID)
            fault = compile_result(lease.tool).check(outcome.result_json)
        try:
            await self._scheduler.settle(lease.run, completed, lease, outcome, fault)
        except Conflict:
            return await self._keep_evidence(namespace, completion)
        return LeaseStatus(ref, LeaseResult.OK)

    async def _keep_evidence(self, namespace: Namespace, completion: Completion) -> LeaseStatus:
        ref = completion.lease
        run = await self._reading.find(namespace, ref.run)
        if run is None or not await self._reading.has_call(run, ref.call):
            return LeaseStatus(ref, LeaseResult.NOT_FOUND)
        result_json, message = _told(completion.outcome)
        host = HostId(ref.token.partition("/")[0][:63])
        event = CallEvidenceKept(ref.call, host, ref.attempt, result_json, message)
        with contextlib.suppress(Exhausted):
            await self._scheduler.settle(run, _evidence, event)
        return LeaseStatus(ref, LeaseResult.STALE_LEASE)

    async def _proved(self, namespace: Namespace, ref: LeaseRef) -> Lease | None:
        """Return the lease that a report proves to have, perhaps of a run that has to be read back
        first: after a restart its leases are only in the journal."""
        lease = self._leases.proved(namespace, ref)
        if lease is None:
            run = await self._reading.find(namespace, ref.run)
            if run:
                await self._scheduler.read_back(run)
                lease = self._leases.proved(namespace, ref)
        return lease

    async def _extend(self, namespace: Namespace, ref: LeaseRef) -> LeaseStatus:
        lease = await self._proved(namespace, ref)
        if lease is None:
            known = await self._reading.find(namespace, ref.run)
            result = LeaseResult.STALE_LEASE if known else LeaseResult.NOT_FOUND
            return LeaseStatus(ref, result)
        self._hosts.extend(lease)
        return LeaseStatus(ref, LeaseResult.OK, lease.expire_ms)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    return True


def _evidence(state: State, event: CallEvidenceKept) -> Event:
    if state.evidence >= MAX_EVIDENCE:
        message = f"the run keeps {MAX_EVIDENCE} late completions already"
        raise Exhausted(Reason.LIMIT_REACHED, message)
    return event


def _told(outcome: Outcome) -> tuple[str, str]:
    """Return the result and the error that a late completion carried."""
    match outcome:
        case Succeeded(result_json=result_json):
            return result_json, ""
        case Failed(message=message) | OutcomeUnknown(message=message):
            return "", message
        case _:
            return "", type(outcome).__name__
