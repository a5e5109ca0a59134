"""Judges a trial: its journal against what every client, tool and watcher was told."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentd.agent.call import Call, fold_calls
from agentd.agent.events import (
    ApprovalDecided,
    CallEnded,
    Entry,
    MessagePosted,
    ModelRequested,
    RunCancelling,
    RunEnded,
    RunPaused,
    RunResumed,
    RunStarted,
)
from agentd.agent.ids import DEFAULT_NAMESPACE, CallId, RunId
from agentd.agent.lifecycle_events import PlanApprovalDecided
from agentd.agent.message import Message, ModelRequest
from agentd.agent.tool import CallErrorReason, CallState, Tool
from agentd.context.transcript import Transcript
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.ports import RunQuery
from agentd.runtime.system import SystemClock
from agentd.v1.tool_host_service_pb2 import Completion
from tests.crash.scenario import Scenario
from tests.crash.trial import Played
from tests.invariants import Broken, Execution, ProviderCheck, check_executions, check_run, require
from tests.simulation.verdict import Histories, earlier_of, tell


@dataclass(frozen=True, slots=True)
class CallEnd:
    """How a call ended, whichever attempt it was and whoever said so."""

    state: CallState
    result_json: str
    reason: CallErrorReason | None
    arguments_json: str


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended, as far as no crash may change it."""

    end: RunEnded
    turns: int
    tool_calls: int
    calls: Mapping[CallId, CallEnd]

    def digest(self) -> str:
        """Return a hash of the state, the output and the calls: the run's final state."""
        failure = self.end.failure.reason if self.end.failure else None
        parts = (self.end.state, self.end.output, failure, self.turns, self.tool_calls, self.calls)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


async def read_journal(directory: Path) -> Histories:
    """Return the history of every run of a daemon that has stopped."""
    journal = await SqliteJournal.open(directory, SystemClock())
    try:
        stored = await journal.list_runs(RunQuery(DEFAULT_NAMESPACE), before=None, limit=1_000)
        histories: Histories = {}
        for run in stored:
            identity = run.run.identity
            histories[identity.id] = await journal.read_run(identity)
        return histories
    finally:
        await journal.close()


def check_trial(played: Played, histories: Histories) -> None:
    """Raise Broken when something that must hold does not."""
    for run, entries in histories.items():
        try:
            _check_run(entries, histories, played)
        except Broken as broken:
            raise Broken(f"run {run}: {broken}\n{tell(entries)}") from broken
    _check_acknowledged(played, histories)
    _check_watch(played, histories)


def results_of(histories: Histories) -> Mapping[RunId, RunResult]:
    """Return how every run ended."""
    return {run: _result_of(entries) for run, entries in histories.items()}


def compare(
    scenario: Scenario, expected: Mapping[RunId, RunResult], found: Mapping[RunId, RunResult]
) -> None:
    """Raise Broken when a run that was to end alike whatever happens did not."""
    require(expected.keys() == found.keys(), f"the runs are {found.keys()}")
    for plan in scenario.plans:
        run = RunId(plan.name.removeprefix("runs/"))
        if plan.exact and expected[run].digest() != found[run].digest():
            raise Broken(
                f"run {run} ended as\n{found[run]}\nand without a crash as\n{expected[run]}"
            )


def _result_of(entries: Sequence[Entry]) -> RunResult:
    end = next(entry.event for entry in entries if isinstance(entry.event, RunEnded))
    calls = {key: _end_of(call) for key, call in fold_calls(entries).items()}
    return RunResult(end, end.usage.turns, end.usage.tool_calls, calls)


def _end_of(call: Call) -> CallEnd:
    reconciled = call.state is CallState.RECONCILED
    state = CallState.SUCCEEDED if reconciled else call.state
    reason = call.error.reason if call.error else None
    return CallEnd(state, call.result_json, reason, call.arguments_json)


def _check_run(entries: Sequence[Entry], histories: Histories, played: Played) -> None:
    prefix = f"runs/{entries[0].run.id}/"
    made = [made for made in played.world.executions if made.idempotency_key.startswith(prefix)]
    earlier = earlier_of(entries, histories)
    check_run(entries, earlier)
    check_executions(entries, made)
    _check_once(made)
    _check_providers(entries, earlier)
    ended = any(isinstance(entry.event, RunEnded) for entry in entries)
    require(ended, "the run has not ended")


def _check_once(made: Sequence[Execution]) -> None:
    """Nobody here asks for a second execution of what has happened already."""
    effects = Counter(
        each.idempotency_key for each in made if each.applied and not each.effect.repeatable
    )
    twice = [key for key, count in effects.items() if count > 1]
    require(not twice, f"{twice} had their effect twice")


def _check_providers(entries: Sequence[Entry], earlier: Sequence[Message]) -> None:
    check = ProviderCheck()
    transcript = Transcript(earlier)
    tools: list[Tool] = []
    for entry in entries:
        transcript.add(entry.event)
        if isinstance(entry.event, RunStarted):
            tools = [Tool("world", granted.alias) for granted in entry.event.tools]
        if isinstance(entry.event, ModelRequested):
            messages = list(transcript.of(entry.event.thread).messages)
            output = max(entry.event.reservation.max_output_tokens, 1)
            check.check(ModelRequest("model", "", messages, tools, output))


def _check_acknowledged(played: Played, histories: Histories) -> None:
    told = played.acknowledged

    def entries_of(name: str) -> Sequence[Entry]:
        run = RunId(name.split("/")[1])
        require(run in histories, f"{name} was acknowledged, and is not there")
        return histories[run]

    for run in told.runs:
        entries_of(run)
    for run, messages in told.messages.items():
        posted = [
            (entry.event.text, entry.revision)
            for entry in entries_of(run)
            if isinstance(entry.event, MessagePosted)
        ]
        given = {text for text, _ in messages}
        again = [message for message in posted if message[0] in given]
        require(set(messages) == set(again), f"{run} was given {messages}, and has {posted}")
    facts = ((told.paused, RunPaused), (told.resumed, RunResumed), (told.cancelled, RunCancelling))
    for names, kind in facts:
        for run in names:
            count = sum(isinstance(entry.event, kind) for entry in entries_of(run))
            require(count == 1, f"{run} has {count} {kind.__name__}")
    for approval in told.decisions:
        decided = [
            entry.event
            for entry in entries_of(approval.run)
            if isinstance(entry.event, ApprovalDecided | PlanApprovalDecided)
            and approval.name == f"approvals/{entry.event.approval}"
        ]
        answers = [
            (fact.decision.value, getattr(fact, "edited_arguments_json", "")) for fact in decided
        ]
        expected = (int(approval.state), approval.edited_arguments_json)
        require(answers == [expected], f"{approval} was acknowledged, and is {answers}")
    for completion in told.outcomes:
        _check_outcome(completion, entries_of(completion.call))


def _check_outcome(completion: Completion, entries: Sequence[Entry]) -> None:
    call = completion.call.rsplit("/", 1)[1]
    ends = [
        entry.event
        for entry in entries
        if isinstance(entry.event, CallEnded) and entry.event.call == call
    ]
    match completion.WhichOneof("outcome"):
        case "result_json":
            told = [(end.attempt, end.result_json) for end in ends]
            kept = (completion.attempt, completion.result_json) in told
        case "error_message":
            errors = [(end.attempt, end.error.message if end.error else "") for end in ends]
            kept = (completion.attempt, completion.error_message) in errors
        case _:
            kept = True  # It was no outcome of the call, so the call went on to another.
    require(kept, f"{completion} was acknowledged, and lost: {ends}")


def _check_watch(played: Played, histories: Histories) -> None:
    """A watch over every crash shows each event once, in order, as the journal has it."""
    revisions = sorted(entry.revision for entries in histories.values() for entry in entries)
    listed = [event.revision for event in played.listed]
    seen = [event.revision for event in played.seen]
    # Outcomes that are reported again after the runs have ended may be kept as evidence later.
    require(
        listed == revisions[: len(listed)], f"ListEvents has not {set(revisions) - set(listed)}"
    )
    require(seen == listed[: len(seen)], "the watch left events out, or showed them again")
    require(played.seen == played.listed[: len(seen)], "an event changed after it was shown")
    ended = sum(event.HasField("run_ended") for event in played.seen)
    require(ended == len(histories), f"the watch has shown {ended} ends of {len(histories)}")
