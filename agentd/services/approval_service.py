"""Serve ApprovalService: show what waits for a person, and take the person's answer."""
# ruff: noqa: N802  (methods bear the contract's names)

from agentd.agent.approval import ApprovalState
from agentd.runtime.approvals import ApprovalQuery, Approvals
from agentd.services import checks, parse, parse_permission
from agentd.services.caller import Caller
from agentd.services.convert_approval import approval
from agentd.services.pages import cut, parse_page
from agentd.v1 import approval_service_pb2 as pb


class ApprovalService:
    """The methods of `agentd.v1.ApprovalService`."""

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals

    async def ListApprovals(
        self, request: pb.ListApprovalsRequest, caller: Caller
    ) -> pb.ListApprovalsResponse:
        """List approvals, newest first."""
        states = frozenset(
            checks.choice(state, ApprovalState, f"states[{index}]")
            for index, state in enumerate(request.states)
        )
        run = parse.run_id(request.run, "run") if request.run else None
        query = ApprovalQuery(caller.namespace, states, run)
        scope = (request.run, *sorted(state.name for state in states))
        page = parse_page(request, str, "ListApprovals", caller.namespace, *scope)
        found = await self._approvals.list(query, after=page.position or "", limit=page.size + 1)
        shown, more = cut([approval(each) for each in found], page.size)
        token = page.token(found[len(shown) - 1].question.id) if more else ""
        return pb.ListApprovalsResponse(approvals=shown, next_page_token=token)

    async def GetApproval(
        self, request: pb.GetApprovalRequest, caller: Caller
    ) -> pb.GetApprovalResponse:
        """Return an approval."""
        name = parse_permission.approval_id(request.name)
        return pb.GetApprovalResponse(
            approval=approval(await self._approvals.get(caller.namespace, name))
        )

    async def DecideApproval(
        self, request: pb.DecideApprovalRequest, caller: Caller
    ) -> pb.DecideApprovalResponse:
        """Decide an approval, once."""
        decided = await self._approvals.decide(
            caller.namespace,
            parse_permission.approval_id(request.name),
            parse_permission.choice(request, _who(caller)),
            request_id=checks.request_id(request.request_id),
        )
        return pb.DecideApprovalResponse(approval=approval(decided))


def _who(caller: Caller) -> str:
    """Say who decides, as far as a carrier found out."""
    return caller.transport if caller.uid is None else f"uid {caller.uid}"
