"""The questions that runs wait on, and the answers to them: ApprovalService."""

import hashlib
from collections.abc import AsyncIterator, Iterable

from agentd.client.transport import Transport
from agentd.v1 import approval_service_pb2
from agentd.v1.approval_pb2 import Approval, ApprovalScope, ApprovalState


class Approvals:
    """Shows and decides approvals."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(
        self, *, states: Iterable[ApprovalState] = (), run: str = ""
    ) -> AsyncIterator[Approval]:
        """Yield approvals, newest first."""
        request = approval_service_pb2.ListApprovalsRequest(states=tuple(states), run=run)
        response = approval_service_pb2.ListApprovalsResponse
        async for page in self._transport.pages(request, response):
            for approval in page.approvals:
                yield approval

    async def get(self, name: str) -> Approval:
        """Return an approval, `approvals/{approval}`."""
        request = approval_service_pb2.GetApprovalRequest(name=name)
        response = approval_service_pb2.GetApprovalResponse
        return (await self._transport.call(request, response)).approval

    async def allow(
        self,
        approval: Approval,
        *,
        scope: ApprovalScope = ApprovalScope.APPROVAL_SCOPE_ONCE,
        edited_arguments_json: str = "",
        reason: str = "",
    ) -> Approval:
        """Allow the call of an approval with the arguments that this approval shows.

        Raises Conflict: WRONG_APPROVAL_STATE when it was decided before, ARGUMENTS_MISMATCH when
        the call has other arguments; and InvalidRequest for edited arguments that may not be.
        """
        return await self._decide(
            approval_service_pb2.DecideApprovalRequest(
                name=approval.name,
                decision=ApprovalState.APPROVAL_STATE_ALLOWED,
                scope=scope,
                edited_arguments_json=edited_arguments_json,
                reason=reason,
                # Of what the person was shown, and not what the daemon says it is.
                arguments_sha256=hashlib.sha256(approval.arguments_json.encode()).hexdigest(),
            )
        )

    async def deny(self, name: str, *, reason: str = "") -> Approval:
        """Refuse the call of `approvals/{approval}`; the model is told the reason.

        Raises Conflict (WRONG_APPROVAL_STATE) when it was decided before.
        """
        denied = ApprovalState.APPROVAL_STATE_DENIED
        return await self._decide(
            approval_service_pb2.DecideApprovalRequest(name=name, decision=denied, reason=reason)
        )

    async def _decide(self, request: approval_service_pb2.DecideApprovalRequest) -> Approval:
        response = approval_service_pb2.DecideApprovalResponse
        return (await self._transport.call(request, response)).approval
