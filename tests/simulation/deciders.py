"""Those who are asked whether calls may be executed, and answer as people do."""

import json
from collections.abc import Sequence
from functools import partial

from agentd.agent.approval import Approval, ApprovalScope, ApprovalState
from agentd.errors import AgentdError, Conflict, Reason
from agentd.runtime.approvals import ApprovalQuery, Choice
from agentd.runtime.runtime import Runtime
from tests.simulation.people import Person, Refused
from tests.simulation.world import NAMESPACE

_PENDING = frozenset({ApprovalState.PENDING})


class Decider(Person):
    """Looks at what waits, and decides some of it: rightly, hastily, or twice."""

    _count = 0

    async def decide(self) -> None:
        """Look at everything that waits once."""
        for approval in await self.ask(_pending):
            if approval.answer.state is not ApprovalState.PENDING:
                self.world.violation(f"{approval.question.id} is not pending")
            if self.world.calm or self.random.random() < 0.6:
                await self._answer(approval)

    async def _answer(self, approval: Approval) -> None:
        choice = self._choice(approval)
        request_id = self.random.choice(("", self._new_request()))
        for _ in range(self.random.choice((1, 1, 2)) if request_id else 1):
            try:
                decided = await self.ask(partial(_decide, approval, choice, request_id))
            except Refused as refused:
                self._check_refusal(approval, choice, refused.__cause__)
            else:
                self._check(decided, choice)

    def _choice(self, approval: Approval) -> Choice:
        random = self.random
        shown = approval.question.arguments_sha256
        if self.wrong(0.1):
            shown = "0" * 64
        if random.random() < 0.3:
            return Choice(allow=False, reason="rather not", arguments_sha256=shown)
        if approval.question.plan:
            return Choice(allow=True, arguments_sha256=shown, decided_by="somebody")
        edited = json.dumps({"n": random.randint(100, 199)}) if random.random() < 0.2 else ""
        if self.wrong(0.1):
            edited = random.choice(('{"n":"one"}', "[]", "{"))
        return Choice(
            allow=True,
            scope=random.choice((ApprovalScope.ONCE, *ApprovalScope)),
            edited_arguments_json=edited,
            arguments_sha256=shown,
            decided_by="somebody",
        )

    def _check(self, decided: Approval, choice: Choice) -> None:
        """An answer that was acknowledged is the one that was given."""
        told = decided.answer
        state = ApprovalState.ALLOWED if choice.allow else ApprovalState.DENIED
        same = (told.state, told.reason, told.scope, told.edited_arguments_json)
        if same != (state, choice.reason, choice.scope, choice.edited_arguments_json):
            self.world.violation(f"{choice} was answered with {told}")
        if choice.arguments_sha256 != decided.question.arguments_sha256:
            self.world.violation(f"{decided.question.id} was decided by another hash")
        self.world.acknowledged.decisions.append(decided)

    def _check_refusal(
        self, approval: Approval, choice: Choice, error: BaseException | None
    ) -> None:
        wrong = choice.arguments_sha256 != approval.question.arguments_sha256
        if isinstance(error, Conflict) and error.reason is Reason.ARGUMENTS_MISMATCH and not wrong:
            self.world.violation(f"{choice} was refused for its hash")
        if isinstance(error, AgentdError) and error.reason is Reason.APPROVAL_NOT_FOUND:
            self.world.violation(f"{approval.question.id} is gone")

    def _new_request(self) -> str:
        self._count += 1
        return f"decide-{self._count}"


async def _pending(runtime: Runtime) -> Sequence[Approval]:
    return await runtime.approvals.list(ApprovalQuery(NAMESPACE, _PENDING), after="", limit=50)


async def _decide(
    approval: Approval, choice: Choice, request_id: str, runtime: Runtime
) -> Approval:
    return await runtime.approvals.decide(
        NAMESPACE, approval.question.id, choice, request_id=request_id
    )
