"""Runs: creating, steering, ending and reading them. Knows no protobuf and no transport."""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from agentd.agent.call import Call
from agentd.agent.events import (
    CallEnded,
    CallRetried,
    CancelEntry,
    CancelOutcome,
    Event,
    MessagePosted,
    RunCancelling,
    RunCreated,
    RunPaused,
    RunResumed,
    RunState,
)
from agentd.agent.hosting import Abandon, Reconciled, ReconciledFailure, Resolution, Retry
from agentd.agent.ids import CallId, Namespace, RunId, RunIdentity
from agentd.agent.run import Run
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallError, CallErrorReason, CallState
from agentd.context.transcript import Transcript
from agentd.errors import Conflict, Exhausted, Reason, Unavailable
from agentd.protocol.machine import evolve
from agentd.runtime.claims import RequestClaims, request_digest
from agentd.runtime.ports import Entropy, Journal, Record
from agentd.runtime.reading import Reading
from agentd.runtime.scheduler import Scheduler
from agentd.runtime.sessions import Sessions
from agentd.runtime.starting import NewRun, RunLimits, Starting

MAX_UNREAD = 1_000
"""Messages that may wait for a run's next turn."""
_CANCEL_MARGIN_S = 1.0
"""How much longer than its timeout a cancel is waited for, so that the report is complete."""


class CancelReport(msgspec.Struct, frozen=True):
    """What became of everything that was in progress when a run was cancelled."""

    run: RunId
    state: RunState
    entries: tuple[CancelEntry, ...]
    complete: bool
    elapsed_ms: int


class Engine:
    """The runs of a daemon."""

    def __init__(
        self,
        *,
        journal: Journal,
        sessions: Sessions,
        claims: RequestClaims,
        starting: Starting,
        scheduler: Scheduler,
        reading: Reading,
        entropy: Entropy,
        limits: RunLimits,
    ) -> None:
        self._journal = journal
        self._sessions = sessions
        self._claims = claims
        self._starting = starting
        self._scheduler = scheduler
        self._reading = reading
        self._entropy = entropy
        self._limits = limits

    # Creating.

    async def create_run(self, request: NewRun, *, request_id: str = "") -> tuple[Run, int]:
        """Create a run; return it and the revision to watch after once it is durable.

        Raises NotFound (AGENT_NOT_FOUND, MODEL_NOT_FOUND, TOOL_NOT_FOUND, SESSION_NOT_FOUND),
        AlreadyExists (NAME_TAKEN), Conflict (NO_MODEL), InvalidRequest (REQUEST_ID_REUSED) and
        Unavailable (DRAINING).
        """
        if self._scheduler.draining:
            raise _draining()
        if self._scheduler.unfinished_count >= self._limits.max_unfinished:
            raise _too_many(self._limits.max_unfinished)
        # A caller that goes away must not leave a run that is stored and that nobody drives.
        return await self._scheduler.errands.run(partial(self._create_once, request, request_id))

    async def _create_once(self, request: NewRun, request_id: str) -> tuple[Run, int]:
        namespace, method = request.namespace, "CreateRun"
        digest = request_digest(request) if request_id else ""
        async with self._claims.hold(namespace, request_id):
            answer = await self._claims.find(namespace, request_id, method, digest)
            if answer is not None:
                name, _, first = answer.partition("@")
                return await self._reading.get_run(namespace, RunId(name)), int(first)
            run_id = request.id or RunId(self._entropy.id("r"))
            revision = self._journal.revision
            records = self._claims.records(
                namespace, request_id, method, digest, f"{run_id}@{revision}"
            )
            if request.session is None:
                return await self._create(
                    await self._starting.describe(request, run_id), records
                ), revision
            # Described under the session's lock, so that its runs are counted as they are created.
            async with self._sessions.hold_session(namespace, request.session):
                run = await self._starting.describe(request, run_id)
                record = await self._sessions.session_run(namespace, request.session, run_id)
                return await self._create(run, (*records, record)), revision

    async def _create(self, run: Run, records: Sequence[Record]) -> Run:
        identity, spec = run.identity, run.spec
        created = RunCreated(
            identity.agent, spec.agent_revision, spec.goal, spec.budget, identity.session
        )
        try:
            await self._journal.create_run(run, (created,), records)
        except Unavailable:
            # Nobody knows whether it is stored. If it is, it has to be driven like any other.
            stored = await self._journal.get_run(identity.namespace, identity.id)
            if stored is None or stored.run.identity != identity:
                raise
        driver = self._scheduler.driver(identity)
        transcript = Transcript()
        transcript.add(created)
        driver.begin_fresh(run, evolve(State(), created), transcript)
        self._scheduler.add(driver)
        return run

    # Steering.

    async def send_message(
        self, namespace: Namespace, run: RunId, text: str, *, request_id: str = ""
    ) -> int:
        """Give a run a message of the user; return its event's revision.

        Raises Conflict (WRONG_RUN_STATE) when the run has ended or is being cancelled.
        """
        identity = (await self._reading.get_run(namespace, run)).identity
        return await self._scheduler.errands.run(
            partial(self._send_once, identity, text, request_id)
        )

    async def _send_once(self, identity: RunIdentity, text: str, request_id: str) -> int:
        namespace, method = identity.namespace, "SendMessage"
        digest = request_digest((identity.id, text)) if request_id else ""
        async with self._claims.hold(namespace, request_id):
            answer = await self._claims.find(namespace, request_id, method, digest)
            if answer is not None:
                return int(answer)
            try:
                revision = await self._scheduler.settle(identity, _post_message, text, request_id)
            except _AlreadyPosted:
                revision = await self._revision_of(identity, request_id)
            records = self._claims.records(namespace, request_id, method, digest, str(revision))
            if records:
                await self._journal.put(records)
            return revision

    async def _revision_of(self, run: RunIdentity, request_id: str) -> int:
        """Return the revision of the message that a request brought before a crash kept its claim
        from being stored."""
        for entry in await self._journal.read_run(run):
            if isinstance(entry.event, MessagePosted) and entry.event.request_id == request_id:
                return entry.revision
        raise AssertionError("a message that was seen is in the journal")

    async def pause_run(self, namespace: Namespace, run: RunId) -> Run:
        """Stop new work of a run. Raises Conflict (WRONG_RUN_STATE)."""
        present = await self._reading.get_run(namespace, run)
        if present.view.state is not RunState.PAUSED:
            await self._scheduler.settle(present.identity, _pause)
        return await self._reading.get_run(namespace, run)

    async def resume_run(self, namespace: Namespace, run: RunId) -> Run:
        """Let a paused run go on. Raises Conflict (WRONG_RUN_STATE)."""
        identity = (await self._reading.get_run(namespace, run)).identity
        await self._scheduler.settle(identity, _resume)
        return await self._reading.get_run(namespace, run)

    async def cancel_run(
        self, namespace: Namespace, run: RunId, *, reason: str, timeout_ms: int
    ) -> tuple[CancelReport, Run]:
        """Cancel a run and say what became of everything that was in progress.

        Raises Conflict (WRONG_RUN_STATE) when the run has ended otherwise.
        """
        loop = asyncio.get_running_loop()
        start = loop.time()
        present = await self._reading.get_run(namespace, run)
        if present.view.state not in (RunState.CANCELLED, RunState.CANCELLING):
            await self._scheduler.settle(present.identity, _cancel, reason, timeout_ms)
        ended = await self._reading.wait_run(namespace, run, timeout_ms / 1000 + _CANCEL_MARGIN_S)
        elapsed_ms = int((loop.time() - start) * 1000)
        return await self._report(ended, elapsed_ms), ended

    async def resolve_call(
        self,
        namespace: Namespace,
        run: RunId,
        call: CallId,
        resolution: Resolution,
        reason: str,
    ) -> Call:
        """Say what became of a call whose outcome is unknown.

        Raises NotFound (CALL_NOT_FOUND), Conflict (WRONG_CALL_STATE).
        """
        present = await self._reading.get_call(namespace, run, call)
        if present.state is not CallState.UNKNOWN:
            raise _wrong_call_state(run, call, present.state)
        identity = (await self._reading.get_run(namespace, run)).identity
        await self._scheduler.settle(identity, _resolve, call, resolution, reason)
        return await self._reading.get_call(namespace, run, call)

    # Inside.

    async def _report(self, run: Run, elapsed_ms: int) -> CancelReport:
        """Report from the journal: a run that waits for its hosts may have left memory."""
        state = State()
        for entry in await self._journal.read_run(run.identity):
            state = evolve(state, entry.event)
        entries = (*state.cancel_entries, *_still_running(state))
        running = any(entry.outcome is CancelOutcome.STILL_RUNNING for entry in entries)
        complete = state.run.ended and not running
        return CancelReport(run.identity.id, state.run, entries, complete, elapsed_ms)


def _still_running(state: State) -> list[CancelEntry]:
    running = [
        CancelEntry(f"calls/{call.id}", CancelOutcome.STILL_RUNNING, f"at host {call.host}")
        for call in state.calls
        if call.state is CallState.LEASED
    ]
    running += [
        CancelEntry(f"requests/{flight.turn}", CancelOutcome.STILL_RUNNING, flight.model)
        for flight in state.flights
    ]
    return running


class _AlreadyPosted(Conflict):
    """The message is in the journal, although its claim is not."""


def _post_message(state: State, text: str, request_id: str) -> Event:
    if request_id and request_id in state.messages_seen:
        raise _AlreadyPosted(Reason.REQUEST_ID_REUSED, "the message was posted before")
    if state.run.ended or state.stopping:
        raise _wrong_run_state(state, "given a message")
    if state.unread >= MAX_UNREAD:
        limit = {"limit": "unread_messages", "value": str(MAX_UNREAD)}
        message = f"{MAX_UNREAD} messages wait for the run's next turn"
        raise Exhausted(Reason.LIMIT_REACHED, message, metadata=limit)
    return MessagePosted(text, request_id)


def _pause(state: State) -> Event:
    if state.run not in (RunState.PENDING, RunState.RUNNING, RunState.WAITING):
        raise _wrong_run_state(state, "paused")
    return RunPaused()


def _resume(state: State) -> Event:
    if state.run is not RunState.PAUSED:
        raise _wrong_run_state(state, "resumed")
    return RunResumed()


def _cancel(state: State, reason: str, timeout_ms: int) -> Event:
    if state.run.ended or state.stopping:
        raise _wrong_run_state(state, "cancelled")
    return RunCancelling(RunState.CANCELLED, reason, timeout_ms)


def _resolve(state: State, call: CallId, resolution: Resolution, reason: str) -> Event:
    present = state.call(call)
    if present is None or present.state is not CallState.UNKNOWN:
        raise Conflict(
            Reason.WRONG_CALL_STATE,
            f"call {call} is not UNKNOWN",
            metadata={"call": call, "state": present.state.name if present else "ended"},
        )
    return _resolved(present, resolution, reason)


def _resolved(call: OpenCall, resolution: Resolution, reason: str) -> Event:
    note = reason or "decided by a person"
    match resolution:
        case Reconciled(result_json=result_json):
            ended = CallState.RECONCILED
            return CallEnded(call.id, call.attempt, ended, result_json, resolution=note)
        case ReconciledFailure(message=message):
            error = CallError(CallErrorReason.TOOL_FAILED, message)
            return CallEnded(call.id, call.attempt, CallState.FAILED, error=error, resolution=note)
        case Retry():
            return CallRetried(call.id, note)
        case Abandon():
            message = "The outcome of this call is unknown, and nobody could find it out."
            error = CallError(call.unknown_reason or CallErrorReason.HOST_LOST, message)
            return CallEnded(
                call.id, call.attempt, CallState.ABANDONED, error=error, resolution=note
            )


def _wrong_run_state(state: State, action: str) -> Conflict:
    return Conflict(
        Reason.WRONG_RUN_STATE,
        f"the run is {state.run.name} and cannot be {action}",
        metadata={"state": state.run.name},
    )


def _wrong_call_state(run: RunId, call: CallId, state: CallState) -> Conflict:
    name = f"runs/{run}/calls/{call}"
    return Conflict(
        Reason.WRONG_CALL_STATE,
        f"call {name} is {state.name}, not UNKNOWN",
        metadata={"call": name, "state": state.name},
    )


def _draining() -> Unavailable:
    return Unavailable(Reason.DRAINING, "the daemon is going down", retry_after_s=1.0)


def _too_many(limit: int) -> Exhausted:
    message = f"{limit} runs have not ended"
    metadata = {"limit": "max_unfinished", "value": str(limit)}
    return Exhausted(Reason.LIMIT_REACHED, message, metadata=metadata, retry_after_s=1.0)
