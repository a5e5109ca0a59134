"""What a host reports: outcomes until they count, notes while they are fresh, leases at a third."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TypeVar

from agentd.client.execution import Execution, failed_outcome
from agentd.client.transport import Transport
from agentd.errors import AgentdError, Denied, Exhausted, InvalidRequest, Reason, Unsupported
from agentd.v1.tool_host_service_pb2 import (
    CompleteCallsRequest,
    CompleteCallsResponse,
    Completion,
    ExtendLeasesRequest,
    ExtendLeasesResponse,
    LeaseExtension,
    LeaseResult,
    LeaseStatus,
    ProgressReport,
    ReportProgressRequest,
    ReportProgressResponse,
)

BATCH_COUNT = 1000
"""The most reports of one request, as the contract says."""
BATCH_BYTES = 1024 * 1024
"""Where a batch of completions ends; a single larger one is sent alone."""
NOTES_INTERVAL_S = 0.1
ENDED_COUNT = 10_000
"""How many ended attempts are remembered, so that a lease listed late is not executed again."""
LATE_COUNT = 100
"""How many outcomes that came too late are kept, in case the daemon asks for them."""

_LOG = logging.getLogger("agentd.client")
_GONE = (LeaseResult.LEASE_RESULT_STALE_LEASE, LeaseResult.LEASE_RESULT_NOT_FOUND)

Key = tuple[str, int]
V = TypeVar("V")


class Reports:
    """The attempts that a host has, and three loops that report on them until cancelled."""

    def __init__(self, transport: Transport) -> None:
        self.active: dict[Key, Execution] = {}
        """Every attempt whose outcome does not count yet."""
        self.lease_s = 30.0
        """How long a lease lasts, as the daemon's welcome said."""
        self.idle = asyncio.Event()
        """Set while nothing is active."""
        self.idle.set()
        self._transport = transport
        self._ended: dict[Key, None] = {}
        self._late: dict[Key, Execution] = {}
        self._outbox: dict[Key, Execution] = {}
        self._outcomes = asyncio.Event()
        self._notes: dict[Key, tuple[str, float]] = {}
        self._noted = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def add(self, execution: Execution) -> None:
        """Take an attempt on."""
        self.active[execution.key] = execution
        self.idle.clear()

    def has_ended(self, key: Key) -> bool:
        """Whether an attempt was executed here and its report was answered, as far as is known."""
        return key in self._ended

    def take_late(self, key: Key) -> Execution | None:
        """Return an attempt whose outcome came too late to count, now that it is asked for again:
        its lease was given anew, or the daemon probes what became of it."""
        return self._late.pop(key, None)

    def send(self, execution: Execution) -> None:
        """Report the outcome of an attempt, again and again until it is answered."""
        self._outbox[execution.key] = execution
        self._outcomes.set()

    def note(self, key: Key, message: str, fraction: float) -> None:
        """Send a note on the progress of an attempt. May be called from any thread."""
        self._loop.call_soon_threadsafe(self._keep_note, key, message, fraction)

    def _keep_note(self, key: Key, message: str, fraction: float) -> None:
        if key in self.active:
            self._notes[key] = (message.encode()[:4096].decode(errors="ignore"), fraction)
            self._noted.set()

    async def send_outcomes(self) -> None:
        """Report outcomes in batches: whatever is waiting, at once."""
        pauses = self._transport.retry.pauses()
        while True:
            await self._outcomes.wait()
            self._outcomes.clear()
            while self._outbox:
                if await self._send(_batch(list(self._outbox.values()))):
                    pauses = self._transport.retry.pauses()
                else:
                    await asyncio.sleep(next(pauses))

    async def _send(self, batch: Sequence[Execution]) -> bool:
        """Send a batch; return False when it is to be sent again later."""
        sent = [_completion(execution) for execution in batch]
        request = CompleteCallsRequest(completions=sent)
        try:
            answer = await self._transport.call(request, CompleteCallsResponse)
        except AgentdError as error:
            if isinstance(error, Denied | Unsupported):
                raise
            if not _is_too_much(error):
                _LOG.debug("outcomes are kept until the daemon takes them: %s", error)
                return False
            return await self._send_smaller(batch, error)
        for execution, completion, status in zip(batch, sent, answer.statuses, strict=True):
            self._answered(execution, completion, status)
        return True

    async def _send_smaller(self, batch: Sequence[Execution], error: AgentdError) -> bool:
        """Find the completion that the daemon refuses, and report a failure in its place."""
        if len(batch) > 1:
            return all([await self._send([execution]) for execution in batch])
        self._refused(batch[0], _completion(batch[0]), str(error))
        return True

    def _answered(self, execution: Execution, sent: Completion, status: LeaseStatus) -> None:
        if status.result == LeaseResult.LEASE_RESULT_INVALID:
            self._refused(execution, sent, "the daemon refused the result as not valid")
            return
        if status.result in _GONE:
            if execution.completion is not sent:
                return  # The lease was given anew while the report was under way: send it again.
            _LOG.warning("the outcome of %s came too late, and is kept as evidence", status.call)
            _remember(self._late, execution.key, execution, LATE_COUNT)
        self._remove(execution)

    def _refused(self, execution: Execution, sent: Completion, why: str) -> None:
        if sent.WhichOneof("outcome") == "error_message":
            _LOG.error("the daemon does not take the outcome of %s: %s", sent.call, why)
            self._remove(execution)
        else:
            execution.completion = failed_outcome(sent, why)

    def _remove(self, execution: Execution) -> None:
        key = execution.key
        if self._outbox.get(key) is execution:
            del self._outbox[key]
        if self.active.get(key) is execution:  # Else a probe of the same attempt has its place.
            del self.active[key]
            self._notes.pop(key, None)
        _remember(self._ended, key, None, ENDED_COUNT)
        if not self.active:
            self.idle.set()

    async def send_notes(self) -> None:
        """Send the newest note of each attempt, at most ten times a second."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            notes, self._notes = self._notes, {}
            reports = [
                ProgressReport(
                    call=execution.invocation.call,
                    attempt=execution.invocation.attempt,
                    lease_token=execution.invocation.lease_token,
                    message=message,
                    fraction=fraction,
                )
                for key, (message, fraction) in notes.items()
                if (execution := self.active.get(key))
            ]
            for start in range(0, len(reports), BATCH_COUNT):
                request = ReportProgressRequest(reports=reports[start : start + BATCH_COUNT])
                try:
                    await self._transport.call(request, ReportProgressResponse)
                except AgentdError as error:  # A note that is lost is not worth repeating.
                    _LOG.debug("progress was not reported: %s", error)
            await asyncio.sleep(NOTES_INTERVAL_S)

    async def extend_leases(self) -> None:
        """Extend the leases of every attempt at a third of their length."""
        while True:
            await asyncio.sleep(self.lease_s / 3)
            held = list(self.active.values())
            for start in range(0, len(held), BATCH_COUNT):
                await self._extend(held[start : start + BATCH_COUNT])

    async def _extend(self, held: Sequence[Execution]) -> None:
        leases = [
            LeaseExtension(
                call=execution.invocation.call,
                attempt=execution.invocation.attempt,
                lease_token=execution.invocation.lease_token,
            )
            for execution in held
        ]
        request = ExtendLeasesRequest(leases=leases)
        try:
            answer = await self._transport.call(request, ExtendLeasesResponse)
        except AgentdError as error:  # The lease outlives the daemon: what runs, runs on.
            _LOG.debug("leases were not extended: %s", error)
            return
        for execution, lease, status in zip(held, leases, answer.statuses, strict=True):
            current = execution.invocation.lease_token == lease.lease_token
            if status.result in _GONE and current:
                execution.stop("its lease has ended")


def _remember(memory: dict[Key, V], key: Key, value: V, count: int) -> None:
    memory[key] = value
    if len(memory) > count:
        del memory[next(iter(memory))]


def _completion(execution: Execution) -> Completion:
    assert execution.completion is not None, "only ended attempts are in the outbox"
    return execution.completion


def _batch(waiting: Sequence[Execution]) -> Sequence[Execution]:
    size = 0
    for count, execution in enumerate(waiting[:BATCH_COUNT]):
        size += _completion(execution).ByteSize()
        if size > BATCH_BYTES:
            return waiting[: max(count, 1)]
    return waiting[:BATCH_COUNT]


def _is_too_much(error: AgentdError) -> bool:
    if isinstance(error, Exhausted):
        # gRPC itself refuses a message above its limit, without a reason of ours.
        too_large = error.reason in (Reason.TOO_LARGE, Reason.LIMIT_REACHED)
        return too_large and error.retry_after_s is None
    return isinstance(error, InvalidRequest)
