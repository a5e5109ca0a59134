"""Approvals: what waits for a person, and what the person says. Knows no protobuf."""

from collections.abc import Sequence
from functools import partial

import msgspec

from agentd.agent.approval import (
    UNANSWERED,
    Answer,
    Approval,
    ApprovalId,
    ApprovalScope,
    ApprovalState,
    Question,
)
from agentd.agent.events import ApprovalDecided, Event
from agentd.agent.ids import Namespace, RunId
from agentd.agent.lifecycle_events import PlanApprovalDecided
from agentd.agent.permission import Decision, Grant, Judgement
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallState
from agentd.errors import Conflict, InvalidRequest, NotFound, Reason, invalid_field
from agentd.log import get_logger
from agentd.runtime.claims import KeyedLocks, RequestClaims, request_digest
from agentd.runtime.judging import Judging, denial
from agentd.runtime.library import Library
from agentd.runtime.questions import APPROVAL, OF_RUN, PENDING, run_place
from agentd.runtime.reading import Reading
from agentd.runtime.scheduler import Scheduler
from agentd.runtime.surroundings import Surroundings
from agentd.tools.schema import compile_arguments

_log = get_logger()


class ApprovalQuery(msgspec.Struct, frozen=True):
    """Which approvals of a namespace are listed. Unset means any."""

    namespace: Namespace
    states: frozenset[ApprovalState] = frozenset()
    run: RunId | None = None


class Choice(msgspec.Struct, frozen=True):
    """What a person decides."""

    allow: bool
    reason: str = ""
    scope: ApprovalScope = ApprovalScope.ONCE
    edited_arguments_json: str = ""
    """Empty means the model's."""
    arguments_sha256: str = ""
    """Of the arguments that the person saw; needed to allow."""
    decided_by: str = ""


class Approvals:
    """The approvals of a daemon."""

    def __init__(
        self,
        *,
        around: Surroundings,
        library: Library,
        claims: RequestClaims,
        judging: Judging,
        scheduler: Scheduler,
        reading: Reading,
    ) -> None:
        self._journal = around.journal
        self._library = library
        self._claims = claims
        self._judging = judging
        self._toolkit = around.toolkit
        self._scheduler = scheduler
        self._reading = reading
        self._locks = KeyedLocks()

    async def get(self, namespace: Namespace, approval: ApprovalId) -> Approval:
        """Return an approval, or raise NotFound (APPROVAL_NOT_FOUND)."""
        found = await self._find(namespace, approval)
        if found is None:
            name = f"approvals/{approval}"
            message = f"there is no {name}"
            raise NotFound(Reason.APPROVAL_NOT_FOUND, message, metadata={"approval": name})
        return found

    async def list(self, query: ApprovalQuery, *, after: str, limit: int) -> Sequence[Approval]:
        """Return approvals with ids above `after`, newest first."""
        found: list[Approval] = []
        kind = self._index(query)
        while len(found) < limit:
            ids = await self._ids(kind, query, after, limit)
            for approval in ids:
                present = await self._find(query.namespace, approval)
                if present and (not query.states or present.answer.state in query.states):
                    found.append(present)
                elif kind == PENDING:
                    await self._journal.delete(PENDING, query.namespace, approval)
            if len(ids) < limit:
                break
            after = ids[-1]
        return found[:limit]

    async def decide(
        self, namespace: Namespace, approval: ApprovalId, choice: Choice, *, request_id: str = ""
    ) -> Approval:
        """Decide an approval and return it once that is durable.

        Raises NotFound (APPROVAL_NOT_FOUND), Conflict (WRONG_APPROVAL_STATE, ARGUMENTS_MISMATCH),
        InvalidRequest (INVALID_FIELD) for edited arguments that may not be, and REQUEST_ID_REUSED.
        """
        # A caller that goes away must not leave a decision without the grant that belongs to it.
        return await self._scheduler.errands.run(
            partial(self._decide_once, namespace, approval, choice, request_id)
        )

    async def _decide_once(
        self, namespace: Namespace, approval: ApprovalId, choice: Choice, request_id: str
    ) -> Approval:
        method = "DecideApproval"
        digest = request_digest((approval, choice)) if request_id else ""
        async with (
            self._claims.hold(namespace, request_id),
            self._locks.hold((namespace, approval)),
        ):
            answer = await self._claims.find(namespace, request_id, method, digest)
            present = await self.get(namespace, approval)
            # Without its claim, which a crash may have kept from being stored, the answer knows.
            again = bool(request_id) and present.answer.request_id == request_id
            if answer is None and not again:
                await self._settle(present, choice, request_id)
                claim = self._claims.records(namespace, request_id, method, digest, approval)
                if claim:
                    await self._journal.put(claim)
                await self._journal.delete(PENDING, namespace, approval)
                present = await self.get(namespace, approval)
            await self._extend(present)
            return present

    async def _settle(self, approval: Approval, choice: Choice, request_id: str) -> None:
        question = approval.question
        if approval.answer.state is not ApprovalState.PENDING:
            raise _wrong_state(approval)
        if question.plan:
            _check_plan_choice(choice)
        shown = choice.arguments_sha256
        if shown != question.arguments_sha256 and (shown or choice.allow):
            raise _mismatch(question, shown)
        run = (await self._reading.get_run(approval.namespace, question.run)).identity
        fact = _plan_fact if question.plan else self._fact
        try:
            await self._scheduler.settle(run, fact, question, choice, request_id)
        except _NotAwaiting:
            await self._journal.read_run(run, limit=1)  # Until what made it so is durable.
            raise _wrong_state(await self.get(approval.namespace, question.id)) from None

    def _fact(self, state: State, question: Question, choice: Choice, request_id: str) -> Event:
        call = state.call(question.call)
        awaits = call is not None and call.state is CallState.AWAITING_APPROVAL
        if call is None or not awaits or call.approval != question.id or state.stopping:
            raise _NotAwaiting(Reason.WRONG_APPROVAL_STATE, f"{question.id} is not awaited")
        judgement = None
        if choice.edited_arguments_json:
            judgement = self._judge_edited(state, call, choice.edited_arguments_json)
        return ApprovalDecided(
            question.id,
            call.id,
            ApprovalState.ALLOWED if choice.allow else ApprovalState.DENIED,
            choice.reason,
            choice.scope,
            choice.edited_arguments_json,
            choice.decided_by,
            judgement,
            request_id,
        )

    def _judge_edited(self, state: State, call: OpenCall, arguments_json: str) -> Judgement:
        """Judge what a person has put in place of the model's arguments: a person may allow what
        rules ask about, and not what they deny."""
        assert state.started is not None
        field = "edited_arguments_json"
        tool = self._toolkit(state.started.tools).by_path[call.path]
        fault = compile_arguments(tool).check(arguments_json)
        if fault:
            raise invalid_field(field, fault)
        try:
            judgement = self._judging.judge(state, tool, arguments_json)
        except (ValueError, InvalidRequest) as error:
            raise invalid_field(field, str(error)) from None
        if judgement.decision is Decision.DENY:
            raise invalid_field(field, denial(judgement).message)
        return judgement

    async def _extend(self, approval: Approval) -> None:
        """Give an agent the grant of an answer that holds for it. Done again for a request that is
        repeated, because a crash may come between the answer and this."""
        question, answer = approval.question, approval.answer
        if answer.state is not ApprovalState.ALLOWED or answer.scope is not ApprovalScope.AGENT:
            return
        needs = (answer.judgement or question.judgement).needs
        try:
            await self._library.add_grant(
                approval.namespace, question.agent, Grant(needs, question.labels)
            )
        except NotFound:
            _log.info("agent_is_gone", agent=question.agent, approval=question.id)

    async def _find(self, namespace: Namespace, approval: str) -> Approval | None:
        asked = await self._journal.get(APPROVAL, namespace, approval, 1)
        if asked is None:
            return None
        told = await self._journal.get(APPROVAL, namespace, approval, 2)
        answer = msgspec.msgpack.decode(told.body, type=Answer) if told else UNANSWERED
        return Approval(namespace, msgspec.msgpack.decode(asked.body, type=Question), answer)

    def _index(self, query: ApprovalQuery) -> str:
        """Return the kind of the documents that are the narrowest index for a query."""
        if query.run is not None:
            return OF_RUN
        return PENDING if query.states == {ApprovalState.PENDING} else APPROVAL

    async def _ids(self, kind: str, query: ApprovalQuery, after: str, limit: int) -> Sequence[str]:
        """Return the ids of approvals that may match, above `after`."""
        prefix = run_place(query.run, "") if query.run is not None else ""
        records = await self._journal.list_newest(
            kind, query.namespace, after=prefix + after, limit=limit
        )
        return [
            record.id.removeprefix(prefix) for record in records if record.id.startswith(prefix)
        ]


class _NotAwaiting(Conflict):
    """The call does not await the decision any more."""


def _plan_fact(state: State, question: Question, choice: Choice, request_id: str) -> Event:
    lifecycle = state.lifecycle
    awaits = lifecycle is not None and lifecycle.approval == question.id and not state.stopping
    if lifecycle is None or not awaits or lifecycle.approved is not ApprovalState.PENDING:
        raise _NotAwaiting(Reason.WRONG_APPROVAL_STATE, f"{question.id} is not awaited")
    decision = ApprovalState.ALLOWED if choice.allow else ApprovalState.DENIED
    return PlanApprovalDecided(question.id, decision, choice.reason, choice.decided_by, request_id)


def _check_plan_choice(choice: Choice) -> None:
    """A plan is allowed or denied as it is, and for its run alone."""
    if choice.edited_arguments_json:
        message = "a plan is not edited: deny it and say why, and another one is made"
        raise invalid_field("edited_arguments_json", message)
    if choice.scope is not ApprovalScope.ONCE:
        raise invalid_field("scope", "a plan is approved for its run alone")


def _wrong_state(approval: Approval) -> Conflict:
    question, answer = approval.question, approval.answer
    name, state = f"approvals/{question.id}", answer.state.name
    who = f" by {answer.decided_by}" if answer.decided_by else ""
    return Conflict(
        Reason.WRONG_APPROVAL_STATE,
        f"{name} is {state}{who}, and cannot be decided again",
        metadata={"approval": name, "state": state, "decided_by": answer.decided_by},
    )


def _mismatch(question: Question, shown: str) -> Conflict:
    return Conflict(
        Reason.ARGUMENTS_MISMATCH,
        f"approvals/{question.id} is about arguments with the SHA-256 "
        f"{question.arguments_sha256}, and the decision about {shown[:64] or 'none'}",
        metadata={
            "approval": f"approvals/{question.id}",
            "arguments_sha256": question.arguments_sha256,
        },
    )
