"""Translate approvals into the contract's messages."""

from agentd.agent.approval import Approval, ApprovalState
from agentd.services.convert import timestamp, tool_name
from agentd.v1 import approval_pb2, tool_pb2


def approval(value: Approval) -> approval_pb2.Approval:
    """Return an approval with everything that a person must see to decide."""
    question, answer = value.question, value.answer
    judgement, run = question.judgement, f"runs/{question.run}"
    decided = answer.state in (ApprovalState.ALLOWED, ApprovalState.DENIED)
    return approval_pb2.Approval(
        name=f"approvals/{question.id}",
        call="" if question.plan else f"{run}/calls/{question.call}",
        plan=question.plan,
        state=approval_pb2.ApprovalState.Name(answer.state.value),
        tool=tool_name(question.path),
        arguments_json=question.arguments_json,
        create_time=timestamp(question.create_time_ms),
        decide_time=timestamp(answer.decide_time_ms),
        reason=answer.reason,
        run=run,
        needs=judgement.needs,
        need=judgement.need,
        rule=judgement.rule,
        arguments_sha256=question.arguments_sha256,
        after_untrusted=question.labels.untrusted,
        after_private=question.labels.private,
        tool_description=question.tool_description,
        effect=tool_pb2.EffectClass.Name(question.effect.value),
        edited_arguments_json=answer.edited_arguments_json,
        scope=approval_pb2.ApprovalScope.Name(answer.scope.value) if decided else None,
        decided_by=answer.decided_by,
        agent=f"agents/{question.agent}",
    )
