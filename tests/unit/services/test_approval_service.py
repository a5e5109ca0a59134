"""Approvals through the services: asked, shown, decided once."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import Conflict, InvalidRequest, NotFound, Reason
from agentd.services.caller import Caller
from agentd.v1 import agent_pb2, agent_service_pb2, run_pb2
from agentd.v1 import approval_service_pb2 as pb
from agentd.v1.call_pb2 import CALL_STATE_DENIED
from agentd.v1.permission_pb2 import (
    DECISION_ALLOW,
    DECISION_ASK,
    DECISION_DENY,
    PermissionRule,
)
from agentd.v1.tool_pb2 import EFFECT_CLASS_IDEMPOTENT
from tests.unit.services.house import CALLER, STRANGER, failing, house, refused
from tests.unit.services.mailing import (
    ALLOWED,
    CANCELLED,
    DENIED,
    PENDING,
    RUN,
    SEND,
    TO_ANN,
    asked,
    calling,
    calls,
    decide,
    ended,
    home_of,
    mail_host,
    start,
)


async def test_a_person_sees_everything_and_allows(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home) as sent:
        await start(home)
        [approval] = await asked(home)
        assert approval.name.startswith("approvals/p")
        assert (approval.run, approval.call) == ("runs/r-1", "runs/r-1/calls/c1-1")
        assert (approval.tool, approval.tool_description) == (SEND.name, SEND.description)
        assert (approval.agent, approval.effect) == ("agents/careful", EFFECT_CLASS_IDEMPOTENT)
        assert approval.arguments_json == TO_ANN
        assert approval.arguments_sha256 == hashlib.sha256(TO_ANN.encode()).hexdigest()
        assert list(approval.needs) == ["tool.use:mail/send"]
        assert (approval.need, approval.rule) == ("tool.use:mail/send", "ask tool.use:mail/*")
        [call] = await calls(home)
        assert (call.approval, call.verdict.decision) == (approval.name, DECISION_ASK)
        assert sent == []
        decided = await decide(home, approval, reason="she waits for it")
        assert (decided.state, decided.reason) == (ALLOWED, "she waits for it")
        assert decided.decided_by == "inprocess"
        assert (await ended(home)).output == 'It says: "sent"'
        assert sent == [TO_ANN]
        got = await home.approvals.GetApproval(pb.GetApprovalRequest(name=approval.name), CALLER)
        assert got.approval == decided


async def test_a_denial_reaches_the_model_with_its_reason(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home) as sent:
        await start(home)
        [approval] = await asked(home)
        # To deny, nobody has to say what was shown.
        await decide(home, approval, decision=DENIED, arguments_sha256="", reason="not to ann")
        output = (await ended(home)).output
        assert "A person refused this call" in output
        assert "not to ann" in output
        [call] = await calls(home)
        assert call.state == CALL_STATE_DENIED
        assert sent == []


async def test_a_rule_that_denies_is_told_to_the_model(tmp_path: Path) -> None:
    async with home_of(tmp_path, calling([("wipe", {})])) as home, mail_host(home) as sent:
        await start(home)
        output = (await ended(home)).output
        assert "tool.use:mail/wipe" in output
        assert "'deny tool.use:mail/wipe'" in output
        [call] = await calls(home)
        assert (call.state, call.verdict.decision) == (CALL_STATE_DENIED, DECISION_DENY)
        assert sent == []


async def test_a_decision_is_bound_to_what_was_shown(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home) as sent:
        await start(home)
        [approval] = await asked(home)
        for decision in (ALLOWED, DENIED):
            async with failing(Conflict, Reason.ARGUMENTS_MISMATCH):
                await decide(home, approval, decision=decision, arguments_sha256="0" * 64)
        async with refused("arguments_sha256"):
            await decide(home, approval, arguments_sha256="")
        assert sent == []
        await decide(home, approval)
        assert (await ended(home)).state == run_pb2.RUN_STATE_SUCCEEDED


async def test_it_is_decided_once(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home):
        await start(home)
        [approval] = await asked(home)
        first = await decide(home, approval, request_id="once")
        assert await decide(home, approval, request_id="once") == first
        with pytest.raises(Conflict) as caught:
            await decide(home, approval, decision=DENIED)
        assert caught.value.reason is Reason.WRONG_APPROVAL_STATE
        assert caught.value.metadata["state"] == "ALLOWED"
        async with failing(InvalidRequest, Reason.REQUEST_ID_REUSED):
            await decide(home, approval, decision=DENIED, request_id="once")


async def test_lists(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home):
        for number in range(1, 6):
            await start(home, f"r-{number}")
            await asked(home, number)
        newest = await asked(home, 5)
        assert [each.name for each in newest] == sorted(each.name for each in newest)
        await decide(home, newest[4], decision=DENIED)
        [left] = await asked(home, 1, run="runs/r-3")
        assert left.run == "runs/r-3"

        async def listed(**fields: Any) -> list[str]:
            names: list[str] = []
            token = ""
            while True:
                request = pb.ListApprovalsRequest(page_size=2, page_token=token, **fields)
                answer = await home.approvals.ListApprovals(request, CALLER)
                names += [approval.name for approval in answer.approvals]
                token = answer.next_page_token
                if not token:
                    return names

        names = [each.name for each in newest]
        assert await listed() == names
        assert await listed(states=[PENDING]) == names[:4]
        assert await listed(states=[DENIED, ALLOWED]) == names[4:]
        assert await listed(run=newest[4].run) == names[4:]
        assert await listed(run="runs/r-9") == []


async def test_another_namespace_sees_nothing(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home):
        await start(home)
        [approval] = await asked(home)
        answer = await home.approvals.ListApprovals(pb.ListApprovalsRequest(), STRANGER)
        assert list(answer.approvals) == []
        for name in (approval.name, "approvals/nothing"):
            async with failing(NotFound, Reason.APPROVAL_NOT_FOUND):
                await home.approvals.GetApproval(pb.GetApprovalRequest(name=name), STRANGER)
            request = pb.DecideApprovalRequest(
                name=name, decision=ALLOWED, arguments_sha256=approval.arguments_sha256
            )
            async with failing(NotFound, Reason.APPROVAL_NOT_FOUND):
                await home.approvals.DecideApproval(request, STRANGER)


async def test_who_decided_is_told(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home):
        await start(home)
        [approval] = await asked(home)
        request = pb.DecideApprovalRequest(
            name=approval.name, decision=ALLOWED, arguments_sha256=approval.arguments_sha256
        )
        caller = Caller(uid=1000, pid=5, transport="unix")
        decided = (await home.approvals.DecideApproval(request, caller)).approval
        assert decided.decided_by == "uid 1000"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "runs/r-1"}, "name"),
        ({"decision": 0}, "decision"),
        ({"decision": PENDING}, "decision"),
        ({"decision": CANCELLED}, "decision"),
        ({"scope": 9}, "scope"),
        ({"decision": DENIED, "scope": RUN}, "scope"),
        ({"decision": DENIED, "edited_arguments_json": "{}"}, "edited_arguments_json"),
        ({"reason": "x" * 1025}, "reason"),
        ({"request_id": "x" * 129}, "request_id"),
        ({"arguments_sha256": "XYZ"}, "arguments_sha256"),
    ],
)
async def test_bad_decisions(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    given = {
        "name": "approvals/p1",
        "decision": ALLOWED,
        "arguments_sha256": "0" * 64,
        **fields,
    }
    async with house(tmp_path) as home, refused(field):
        await home.approvals.DecideApproval(pb.DecideApprovalRequest(**given), CALLER)


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (PermissionRule(permission="tool.use:*"), "agent.permissions[0].decision"),
        (PermissionRule(decision=DECISION_ASK), "agent.permissions[0].permission"),
        (
            PermissionRule(decision=DECISION_ASK, permission="fly:*"),
            "agent.permissions[0].permission",
        ),
        (
            PermissionRule(decision=DECISION_ALLOW, permission="tool.use:*", outward=True),
            "agent.permissions[0]",
        ),
    ],
)
async def test_bad_rules(tmp_path: Path, rule: PermissionRule, field: str) -> None:
    agent = agent_pb2.Agent(name="agents/a", permissions=[rule])
    async with house(tmp_path) as home, refused(field):
        request = agent_service_pb2.CreateAgentRequest(agent=agent)
        await home.agents.CreateAgent(request, CALLER)
