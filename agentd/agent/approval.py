"""A question to a person about one call, and its answer. Pure data."""

from enum import Enum
from typing import NewType

import msgspec

from agentd.agent.ids import AgentId, CallId, Namespace, RunId, RunIdentity
from agentd.agent.permission import NO_LABELS, Judgement, Labels
from agentd.agent.tool import EffectClass

ApprovalId = NewType("ApprovalId", str)

_END_OF_TIME_MS = 2**44
"""In the year 2527: what is left until then sorts the newest first."""


class ApprovalState(Enum):
    """The state of an approval; the values are those of `agentd.v1.ApprovalState`."""

    PENDING = 1
    ALLOWED = 2
    DENIED = 3
    CANCELLED = 4


class ApprovalScope(Enum):
    """For what a decision holds; the values are those of `agentd.v1.ApprovalScope`."""

    ONCE = 1
    RUN = 2
    AGENT = 3


class Question(msgspec.Struct, frozen=True):
    """What a person is asked. Never changes."""

    id: ApprovalId
    run: RunId
    agent: AgentId
    call: CallId
    path: str
    """`toolset/tool`."""
    effect: EffectClass
    arguments_json: str
    """The model's."""
    arguments_sha256: str
    judgement: Judgement
    """What asks, and everything that the call needs."""
    labels: Labels = NO_LABELS
    """What the run had seen."""
    tool_description: str = ""
    create_time_ms: int = 0
    plan: int = 0
    """The number of the plan that is asked about; 0 when a call is."""


class Answer(msgspec.Struct, frozen=True):
    """What became of a question."""

    state: ApprovalState
    decide_time_ms: int = 0
    reason: str = ""
    scope: ApprovalScope = ApprovalScope.ONCE
    edited_arguments_json: str = ""
    """What the call is executed with in place of the model's arguments; empty for those."""
    decided_by: str = ""
    judgement: Judgement | None = None
    """That of the edited arguments."""
    request_id: str = ""
    """What makes the request that decided it repeatable."""


UNANSWERED = Answer(ApprovalState.PENDING)


class Approval(msgspec.Struct, frozen=True):
    """A question with what is known of its answer."""

    namespace: Namespace
    question: Question
    answer: Answer = UNANSWERED


def approval_id(run: RunIdentity, call: CallId, now_ms: int) -> ApprovalId:
    """Return the id of the question about a call, of which there is one; newer ones sort first."""
    return ApprovalId(f"p{_END_OF_TIME_MS - now_ms:011x}-{run.key:x}-{call}")
