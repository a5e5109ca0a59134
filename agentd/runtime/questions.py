"""Store what people are asked and what they answered, beside the events that say so.

A question is revision 1 of a document, its answer revision 2: neither is ever changed. Two indexes
stand beside them. That of the pending ones may hold some that are answered: a crash may come
between the answer and its removal, and a list that meets such a one removes it.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from agentd.agent.approval import Answer, ApprovalId, ApprovalState, Question
from agentd.agent.events import (
    ApprovalDecided,
    ApprovalRequested,
    CallEnded,
    Event,
    ModelReplied,
    RunCancelling,
)
from agentd.agent.ids import CallId, Namespace, RunId, RunIdentity
from agentd.agent.lifecycle_events import PlanApprovalDecided, PlanApprovalRequested
from agentd.agent.permission import Decision, Judgement
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallState
from agentd.context.transcript import Transcript
from agentd.protocol.machine import evolve
from agentd.runtime.ports import Clock, Record
from agentd.tools.toolkit import Toolkit

APPROVAL: Final = "approval"
PENDING: Final = "approval-pending"
"""Ids of approvals that nobody has decided."""
OF_RUN: Final = "approval-run"
"""Ids of approvals behind their runs' ids: `{run}/{approval}`."""

_KINDS = frozenset(
    {
        ApprovalRequested,
        ApprovalDecided,
        RunCancelling,
        PlanApprovalRequested,
        PlanApprovalDecided,
    }
)
"""The events without which no question is asked, answered or cancelled."""
_KINDS_OF_TASKS = _KINDS | {CallEnded}


class Recording(Protocol):
    """The run that is about to record something: as it was before."""

    identity: RunIdentity
    state: State
    transcript: Transcript | None

    @property
    def toolkit(self) -> Toolkit:
        """The run's tools."""
        ...


def asks(events: Sequence[Event]) -> bool:
    """Whether a person is asked: then the arguments of calls have to be at hand."""
    return any(type(event) is ApprovalRequested for event in events)


def documents_of(run: Recording, events: Sequence[Event], clock: Clock) -> Sequence[Record]:
    """Return what is to be stored in the transaction of some events of a run."""
    # A task that is given up takes the questions of its calls with it, whenever these end.
    kinds = _KINDS if run.state.lifecycle is None else _KINDS_OF_TASKS
    if kinds.isdisjoint(map(type, events)):
        return ()
    now_ms = clock.now_ms()
    namespace, state = run.identity.namespace, run.state
    records: list[Record] = []
    arguments: dict[CallId, str] = {}
    for event in events:
        match event:
            case ModelReplied(calls=calls, message=message):
                for call, use in zip(calls, message.calls, strict=True):
                    arguments[call.call] = use.arguments_json
            case ApprovalRequested():
                asked = state.call(event.call)
                assert asked is not None
                question = _question(run, event, asked, arguments.get(asked.id))
                records += _asked(namespace, replace(question, create_time_ms=now_ms))
            case ApprovalDecided():
                records.append(_stored(namespace, event.approval, answer_of(event, now_ms)))
            case CallEnded():
                records += _cancelled(namespace, state, event, now_ms)
            case PlanApprovalRequested():
                question = _about_plan(run.identity, state, event)
                records += _asked(namespace, replace(question, create_time_ms=now_ms))
            case PlanApprovalDecided():
                records.append(_stored(namespace, event.approval, plan_answer_of(event, now_ms)))
            case RunCancelling():
                records += _plan_cancelled(namespace, state, event, now_ms)
            case _:
                pass
        state = evolve(state, event)
    return records


def answer_of(event: ApprovalDecided, now_ms: int) -> Answer:
    """Return the answer that an event is."""
    return Answer(
        event.decision,
        now_ms,
        event.reason,
        event.scope,
        event.edited_arguments_json,
        event.decided_by,
        event.judgement,
        event.request_id,
    )


def plan_answer_of(event: PlanApprovalDecided, now_ms: int) -> Answer:
    """Return the answer about a plan that an event is."""
    return Answer(
        event.decision,
        now_ms,
        event.reason,
        decided_by=event.decided_by,
        request_id=event.request_id,
    )


def run_place(run: RunId, approval: str) -> str:
    """Return the id of an approval in the index of runs."""
    return f"{run}/{approval}"


def _question(
    run: Recording, event: ApprovalRequested, call: OpenCall, arguments_json: str | None
) -> Question:
    if arguments_json is None:  # The answer that asked for the call was recorded before.
        assert run.transcript is not None
        arguments_json = run.transcript.arguments(call.id)
    assert call.judgement is not None
    return Question(
        id=event.approval,
        run=run.identity.id,
        agent=run.identity.agent,
        call=call.id,
        path=call.path,
        effect=call.effect,
        arguments_json=arguments_json,
        arguments_sha256=event.arguments_sha256,
        judgement=call.judgement,
        labels=call.seen,
        tool_description=run.toolkit.by_path[call.path].description,
    )


def _about_plan(run: RunIdentity, state: State, event: PlanApprovalRequested) -> Question:
    lifecycle = state.lifecycle
    assert lifecycle is not None
    assert lifecycle.plan is not None
    tasks = lifecycle.plan.tasks
    needs = [f"tool.use:{tool}" for task in tasks for tool in task.tools]
    needs += [permission for task in tasks for permission in task.permissions]
    return Question(
        id=event.approval,
        run=run.id,
        agent=run.agent,
        call=CallId(""),
        path="",
        effect=max((task.effect for task in tasks), key=lambda effect: effect.value),
        arguments_json=event.plan_json,
        arguments_sha256=event.plan_sha256,
        judgement=Judgement(Decision.ASK, tuple(dict.fromkeys(needs)), rule="plans are approved"),
        labels=state.labels,
        plan=lifecycle.plans,
    )


def _plan_cancelled(
    namespace: Namespace, state: State, event: RunCancelling, now_ms: int
) -> Iterator[Record]:
    """Yield the answer to a question about a plan whose run ends before anybody has decided."""
    lifecycle = state.lifecycle
    if lifecycle is None or lifecycle.approval is None:
        return
    if lifecycle.approved is ApprovalState.PENDING:
        reason = event.reason or "the run was cancelled"
        answer = Answer(ApprovalState.CANCELLED, now_ms, reason)
        yield _stored(namespace, lifecycle.approval, answer)


def _asked(namespace: Namespace, question: Question) -> Iterator[Record]:
    now_ms = question.create_time_ms
    body = msgspec.msgpack.encode(question)
    yield Record(APPROVAL, namespace, question.id, body, 1, now_ms)
    yield Record(PENDING, namespace, question.id, b"", 1, now_ms)
    yield Record(OF_RUN, namespace, run_place(question.run, question.id), b"", 1, now_ms)


def _stored(namespace: Namespace, approval: ApprovalId, answer: Answer) -> Record:
    body = msgspec.msgpack.encode(answer)
    return Record(APPROVAL, namespace, approval, body, 2, answer.decide_time_ms)


def _cancelled(
    namespace: Namespace, state: State, event: CallEnded, now_ms: int
) -> Iterator[Record]:
    """Yield the answer to a question whose call ends before anybody has decided."""
    call = state.call(event.call)
    if call is None or call.state is not CallState.AWAITING_APPROVAL or call.approval is None:
        return
    reason = state.stopping.reason if state.stopping else ""
    answer = Answer(ApprovalState.CANCELLED, now_ms, reason or "the run was cancelled")
    yield _stored(namespace, call.approval, answer)
