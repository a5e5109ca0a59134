"""What a person sees of a question before deciding it. Everything in it may be made to deceive."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agentd.cli.text import exact_json, line, lower
from agentd.client.types import Approval, ApprovalScope, ApprovalState, EffectClass
from agentd.errors import Conflict, Reason

if TYPE_CHECKING:
    from agentd.client import Client

WIDTH = 160


def tool_of(name: str) -> str:
    """Return `toolset/tool` of a tool's resource name."""
    return name.removeprefix("toolsets/").replace("/tools/", "/")


def seen(*, untrusted: bool, private: bool) -> str:
    """Say what a run had seen; empty for nothing."""
    labels = ("untrusted text" if untrusted else "", "private data" if private else "")
    return " and ".join(filter(None, labels))


def state_of(approval: Approval) -> str:
    """Return an approval's state for people."""
    return lower(ApprovalState.Name(approval.state), "APPROVAL_STATE_")


def question_lines(approval: Approval) -> Iterator[str]:
    """Say what a run wants to do, and why a person is asked."""
    yield f"{approval.run} wants to {_wish(approval)}: {approval.name}"
    effect = lower(EffectClass.Name(approval.effect), "EFFECT_CLASS_")
    labels = seen(untrusted=approval.after_untrusted, private=approval.after_private)
    pairs = (
        ("plan" if approval.plan else "arguments", exact_json(approval.arguments_json)),
        ("needs", ", ".join(line(need) for need in approval.needs)),
        ("asks", line(f"{approval.rule} (for {approval.need})" if approval.need else "")),
        ("effect", effect),
        ("has seen", labels),
        ("tool says", line(approval.tool_description, WIDTH)),
    )
    for name, value in pairs:
        if value:
            first, *others = value.split("\n")
            yield f"  {name:<10} {first}"
            yield from (" " * 13 + other for other in others)


def subject_of(approval: Approval) -> str:
    """Return what an approval is about: a tool, or a plan by its number."""
    return f"plan {approval.plan}" if approval.plan else tool_of(approval.tool)


def _wish(approval: Approval) -> str:
    if approval.plan:
        return f"carry out {subject_of(approval)}"
    return f"call {line(tool_of(approval.tool))}"


def decided(approval: Approval) -> str:
    """Say what was decided, for how long and by whom."""
    said = f"{approval.name} is {state_of(approval)}"
    if approval.scope in (ApprovalScope.APPROVAL_SCOPE_RUN, ApprovalScope.APPROVAL_SCOPE_AGENT):
        whose = approval.run
        if approval.scope == ApprovalScope.APPROVAL_SCOPE_AGENT:
            whose = approval.agent
        said += f", and so are later calls of {whose} that need no more"
    if approval.decided_by:
        said += f" (by {line(approval.decided_by)})"
    return said


async def find(client: "Client", name: str) -> Approval:
    """Return an approval by its name or id, or by that of the call that it is about.

    Raises Conflict (WRONG_CALL_STATE) for a call that nobody is asked about.
    """
    parts = name.split("/")
    if len(parts) == 4 and parts[0] == "runs":
        call = await client.runs.get_call(name)
        if not call.approval:
            raise Conflict(Reason.WRONG_CALL_STATE, f"nobody was asked about {name}")
        name = call.approval
    elif len(parts) == 1:
        name = f"approvals/{name}"
    return await client.approvals.get(name)
