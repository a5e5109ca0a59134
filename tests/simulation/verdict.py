"""Judge a simulated world: every history, and what callers and watchers were told."""

import hashlib
from collections.abc import Sequence

import msgspec

from agentd.agent.approval import Answer
from agentd.agent.events import (
    ApprovalDecided,
    CallEnded,
    Entry,
    MessagePosted,
    RunCancelling,
    RunEnded,
    RunStarted,
)
from agentd.agent.hosting import Failed, Succeeded
from agentd.agent.ids import RunId
from agentd.agent.lifecycle_events import PlanApprovalDecided
from agentd.agent.message import Message
from agentd.context.transcript import Transcript
from agentd.runtime.ports import RunQuery, StoredRun
from agentd.runtime.questions import APPROVAL
from agentd.runtime.runtime import Runtime
from tests.invariants import (
    Broken,
    check_approvals,
    check_executions,
    check_run,
    replay,
    require,
)
from tests.simulation.people import Watcher
from tests.simulation.world import NAMESPACE, World

Histories = dict[RunId, Sequence[Entry]]


async def unfinished(world: World) -> list[str]:
    """Describe every run that has not ended, by its own history."""
    found = []
    for stored in await world.journal.unfinished_runs():
        state = world.state_of(stored.run.identity)
        found.append(f"{stored.run.identity.id} {stored.last_sequence} {state}")
    return found


async def check_world(world: World, watchers: Sequence[Watcher]) -> None:
    """Raise Broken when something that must hold does not."""
    if world.violations:
        raise Broken("; ".join(map(str, world.violations[:3])))
    stored = await world.journal.list_runs(RunQuery(NAMESPACE), before=None, limit=10_000)
    histories: Histories = {}
    for run in stored:
        histories[run.run.identity.id] = world.history(run.run.identity)
    for run in stored:
        identity, entries = run.run.identity, histories[run.run.identity.id]
        try:
            check_run(entries, earlier_of(entries, histories))
            check_executions(entries, world.ledger.of_run(identity.id))
            _check_index(run, entries)
            _check_session(entries, histories)
        except Broken as broken:
            raise Broken(f"run {identity.id}: {broken}\n{tell(entries)}") from broken
    _check_acknowledged(world, histories)
    await _check_documents(world, histories)
    for watcher in watchers:
        await _check_watcher(world, watcher)


def check_live(world: World, runtime: Runtime) -> None:
    """Compare what each run in memory believes with its history."""
    for driver in list(runtime.scheduler._drivers.values()):
        if not driver.loaded:
            continue
        state, sequence, transcript = driver.state, driver.sequence, driver.transcript
        messages = None if transcript is None else list(transcript.messages)
        entries = world.history(driver.identity)
        require(replay(entries[:sequence]) == state, f"{driver.identity.id} believes {state}")
        if messages is not None and state.started and not state.started.previous_run:
            fresh = Transcript()
            for entry in entries[:sequence]:
                fresh.add(entry.event)
            require(list(fresh.messages) == messages, f"{driver.identity.id}: {messages}")
            assert transcript is not None
            for thread in state.lifecycle.threads if state.lifecycle else ():
                own, again = transcript.of(thread.id), fresh.of(thread.id)
                same = list(own.closing()) == list(again.closing())
                require(same, f"{driver.identity.id} {thread.id}: {own.closing()}")


def check_idle(runtime: Runtime) -> None:
    """Once every run has ended, nothing of them is left in memory."""
    leases = list(runtime.hosts._leases)
    require(not leases, f"leases are left: {leases}")
    in_use = {place: host.in_use for place, host in runtime.hosts._connections.items()}
    require(not any(in_use.values()), f"room is lost: {in_use}")
    waiting = {place: runs for place, runs in runtime.hosts._waiting.items() if runs}
    require(not waiting, f"nobody waits for room any more, but {waiting}")
    scheduler = runtime.scheduler
    left = (scheduler._active, scheduler._queue, scheduler._unfinished, scheduler._drivers)
    require(not any(left), f"runs are left: {left}")
    require(not scheduler._turns._queues, f"turns are left: {scheduler._turns._queues}")


def earlier_of(entries: Sequence[Entry], histories: Histories) -> Sequence[Message]:
    """Return the conversation that a run continues."""
    for entry in entries:
        if isinstance(entry.event, RunStarted) and entry.event.previous_run:
            previous = histories[entry.event.previous_run]
            transcript = Transcript(earlier_of(previous, histories))
            for fact in previous:
                transcript.add(fact.event)
            return transcript.closing()
    return ()


def digest_of(world: World) -> str:
    """Return a hash of every event at its place."""
    digest = hashlib.sha256()
    for row in world.journal._disk.log:
        digest.update(b"%d %d %d %d " % (row.position, row.run.key, row.sequence, row.time_ms))
        digest.update(row.body)
    return digest.hexdigest()


def tell(entries: Sequence[Entry]) -> str:
    """Write a history for people."""
    return "\n".join(f"  {entry.sequence} {entry.time_ms} {entry.event}" for entry in entries)


def _check_index(stored: StoredRun, entries: Sequence[Entry]) -> None:
    if stored.snapshot:
        state = replay(entries[: stored.snapshot_sequence])
        require(stored.snapshot == state, f"the snapshot {stored.snapshot} is not {state}")
    view, state = stored.run.view, replay(entries)
    require(stored.last_sequence == len(entries), f"the index ends at {stored.last_sequence}")
    require(view.state is state.run, f"the index says {view.state}, the history {state.run}")
    for entry in entries:
        if isinstance(entry.event, RunEnded):
            told = (view.output, view.failure, view.usage)
            ended = (entry.event.output, entry.event.failure, entry.event.usage)
            require(told == ended, f"the index says {told}, the history {ended}")


def _check_session(entries: Sequence[Entry], histories: Histories) -> None:
    """The runs of a session take place one after another."""
    session = entries[0].run.session
    if session is None:
        return
    key = entries[0].run.key
    mates = [other for other in histories.values() if other[0].run.session == session]
    earlier = [other for other in mates if other[0].run.key < key]
    for entry in entries:
        if not isinstance(entry.event, RunStarted):
            continue
        newest = max((other[0].run for other in earlier), key=lambda run: run.key, default=None)
        previous = newest.id if newest else None
        require(entry.event.previous_run == previous, f"{previous} comes before, not {entry.event}")
        for other in earlier:
            end = next(each for each in other if isinstance(each.event, RunEnded))
            require(end.revision < entry.revision, f"started before {end.run.id} had ended")


def _check_acknowledged(world: World, histories: Histories) -> None:
    told = world.acknowledged
    for run in told.runs:
        require(run in histories, f"run {run} was acknowledged, and is not there")
    for run, revision, text in told.messages:
        posted = [
            entry.revision
            for entry in histories[run]
            if isinstance(entry.event, MessagePosted) and entry.event.text == text
        ]
        require(revision in posted, f"{text!r} to {run} at {revision} was lost: {posted}")
    for run in told.cancels:
        cancelled = any(isinstance(entry.event, RunCancelling) for entry in histories[run])
        require(cancelled, f"run {run} was not cancelled")
    for completion in told.completions:
        ref = completion.lease
        ends = [
            entry.event
            for entry in histories[ref.run]
            if isinstance(entry.event, CallEnded) and entry.event.call == ref.call
        ]
        if isinstance(completion.outcome, Succeeded):
            results = [(end.attempt, end.result_json) for end in ends]
            kept = (ref.attempt, completion.outcome.result_json) in results
            require(kept, f"{completion} was acknowledged, and lost: {ends}")
        elif isinstance(completion.outcome, Failed):
            errors = [(end.attempt, end.error and end.error.message) for end in ends]
            kept = (ref.attempt, completion.outcome.message) in errors
            require(kept, f"{completion} was acknowledged, and lost: {ends}")


async def _check_documents(world: World, histories: Histories) -> None:
    """Each question and answer is stored as its events say, and nothing waits any more."""
    stored = await world.journal.list_newest(APPROVAL, NAMESPACE, after="", limit=10_000)
    kept = {record.id: record.revision for record in stored}
    told = {
        answer: entries for entries in histories.values() for answer in check_approvals(entries)
    }
    require(kept.keys() == told.keys(), f"stored are {kept.keys() ^ told.keys()} otherwise")
    require(all(revision == 2 for revision in kept.values()), f"unanswered: {kept}")
    for approval in world.acknowledged.decisions:
        question, answer = approval.question, approval.answer
        record = await world.journal.get(APPROVAL, NAMESPACE, question.id, 2)
        require(record is not None, f"{question.id} was decided, and is not")
        assert record is not None
        require(
            msgspec.msgpack.decode(record.body, type=Answer) == answer, f"{approval} was changed"
        )
        decided = [
            entry.event
            for entry in histories[question.run]
            if isinstance(entry.event, ApprovalDecided | PlanApprovalDecided)
            and entry.event.approval == question.id
        ]
        require([event.decision for event in decided] == [answer.state], f"{approval}: {decided}")


async def _check_watcher(world: World, watcher: Watcher) -> None:
    """A watcher sees each entry that it selects once, in order."""
    expected: list[Entry] = []
    after = 0
    while after < world.journal.revision:
        found, after = await world.journal.scan(watcher.selector, after_revision=after, limit=1_000)
        expected += found
    seen = [entry.revision for entry in watcher.seen]
    wanted = [entry.revision for entry in expected]
    require(seen == sorted(set(seen)), f"a watcher saw {seen}")
    require(seen == wanted, f"a watcher missed {sorted(set(wanted) - set(seen))}")
    require(watcher.seen == expected, "a watcher saw other entries than the journal has")
