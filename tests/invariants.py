"""What holds for every run whatever goes wrong, checked on its history and on what really happened.

Plain functions over the entries of one run: the simulation and the crash kit share them.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from agentd.agent.approval import ApprovalId, ApprovalState
from agentd.agent.budget import Reservation, Usage
from agentd.agent.call import fold_calls
from agentd.agent.events import (
    ApprovalDecided,
    ApprovalRequested,
    CallEnded,
    CallEvidenceKept,
    CallLeased,
    CallLost,
    CallProbed,
    CallRetried,
    CallUnknown,
    Entry,
    ModelFailed,
    ModelLost,
    ModelReplied,
    ModelRequested,
    RequestedCall,
    RunCancelling,
    RunCreated,
    RunEnded,
)
from agentd.agent.ids import CallId
from agentd.agent.lifecycle import ThreadId
from agentd.agent.lifecycle_events import PhaseAnswered, PlanApprovalRequested
from agentd.agent.message import (
    AssistantMessage,
    Message,
    ModelRequest,
    ToolResult,
)
from agentd.agent.permission import Decision
from agentd.agent.state import State
from agentd.agent.tool import CallErrorReason, CallState, EffectClass
from agentd.context.models import anthropic, openai
from agentd.context.models.encoding import Encoder
from agentd.context.transcript import Transcript
from agentd.protocol.lifecycle.folding import turn_of
from agentd.protocol.machine import evolve
from tests.providers.validate import validate_anthropic_request, validate_openai_request
from tests.task_invariants import check_tasks

ONCE = frozenset({EffectClass.NON_IDEMPOTENT, EffectClass.IRREVERSIBLE})
"""What must not be repeated; said here again, so that a wrong machine cannot say otherwise."""


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass(slots=True)
class Execution:
    """One time that a tool's code ran, as the world outside saw it."""

    idempotency_key: str
    attempt: int
    effect: EffectClass
    applied: bool = False
    """Whether it had its effect."""
    running: bool = True
    """Whether it may still have its effect."""


def check_run(entries: Sequence[Entry], earlier: Iterable[Message] = ()) -> State:
    """Check everything that one run's history can show; return the state it folds to."""
    check_order(entries)
    state = replay(entries)
    check_end(entries, state)
    check_calls(entries)
    check_repeats(entries)
    check_approvals(entries)
    check_budget(entries)
    check_cancel(entries)
    check_transcript(entries, earlier)
    try:
        check_tasks(entries)
    except AssertionError as error:
        raise Broken(str(error)) from error
    return state


def check_order(entries: Sequence[Entry]) -> None:
    """Sequences are dense from 1, revisions and times never go back, and all are of one run."""
    require(bool(entries), "the run has no history")
    require(isinstance(entries[0].event, RunCreated), "the first event is not RunCreated")
    for number, entry in enumerate(entries, 1):
        require(entry.sequence == number, f"event {number} has the sequence {entry.sequence}")
        require(entry.run == entries[0].run, f"event {number} is of {entry.run.id}")
    for before, after in pairwise(entries):
        require(before.revision < after.revision, f"revision {after.revision} goes back")
        require(before.time_ms <= after.time_ms, f"event {after.sequence} goes back in time")


def replay(entries: Sequence[Entry]) -> State:
    """Fold a history from nothing."""
    state = State()
    for entry in entries:
        state = evolve(state, entry.event)
    return state


def check_end(entries: Sequence[Entry], state: State) -> None:
    """RunEnded comes once and last, only late completions follow it, and its usage is the fold."""
    ends = [entry for entry in entries if isinstance(entry.event, RunEnded)]
    require(len(ends) <= 1, f"the run has ended {len(ends)} times")
    require(bool(ends) == state.run.ended, f"the run is {state.run.name} with {len(ends)} ends")
    for end in ends:
        after = [entry.event for entry in entries[end.sequence :]]
        late = [type(event).__name__ for event in after if not isinstance(event, CallEvidenceKept)]
        require(not late, f"after RunEnded came {late}")
        assert isinstance(end.event, RunEnded)
        used = usage_of(entries)
        require(end.event.usage == used, f"RunEnded says {end.event.usage}, the history {used}")


def check_calls(entries: Sequence[Entry]) -> None:
    """A call ends once, nothing happens to it afterwards, and no call outlives its run."""
    open_calls: set[CallId] = set()
    threads: dict[int, ThreadId] = {}
    for entry in entries:
        event = entry.event
        name = type(event).__name__
        if isinstance(event, ModelReplied):
            open_calls |= {call.call for call in event.calls}
        elif isinstance(event, _CALL_FACTS):
            require(event.call in open_calls, f"{name}, but call {event.call} is not open")
            if isinstance(event, CallEnded):
                open_calls.remove(event.call)
        elif isinstance(event, ModelRequested):
            own = {call for call in open_calls if threads[turn_of(call)] == event.thread}
            require(not own, f"{name} while {sorted(own)} are open")
            threads[event.turn] = event.thread
        elif isinstance(event, RunEnded):
            require(not open_calls, f"{name} while {sorted(open_calls)} are open")


def check_repeats(entries: Sequence[Entry]) -> None:
    """An attempt of a call that must not be repeated follows another only when somebody said so:
    a person, a probe, or the host that had not executed it."""
    effects: dict[CallId, EffectClass] = {}
    attempts: Counter[CallId] = Counter()
    permits: Counter[CallId] = Counter()
    for entry in entries:
        match entry.event:
            case ModelReplied(calls=calls):
                effects |= {call.call: call.effect for call in calls}
            case CallRetried(call=call):
                permits[call] += 1
            case CallLost(call=call, reason=reason) if effects[call] in ONCE:
                said = reason is CallErrorReason.INTERRUPTED
                require(said, f"call {call} was queued again after {reason.name}")
                permits[call] += 1
            case CallLeased(call=call, attempt=attempt):
                attempts[call] += 1
                require(attempt == attempts[call], f"call {call} skips to attempt {attempt}")
                allowed = effects[call] not in ONCE or attempt <= 1 + permits[call]
                require(allowed, f"call {call} was repeated by itself")
            case _:
                pass


def check_approvals(entries: Sequence[Entry]) -> set[ApprovalId]:
    """No call runs that a rule denies, or asks about without a yes; each is asked about once, by
    the hash of its arguments. Return every approval."""
    verdicts: dict[CallId, RequestedCall] = {}
    hashes: dict[CallId, str] = {}
    asked: dict[CallId, ApprovalId] = {}
    answers: dict[CallId, ApprovalState] = {}
    plans: set[ApprovalId] = set()
    for entry in entries:
        match entry.event:
            case ModelReplied(calls=calls, message=message):
                for call, use in zip(calls, message.calls, strict=True):
                    verdicts[call.call] = call
                    text = use.arguments_json.encode()
                    hashes[call.call] = hashlib.sha256(text).hexdigest()
            case ApprovalRequested(approval=approval, call=call, arguments_sha256=digest):
                require(call not in asked, f"call {call} is asked about twice")
                # Histories that are made up have no real hashes.
                require(digest in (hashes[call], "abc"), f"call {call} is asked about by {digest}")
                asked[call] = approval
            case ApprovalDecided(approval=approval, call=call, decision=decision):
                require(asked.get(call) == approval, f"call {call} was not asked about {approval}")
                require(call not in answers, f"call {call} is decided twice")
                answers[call] = decision
            case PlanApprovalRequested(approval=approval, plan_json=text, plan_sha256=digest):
                hashed = hashlib.sha256(text.encode()).hexdigest()
                require(digest in (hashed, "abc"), f"a plan is asked about by {digest}")
                require(approval not in plans, f"{approval} is asked about twice")
                plans.add(approval)
            case CallLeased(call=call):
                judged = verdicts[call].judgement
                verdict = judged.decision if judged else Decision.ALLOW
                permitted = verdict is Decision.ALLOW or (
                    verdict is Decision.ASK and answers.get(call) is ApprovalState.ALLOWED
                )
                require(permitted, f"call {call} runs, and is {verdict.name} {answers.get(call)}")
            case _:
                pass
    return set(asked.values()) | plans


def check_executions(entries: Sequence[Entry], executions: Iterable[Execution]) -> None:
    """What the world saw is what the history says."""
    calls = fold_calls(entries)
    by_key = {call.idempotency_key: call for call in calls.values()}
    seen: dict[str, list[Execution]] = {}
    for execution in executions:
        seen.setdefault(execution.idempotency_key, []).append(execution)
    for key, made in seen.items():
        call = by_key.get(key)
        require(call is not None, f"{key} was executed, and is not in the history")
        assert call is not None
        leases = _count(entries, CallLeased, call.id)
        require(len(made) <= leases or call.effect not in ONCE, f"{key} ran {len(made)} times")
        if call.effect in ONCE:
            applied = sum(execution.applied for execution in made)
            retries = _count(entries, CallRetried, call.id)
            require(applied <= 1 + retries, f"{key} had its effect {applied} times")
    for key, call in by_key.items():
        applied = any(execution.applied for execution in seen.get(key, ()))
        if call.simulate:
            require(not seen.get(key), f"{key} was only to be simulated")
            continue
        if call.state in (CallState.SUCCEEDED, CallState.RECONCILED):
            require(applied, f"{key} is {call.state.name} and never happened")
        if call.state in (CallState.CANCELLED, CallState.DENIED) and call.effect in ONCE:
            require(not applied, f"{key} is {call.state.name} and happened")


def usage_of(entries: Sequence[Entry]) -> Usage:
    """Add up what a history says was spent, without the machine."""
    usage = Usage()
    reservations: dict[tuple[int, int], Reservation] = {}
    first = 0
    for entry in entries:
        match entry.event:
            case ModelRequested(turn=turn, attempt=attempt, reservation=reservation):
                reservations[turn, attempt] = reservation
            case ModelReplied(usage=spent) | PhaseAnswered(usage=spent):
                usage = usage.charge(spent, turns=1)
            case ModelFailed(usage=spent):
                usage = usage.charge(spent, turns=0)
            case ModelLost(turn=turn, attempt=attempt):
                require((turn, attempt) in reservations, "ModelLost without a request")
                usage = usage.lose(reservations[turn, attempt])
            case CallLeased(attempt=1):
                first += 1
            case _:
                pass
    return Usage(
        usage.turns,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cost_nanos,
        first,
        usage.unknown_tokens,
        usage.unknown_cost_nanos,
    )


def check_budget(entries: Sequence[Entry]) -> None:
    """Spent, unknown and reserved together fit the budget at every request; turns and calls too."""
    created = entries[0].event
    assert isinstance(created, RunCreated)
    budget = created.budget
    for entry in entries:
        event = entry.event
        if not isinstance(event, ModelRequested | CallLeased):
            continue
        usage = usage_of(entries[: entry.sequence])
        _within("tool calls", usage.tool_calls, budget.max_tool_calls)
        if isinstance(event, ModelRequested):
            _within("turns", usage.turns + 1, budget.max_turns)
            _within("tokens", usage.tokens + event.reservation.tokens, budget.max_tokens)
            _within("cost", usage.cost + event.reservation.cost_nanos, budget.max_cost_nanos)


def check_cancel(entries: Sequence[Entry]) -> None:
    """A cancelled run's report names each request and call that was in progress, once. It may name
    a call that was being probed, too."""
    end = next((entry.event for entry in entries if isinstance(entry.event, RunEnded)), None)
    for entry in entries:
        if not isinstance(entry.event, RunCancelling) or end is None:
            continue
        state = replay(entries[: entry.sequence])
        names = {f"calls/{call.id}" for call in state.calls if call.state is CallState.LEASED}
        names |= {f"requests/{flight.turn}" for flight in state.flights}
        probed = {f"calls/{call.id}" for call in state.calls if call.probing}
        told = [item.name for item in end.cancel_entries]
        require(len(set(told)) == len(told), f"reported more than once: {told}")
        fits = names <= set(told) <= names | probed
        require(fits, f"in progress were {sorted(names)}, reported {told}")


def check_transcript(entries: Sequence[Entry], earlier: Iterable[Message] = ()) -> None:
    """At every model request the transcript is one that both providers accept."""
    transcript = Transcript(earlier)
    for entry in entries:
        transcript.add(entry.event)
        if isinstance(entry.event, ModelRequested):
            check_messages(transcript.of(entry.event.thread).messages)


def check_messages(messages: Sequence[Message]) -> None:
    """Every call is answered directly after its answer, in order, under references of its own."""
    open_references: list[str] = []
    seen: set[str] = set()
    for message in messages:
        if isinstance(message, ToolResult):
            expected = open_references.pop(0) if open_references else "no result"
            require(message.reference == expected, f"{message.reference} instead of {expected}")
            continue
        require(not open_references, f"no result of {open_references}")
        if isinstance(message, AssistantMessage):
            open_references = [use.reference for use in message.calls]
            for reference in open_references:
                require(bool(reference) and reference not in seen, f"reference {reference!r} again")
                seen.add(reference)
    require(not open_references, f"no result of {open_references}")


class ProviderCheck:
    """Both providers' translations, held to what the providers refuse."""

    def __init__(self) -> None:
        self._anthropic = Encoder(anthropic.encode_message)
        self._openai = Encoder(openai.encode_message)

    def check(self, request: ModelRequest) -> None:
        """Raise for a request that one of the providers would answer with 400."""
        check_messages(request.messages)
        body = anthropic.encode_request(request, self._anthropic)
        validate_anthropic_request(json.loads(body))
        body = openai.encode_request(request, self._openai, official=True)
        validate_openai_request(json.loads(body))


def require(condition: bool, message: str) -> None:
    """Raise Broken unless the condition holds."""
    if not condition:
        raise Broken(message)


_CALL_FACTS = (CallLeased, CallLost, CallUnknown, CallProbed, CallEnded, CallRetried)


def _count(entries: Sequence[Entry], kind: type[CallLeased | CallRetried], call: CallId) -> int:
    events = [entry.event for entry in entries]
    return sum(isinstance(event, kind) and event.call == call for event in events)


def _within(what: str, value: int, limit: int) -> None:
    require(not limit or value <= limit, f"{value} {what} exceed the budget of {limit}")
