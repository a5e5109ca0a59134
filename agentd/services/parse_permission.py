"""Read rules, grants and decisions into the vocabulary. Every refusal names its field."""

import re
from collections.abc import Iterable

from agentd.agent.approval import ApprovalId, ApprovalScope, ApprovalState
from agentd.agent.ids import parse_name
from agentd.agent.permission import Decision, Grant, Labels, Layer, Rule
from agentd.errors import invalid_field
from agentd.runtime.approvals import Choice
from agentd.services import checks
from agentd.tools.permissions import check_permission, check_rule
from agentd.v1 import approval_service_pb2, permission_pb2

MAX_RULES = 256
MAX_PERMISSION = 1024

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def approval_id(name: str, field: str = "name") -> ApprovalId:
    """Return the id of `approvals/{approval}`."""
    return ApprovalId(parse_name(name, "approvals", field))


def rules(messages: Iterable[permission_pb2.PermissionRule], field: str) -> Layer:
    """Return the rules of an agent."""
    found = tuple(_rule(message, f"{field}[{index}]") for index, message in enumerate(messages))
    checks.count(found, field, at_most=MAX_RULES)
    return found


def grants(messages: Iterable[permission_pb2.PermissionGrant], field: str) -> tuple[Grant, ...]:
    """Return the lasting answers of an agent."""
    found = tuple(_grant(message, f"{field}[{index}]") for index, message in enumerate(messages))
    checks.count(found, field, at_most=MAX_RULES)
    return found


def permission(value: str, field: str) -> str:
    """Return one permission."""
    checks.text(value, field, at_most=MAX_PERMISSION, needed=True)
    check_permission(value, field)
    return value


def choice(request: approval_service_pb2.DecideApprovalRequest, decided_by: str) -> Choice:
    """Return what a person decides."""
    decision = checks.choice(request.decision, ApprovalState, "decision")
    if decision not in (ApprovalState.ALLOWED, ApprovalState.DENIED):
        raise invalid_field("decision", "must be ALLOWED or DENIED")
    allow = decision is ApprovalState.ALLOWED
    scope = checks.choice(request.scope, ApprovalScope, "scope", unset=ApprovalScope.ONCE)
    edited = request.edited_arguments_json
    if edited:
        checks.json_text(edited, "edited_arguments_json")
    if not allow and (edited or scope is not ApprovalScope.ONCE):
        field = "edited_arguments_json" if edited else "scope"
        raise invalid_field(field, "goes with ALLOWED only")
    shown = request.arguments_sha256
    if (shown or allow) and not _SHA256.match(shown):
        raise invalid_field(
            "arguments_sha256", "must be the approval's arguments_sha256, 64 hexadecimal digits"
        )
    return Choice(
        allow=allow,
        reason=checks.text(request.reason, "reason", at_most=checks.MAX_REASON),
        scope=scope,
        edited_arguments_json=edited,
        arguments_sha256=shown,
        decided_by=decided_by,
    )


def _rule(message: permission_pb2.PermissionRule, field: str) -> Rule:
    found = Rule(
        checks.choice(message.decision, Decision, f"{field}.decision"),
        checks.text(message.permission, f"{field}.permission", at_most=MAX_PERMISSION, needed=True),
        Labels(message.after_untrusted, message.after_private),
        message.outward,
    )
    check_rule(found, field)
    return found


def _grant(message: permission_pb2.PermissionGrant, field: str) -> Grant:
    checks.count(message.permissions, f"{field}.permissions", at_most=MAX_RULES)
    if not message.permissions:
        raise invalid_field(f"{field}.permissions", "is required")
    needs = tuple(
        permission(need, f"{field}.permissions[{index}]")
        for index, need in enumerate(message.permissions)
    )
    return Grant(needs, Labels(message.untrusted, message.private))
