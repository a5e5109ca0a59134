"""Store what people are asked and what they answered, beside the events that say so.

A question is revision 1 of a document, its answer revision 2: neither is ever changed. Two indexes
stand beside them. That of the pending ones may hold some that are answered: a crash may come
between the answer and its removal, and a list that meets such a one removes it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

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
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallState
from agentd.context.transcript import Transcript
from agentd.protocol.machine import evolve
from agentd.runtime.ports import Record
from agentd.tools.toolkit import Toolkit

APPROVAL: Final = "approval"
PENDING: Final = "approval-pending"
"""Ids of approvals that nobody has decided."""
OF_RUN: Final = "approval-run"
"""Ids of approvals behind their runs' ids: `{run}/{approval}`."""

_KINDS = frozenset({ApprovalRequested, ApprovalDecided, RunCancelling})
"""The events without which no question is asked, answered or cancelled."""


class Step(msgspec.Struct):
    """What a run is about to record."""

    run: RunIdentity
    state: State
    """The state before."""
    events: Sequence[Event]
    transcript: Transcript | None
    """As of the state before."""
    now_ms: int


def concerned(events: Sequence[Event]) -> bool:
    """Whether documents may have to be stored with these events."""
    return any(type(event) in _KINDS for event in events)


def asks(events: Sequence[Event]) -> bool:
    """Whether a person is asked: then the arguments of calls have to be at hand."""
    return any(type(event) is ApprovalRequested for event in events)


def documents_of(step: Step, toolkit: Callable[[], Toolkit]) -> Sequence[Record]:
    """Return what is to be stored in the transaction of some events."""
    records: list[Record] = []
    state = step.state
    arguments: dict[CallId, str] = {}
    for event in step.events:
        match event:
            case ModelReplied(calls=calls, message=message):
                for call, use in zip(calls, message.calls, strict=True):
                    arguments[call.call] = use.arguments_json
            case ApprovalRequested():
                asked = state.call(event.call)
                assert asked is not None
                text = arguments.get(asked.id)
                if text is None:
                    assert step.transcript is not None
                    text = step.transcript.arguments(asked.id)
                question = _question(step, event, asked, text)
                description = toolkit().by_path[asked.path].description
                question = msgspec.structs.replace(question, tool_description=description)
                records += _asked(step.run, question)
            case ApprovalDecided():
                records.append(answered(step.run.namespace, event, step.now_ms))
            case CallEnded():
                records += _cancelled(step, state, event)
            case _:
                pass
        state = evolve(state, event)
    return records


def answered(namespace: Namespace, event: ApprovalDecided, now_ms: int) -> Record:
    """Return the document of an answer."""
    answer = Answer(
        event.decision,
        now_ms,
        event.reason,
        event.scope,
        event.edited_arguments_json,
        event.decided_by,
        event.judgement,
        event.request_id,
    )
    return _answer(namespace, event.approval, answer)


def run_place(run: RunId, approval: str) -> str:
    """Return the id of an approval in the index of runs."""
    return f"{run}/{approval}"


def _question(
    step: Step, event: ApprovalRequested, call: OpenCall, arguments_json: str
) -> Question:
    assert call.judgement is not None
    return Question(
        id=event.approval,
        run=step.run.id,
        agent=step.run.agent,
        call=call.id,
        path=call.path,
        effect=call.effect,
        arguments_json=arguments_json,
        arguments_sha256=event.arguments_sha256,
        judgement=call.judgement,
        labels=call.seen,
        create_time_ms=step.now_ms,
    )


def _asked(run: RunIdentity, question: Question) -> Iterator[Record]:
    now_ms = question.create_time_ms
    body = msgspec.msgpack.encode(question)
    yield Record(APPROVAL, run.namespace, question.id, body, 1, now_ms)
    yield Record(PENDING, run.namespace, question.id, b"", 1, now_ms)
    yield Record(OF_RUN, run.namespace, run_place(run.id, question.id), b"", 1, now_ms)


def _answer(namespace: Namespace, approval: ApprovalId, answer: Answer) -> Record:
    body = msgspec.msgpack.encode(answer)
    return Record(APPROVAL, namespace, approval, body, 2, answer.decide_time_ms)


def _cancelled(step: Step, state: State, event: CallEnded) -> Iterator[Record]:
    """Yield the answer to a question whose call ends before anybody has decided."""
    call = state.call(event.call)
    if call is None or call.state is not CallState.AWAITING_APPROVAL or call.approval is None:
        return
    reason = state.stopping.reason if state.stopping else ""
    answer = Answer(ApprovalState.CANCELLED, step.now_ms, reason or "the run was cancelled")
    yield _answer(step.run.namespace, call.approval, answer)
