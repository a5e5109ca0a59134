"""A journal in memory with the promises of the port, faults on order, and no thread.

Time passes by the event loop alone, so it works on a loop with virtual time. What is stored is
encoded, as in a real journal: what is read is never the object that was written.
"""

import asyncio
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from enum import Enum

from agentd.agent.events import Entry, Event
from agentd.agent.ids import Namespace, RunId, RunIdentity, RunKey
from agentd.agent.run import Run
from agentd.errors import (
    AgentdError,
    AlreadyExists,
    Conflict,
    Exhausted,
    NotFound,
    OutOfRange,
    Reason,
    Unavailable,
)
from agentd.runtime.codec import (
    decode_event,
    decode_spec,
    decode_state,
    decode_view,
    encode_event,
    encode_spec,
    encode_state,
    encode_view,
)
from agentd.runtime.ports import Checkpoint, Clock, Record, RunQuery, Selector, StoredRun

STRETCH = 1_000


class Outcome(Enum):
    """What becomes of a commit."""

    STORED = 1
    LOST = 2
    """The outcome is not known; nothing is stored."""
    KEPT = 3
    """The outcome is not known; everything is stored."""
    FULL = 4
    """The disk is full: nothing is stored."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What happens to one group commit."""

    outcome: Outcome = Outcome.STORED
    delay_s: float = 0.0


STORED = Commit()


@dataclass(slots=True)
class _Row:
    position: int
    run: RunIdentity
    sequence: int
    time_ms: int
    kind: int
    body: bytes

    def entry(self) -> Entry:
        event = decode_event(self.kind, self.body)
        return Entry(self.position, self.run, self.sequence, self.time_ms, event)


@dataclass(slots=True)
class _Run:
    identity: RunIdentity
    spec: bytes
    view: bytes
    snapshot: bytes | None = None
    snapshot_sequence: int = 0

    def stored(self, last_sequence: int) -> StoredRun:
        run = Run(self.identity, decode_spec(self.spec), decode_view(self.view))
        snapshot = None if self.snapshot is None else decode_state(self.snapshot)
        return StoredRun(run, snapshot, self.snapshot_sequence, last_sequence)


_RecordKey = tuple[str, str, str, int]


@dataclass(slots=True)
class _Disk:
    """What a crash leaves."""

    log: list[_Row] = field(default_factory=list)
    chains: dict[int, list[_Row]] = field(default_factory=dict)
    runs: dict[int, _Run] = field(default_factory=dict)
    names: dict[tuple[str, str], int] = field(default_factory=dict)
    records: dict[_RecordKey, Record] = field(default_factory=dict)

    def clone(self) -> "_Disk":
        return _Disk(
            list(self.log),
            {key: list(rows) for key, rows in self.chains.items()},
            {key: copy(run) for key, run in self.runs.items()},
            dict(self.names),
            dict(self.records),
        )

    def add(self, rows: Sequence[_Row]) -> None:
        for row in rows:
            self.log.append(row)
            self.chains.setdefault(row.run.key, []).append(row)


@dataclass(slots=True)
class _Write:
    """One request: `apply` stores it, or raises an AgentdError and stores nothing."""

    future: "asyncio.Future[object]"
    apply: Callable[[_Disk], object]
    entries: list[Entry]


class _Commits:
    """Requests on their way to the disk: what is queued is committed together.

    `plan` is asked before each group commit what happens to it; None means that all is well.
    """

    def __init__(self, plan: Callable[[], Commit] | None, disk: _Disk) -> None:
        self._plan = plan
        self._disk = disk
        self._listeners: list[Callable[[Sequence[Entry]], None]] = []
        self._queue: list[_Write] = []
        self._committing: list[_Write] = []
        self._timer: asyncio.Handle | None = None
        self._dead = False
        self._revision = disk.log[-1].position if disk.log else 0
        self._heads = self._durable_heads()

    @property
    def in_flight(self) -> int:
        """How many requests have no answer yet."""
        return len(self._queue) + len(self._committing)

    def _require_open(self) -> None:
        if self._dead:
            raise Unavailable(Reason.DRAINING, "the journal is closed")

    async def _submit(self, apply: Callable[[_Disk], object], entries: list[Entry]) -> object:
        self._require_open()
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._queue.append(_Write(future, apply, entries))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_soon(self._begin)
        return await future

    async def _barrier(self) -> None:
        if self._queue or self._committing:
            await self._submit(lambda _: None, [])

    def _begin(self) -> None:
        self._committing, self._queue = self._queue, []
        commit = STORED if self._plan is None else self._plan()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(commit.delay_s, self._end, commit.outcome)

    def _end(self, outcome: Outcome) -> None:
        writes, self._committing = self._committing, []
        self._timer = None
        if outcome is Outcome.STORED:
            answers = [_apply(write, self._disk) for write in writes]
            self._publish(writes, answers)
            for write, answer in zip(writes, answers, strict=True):
                _answer(write.future, answer)
        else:
            self._fail(writes, outcome)
        if self._queue and self._timer is None:
            self._timer = asyncio.get_running_loop().call_soon(self._begin)

    def _fail(self, writes: list[_Write], outcome: Outcome) -> None:
        # What was queued meanwhile follows from what failed, so it fails with it.
        behind, self._queue = self._queue, []
        kept = writes if outcome is Outcome.KEPT else []
        answers = [_apply(write, self._disk) for write in kept]
        self._heads = self._durable_heads()
        self._publish(kept, answers)
        for write in writes + behind:
            if outcome is Outcome.FULL:
                error: AgentdError = Exhausted(Reason.DISK_FULL, "the disk is full")
            else:
                error = Unavailable(Reason.OUTCOME_UNKNOWN, "the journal could not be written")
            _answer(write.future, error)

    def _publish(self, writes: list[_Write], answers: list[object]) -> None:
        entries: list[Entry] = []
        for write, answer in zip(writes, answers, strict=True):
            if not isinstance(answer, AgentdError):
                entries += write.entries
            elif write.entries:
                self._heads = self._durable_heads() | {
                    entry.run.key: entry.sequence
                    for other in self._queue
                    for entry in other.entries
                }
        if entries:
            self._revision = entries[-1].revision
            for listener in self._listeners:
                listener(entries)

    def _durable_heads(self) -> dict[int, int]:
        return {key: rows[-1].sequence for key, rows in self._disk.chains.items()}


class MemoryJournal(_Commits):
    """The port `Journal` without a disk."""

    def __init__(
        self,
        clock: Clock,
        plan: Callable[[], Commit] | None = None,
        disk: "_Disk | None" = None,
    ) -> None:
        super().__init__(plan, disk or _Disk())
        self._clock = clock
        self._position = self._revision
        self._time_ms = self._disk.log[-1].time_ms if self._disk.log else 0
        self._last_key = max(self._disk.runs, default=0)

    def crash(self, *, stored: int = 0) -> "MemoryJournal":
        """Return the journal that the next process finds; this one answers nobody any more.

        `stored` requests of the commit under way, in order, had reached the disk without being
        acknowledged.
        """
        self._dead = True
        if self._timer is not None:
            self._timer.cancel()
        disk = self._disk.clone()
        for write in (self._committing + self._queue)[:stored]:
            _apply(write, disk)
        return MemoryJournal(self._clock, self._plan, disk)

    async def close(self) -> None:
        """Commit what is queued, and accept nothing more."""
        while self._queue or self._committing:
            await self._barrier()
        self._dead = True

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def oldest_revision(self) -> int:
        return 0

    def next_run_key(self) -> RunKey:
        self._last_key += 1
        return RunKey(self._last_key)

    def subscribe(self, listener: Callable[[Sequence[Entry]], None]) -> None:
        self._listeners.append(listener)

    async def create_run(
        self, run: Run, events: Sequence[Event], records: Sequence[Record] = ()
    ) -> Sequence[Entry]:
        identity = run.identity
        index = _Run(identity, encode_spec(run.spec), encode_view(run.view))
        rows, entries = self._place(identity, 0, events)

        def apply(disk: _Disk) -> object:
            name = (identity.namespace, identity.id)
            if name in disk.names or any(_record_key(record) in disk.records for record in records):
                raise AlreadyExists(Reason.NAME_TAKEN, "the name is taken")
            disk.names[name] = identity.key
            disk.runs[identity.key] = index
            disk.records.update((_record_key(record), record) for record in records)
            disk.add(rows)
            return entries

        await self._submit(apply, entries)
        return entries

    async def append(
        self,
        run: RunIdentity,
        after_sequence: int,
        events: Sequence[Event],
        checkpoint: Checkpoint | None = None,
        records: Sequence[Record] = (),
    ) -> Sequence[Entry]:
        sequence = self._heads.get(run.key)
        if sequence is None:
            raise NotFound(
                Reason.RUN_NOT_FOUND, f"there is no run {run.id}", metadata={"run": run.id}
            )
        if sequence != after_sequence:
            raise Conflict(
                Reason.CONCURRENT_UPDATE,
                f"the newest event of the run {run.id} is {sequence}, not {after_sequence}",
                metadata={"run": run.id, "sequence": str(sequence)},
            )
        view = None if checkpoint is None else encode_view(checkpoint.view)
        state = checkpoint.state if checkpoint is not None else None
        snapshot = None if state is None else encode_state(state)
        rows, entries = self._place(run, sequence, events)

        def apply(disk: _Disk) -> object:
            disk.add(rows)
            disk.records.update((_record_key(record), record) for record in records)
            index = disk.runs[run.key]
            if view is not None:
                index.view = view
            if snapshot is not None:
                index.snapshot = snapshot
                index.snapshot_sequence = sequence + len(rows)
            return entries

        await self._submit(apply, entries)
        return entries

    async def get_run(self, namespace: Namespace, run: RunId) -> StoredRun | None:
        key = self._disk.names.get((namespace, run))
        return None if key is None else self._stored(key)

    async def list_runs(
        self, query: RunQuery, *, before: RunKey | None, limit: int
    ) -> Sequence[StoredRun]:
        found: list[StoredRun] = []
        for key in sorted(self._disk.runs, reverse=True):
            stored = self._stored(key)
            below = before is None or key < before
            if below and _wanted(query, stored.run) and len(found) < limit:
                found.append(stored)
        return found

    async def unfinished_runs(self) -> Sequence[StoredRun]:
        runs = [self._stored(key) for key in sorted(self._disk.runs)]
        return [stored for stored in runs if not stored.run.view.state.ended]

    async def read_run(
        self, run: RunIdentity, *, after_sequence: int = 0, limit: int = 0
    ) -> Sequence[Entry]:
        if run.key not in self._heads:
            raise NotFound(
                Reason.RUN_NOT_FOUND, f"there is no run {run.id}", metadata={"run": run.id}
            )
        await self._barrier()
        rows = self._disk.chains.get(run.key, [])[after_sequence:]
        return [row.entry() for row in (rows[:limit] if limit else rows)]

    async def scan(
        self, selector: Selector, *, after_revision: int, limit: int
    ) -> tuple[Sequence[Entry], int]:
        if after_revision > self._revision:
            raise OutOfRange(
                Reason.FUTURE_REVISION,
                f"the newest revision is {self._revision}",
                metadata={"revision": str(self._revision)},
            )
        end = min(self._revision, after_revision + STRETCH)
        found: list[Entry] = []
        for row in self._disk.log:
            if after_revision < row.position <= end and selector.matches(entry := row.entry()):
                found.append(entry)
                if len(found) == limit:
                    return found, entry.revision
        return found, end

    async def put(self, records: Sequence[Record], *, expected_revision: int | None = None) -> None:
        stored = tuple(records)

        def apply(disk: _Disk) -> object:
            if expected_revision is not None:
                first = stored[0]
                newest = max(_revisions(disk, first.kind, first.namespace, first.id), default=0)
                if newest != expected_revision:
                    raise Conflict(
                        Reason.CONCURRENT_UPDATE,
                        f"the newest revision of {first.kind} {first.id} is {newest}, "
                        f"not {expected_revision}",
                        metadata={"id": first.id, "revision": str(newest)},
                    )
            disk.records.update((_record_key(record), record) for record in stored)
            return None

        await self._submit(apply, [])

    async def get(
        self, kind: str, namespace: Namespace, id: str, revision: int = 0
    ) -> Record | None:
        found = revision or max(_revisions(self._disk, kind, namespace, id), default=0)
        return self._disk.records.get((kind, namespace, id, found))

    async def list_newest(
        self, kind: str, namespace: Namespace, *, after: str, limit: int
    ) -> Sequence[Record]:
        newest: dict[str, Record] = {}
        for record in sorted(self._disk.records.values(), key=lambda each: each.revision):
            if (record.kind, record.namespace) == (kind, namespace) and record.id > after:
                newest[record.id] = record
        return [newest[name] for name in sorted(newest)][:limit]

    async def list_revisions(
        self, kind: str, namespace: Namespace, id: str, *, before: int, limit: int
    ) -> Sequence[Record]:
        revisions = sorted(_revisions(self._disk, kind, namespace, id), reverse=True)
        wanted = [revision for revision in revisions if not before or revision < before]
        return [self._disk.records[kind, namespace, id, revision] for revision in wanted[:limit]]

    async def namespaces(self, kind: str) -> Sequence[Namespace]:
        found = {record.namespace for record in self._disk.records.values() if record.kind == kind}
        return sorted(found)

    async def delete(self, kind: str, namespace: Namespace, id: str) -> bool:
        def apply(disk: _Disk) -> object:
            revisions = _revisions(disk, kind, namespace, id)
            for revision in revisions:
                del disk.records[kind, namespace, id, revision]
            return bool(revisions)

        return bool(await self._submit(apply, []))

    def _stored(self, key: int) -> StoredRun:
        return self._disk.runs[key].stored(self._heads[key])

    def _place(
        self, run: RunIdentity, sequence: int, events: Sequence[Event]
    ) -> tuple[list[_Row], list[Entry]]:
        rows: list[_Row] = []
        self._require_open()
        time_ms = self._time_ms = max(self._time_ms, self._clock.now_ms())
        encoded = [encode_event(event) for event in events]
        for offset, (kind, body) in enumerate(encoded, 1):
            self._position += 1
            rows.append(_Row(self._position, run, sequence + offset, time_ms, kind, body))
        self._heads[run.key] = sequence + len(rows)
        return rows, [
            Entry(row.position, run, row.sequence, time_ms, event)
            for row, event in zip(rows, events, strict=True)
        ]


def _apply(write: _Write, disk: _Disk) -> object:
    try:
        return write.apply(disk)
    except AgentdError as error:
        return error


def _answer(future: "asyncio.Future[object]", answer: object) -> None:
    if future.done():
        return
    if isinstance(answer, AgentdError):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _record_key(record: Record) -> _RecordKey:
    return (record.kind, record.namespace, record.id, record.revision)


def _revisions(disk: _Disk, kind: str, namespace: str, id: str) -> list[int]:
    return [key[3] for key in disk.records if key[:3] == (kind, namespace, id)]


def _wanted(query: RunQuery, run: Run) -> bool:
    identity = run.identity
    return (
        identity.namespace == query.namespace
        and (not query.states or run.view.state in query.states)
        and (query.agent is None or identity.agent == query.agent)
        and (query.session is None or identity.session == query.session)
    )
