"""Approvals through the services: asked, shown, decided once, in force at once."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentd.agent.ids import RunId
from agentd.errors import Conflict, InvalidRequest, NotFound, Reason
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.services.caller import Caller
from agentd.v1 import agent_pb2, agent_service_pb2, approval_pb2, run_pb2, run_service_pb2
from agentd.v1 import approval_service_pb2 as pb
from agentd.v1 import tool_host_service_pb2 as host_pb
from agentd.v1.call_pb2 import CALL_STATE_DENIED, CALL_STATE_SUCCEEDED, Call
from agentd.v1.event_service_pb2 import EventFilter
from agentd.v1.permission_pb2 import (
    DECISION_ALLOW,
    DECISION_ASK,
    DECISION_DENY,
    PermissionRule,
)
from agentd.v1.tool_pb2 import EFFECT_CLASS_IDEMPOTENT, Tool
from tests.unit.services.house import CALLER, STRANGER, House, failing, house, refused

ALLOWED = approval_pb2.APPROVAL_STATE_ALLOWED
DENIED = approval_pb2.APPROVAL_STATE_DENIED
PENDING = approval_pb2.APPROVAL_STATE_PENDING
CANCELLED = approval_pb2.APPROVAL_STATE_CANCELLED
RUN, AGENT = approval_pb2.APPROVAL_SCOPE_RUN, approval_pb2.APPROVAL_SCOPE_AGENT
RULES = (
    PermissionRule(decision=DECISION_ALLOW, permission="tool.use:*"),
    PermissionRule(decision=DECISION_ASK, permission="tool.use:mail/*"),
    PermissionRule(decision=DECISION_DENY, permission="tool.use:mail/wipe"),
)
SEND = Tool(
    name="toolsets/mail/tools/send",
    description="Sends a letter.",
    input_schema_json='{"type":"object","properties":{"to":{"type":"string"}},"required":["to"]}',
    effect=EFFECT_CLASS_IDEMPOTENT,
)
WIPE = Tool(name="toolsets/mail/tools/wipe")
R1 = RunId("r-1")
TO_ANN = '{"to":"ann"}'


def calling(*turns: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return a script that calls tools in turns, and then tells the last result."""
    asked = [
        {"calls": [{"tool": tool, "arguments": arguments} for tool, arguments in turn]}
        for turn in turns
    ]
    return {"conversations": [{"turns": [*asked, {"text": "It says: {{last_result}}"}]}]}


ONCE = calling([("send", {"to": "ann"})])
TWICE = calling([("send", {"to": "ann"})], [("send", {"to": "bob"})])


@asynccontextmanager
async def home_of(directory: Path, script: dict[str, Any] = ONCE) -> AsyncIterator[House]:
    """A house with an agent that asks before it mails."""
    async with house(directory, script) as home:
        agent = agent_pb2.Agent(name="agents/careful", tools=["mail/*"], permissions=RULES)
        request = agent_service_pb2.CreateAgentRequest(agent=agent, request_id="careful")
        await home.agents.CreateAgent(request, CALLER)
        yield home


@asynccontextmanager
async def mail_host(home: House) -> AsyncIterator[list[str]]:
    """Host the mail, and collect the arguments of what is sent."""
    sent: list[str] = []
    request = host_pb.WatchCallsRequest(
        host="post", toolset="toolsets/mail", tools=[SEND, WIPE], capacity=4
    )

    async def serve(stream: Any) -> None:
        async for message in stream:
            for instruction in message.instructions:
                if instruction.HasField("invoke"):
                    given = instruction.invoke
                    sent.append(given.arguments_json)
                    completion = host_pb.Completion(
                        call=given.call,
                        attempt=given.attempt,
                        lease_token=given.lease_token,
                        result_json='"sent"',
                    )
                    report = host_pb.CompleteCallsRequest(completions=[completion])
                    await home.hosts.CompleteCalls(report, CALLER)

    async with home.host(request) as stream, asyncio.TaskGroup() as group:
        await anext(stream)
        task = group.create_task(serve(stream))
        yield sent
        task.cancel()


async def start(home: House, name: str = "r-1", agent: str = "agents/careful") -> None:
    run = run_pb2.Run(name=f"runs/{name}", goal="mail", agent=agent)
    await home.runs.CreateRun(run_service_pb2.CreateRunRequest(run=run), CALLER)


async def asked(home: House, count: int = 1, **fields: Any) -> list[approval_pb2.Approval]:
    """Return the pending approvals, newest first, once there are so many."""
    changed = asyncio.Event()
    home.runtime.journal.subscribe(lambda _: changed.set())
    async with asyncio.timeout(10):
        while True:
            changed.clear()
            request = pb.ListApprovalsRequest(states=[PENDING], **fields)
            found = (await home.approvals.ListApprovals(request, CALLER)).approvals
            if len(found) == count:
                return list(found)
            await changed.wait()


async def decide(home: House, approval: approval_pb2.Approval, **fields: Any) -> Any:
    given = {"decision": ALLOWED, "arguments_sha256": approval.arguments_sha256, **fields}
    request = pb.DecideApprovalRequest(name=approval.name, **given)
    return (await home.approvals.DecideApproval(request, CALLER)).approval


async def ended(home: House, name: str = "r-1") -> run_pb2.Run:
    request = run_service_pb2.WaitRunRequest(name=f"runs/{name}")
    return (await home.runs.WaitRun(request, CALLER)).run


async def calls(home: House, name: str = "r-1") -> list[Call]:
    request = run_service_pb2.ListCallsRequest(parent=f"runs/{name}")
    return list((await home.runs.ListCalls(request, CALLER)).calls)


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


async def test_the_run_waits_and_leaves_memory(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home):
        await start(home)
        [approval] = await asked(home)
        while home.runtime.scheduler.live(CALLER.namespace, R1):  # noqa: ASYNC110
            await asyncio.sleep(0)
        run = (await home.runs.GetRun(run_service_pb2.GetRunRequest(name="runs/r-1"), CALLER)).run
        assert run.wait_reason == run_pb2.WAIT_REASON_APPROVAL
        assert run.wait_detail == approval.name
        await decide(home, approval)
        assert (await ended(home)).state == run_pb2.RUN_STATE_SUCCEEDED


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


async def test_two_who_decide_at_once_are_one(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home):
        await start(home)
        [approval] = await asked(home)

        async def attempt() -> Any:
            try:
                return await decide(home, approval)
            except Conflict as error:
                return error

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(attempt()) for _ in range(5)]
        answers = [task.result() for task in tasks]
        lost = [answer for answer in answers if isinstance(answer, Conflict)]
        assert len(lost) == 4
        assert {error.metadata["state"] for error in lost} == {"ALLOWED"}
        found = await home.all_events(filter=EventFilter(kinds=["approval_decided"]))
        assert len(found) == 1


async def test_edited_arguments_are_executed_and_told(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home) as sent:
        await start(home)
        [approval] = await asked(home)
        decided = await decide(home, approval, edited_arguments_json='{"to": "eve"}')
        assert decided.edited_arguments_json == '{"to": "eve"}'
        output = (await ended(home)).output
        assert sent == ['{"to": "eve"}']
        assert 'changed the arguments of this call to {"to": "eve"}' in output
        [call] = await calls(home)
        assert (call.arguments_json, call.edited_arguments_json) == (TO_ANN, '{"to": "eve"}')


@pytest.mark.parametrize("edited", ["{", "[]", '{"to": 7}', "{}"])
async def test_edited_arguments_are_checked(tmp_path: Path, edited: str) -> None:
    async with home_of(tmp_path) as home, mail_host(home):
        await start(home)
        [approval] = await asked(home)
        async with refused("edited_arguments_json"):
            await decide(home, approval, edited_arguments_json=edited)
        assert [approval] == await asked(home)


async def test_for_the_run_means_its_later_calls(tmp_path: Path) -> None:
    async with home_of(tmp_path, TWICE) as home, mail_host(home) as sent:
        await start(home)
        [approval] = await asked(home)
        await decide(home, approval, scope=RUN)
        assert (await ended(home)).state == run_pb2.RUN_STATE_SUCCEEDED
        assert sent == [TO_ANN, '{"to":"bob"}']
        verdicts = [call.verdict for call in await calls(home)]
        assert [verdict.granted for verdict in verdicts] == [False, True]
        assert [verdict.decision for verdict in verdicts] == [DECISION_ASK, DECISION_ALLOW]
        # Another run of the agent asks again.
        await start(home, "r-2")
        [again] = await asked(home)
        assert again.run == "runs/r-2"


async def test_for_the_run_answers_what_waits_beside_it(tmp_path: Path) -> None:
    both = calling([("send", {"to": "ann"}), ("send", {"to": "bob"})])
    async with home_of(tmp_path, both) as home, mail_host(home) as sent:
        await start(home)
        newer, older = await asked(home, 2)
        assert {newer.call, older.call} == {f"runs/r-1/calls/c1-{number}" for number in (1, 2)}
        await decide(home, older, scope=RUN)
        assert (await ended(home)).state == run_pb2.RUN_STATE_SUCCEEDED
        assert sorted(sent) == [TO_ANN, '{"to":"bob"}']
        request = pb.GetApprovalRequest(name=newer.name)
        other = (await home.approvals.GetApproval(request, CALLER)).approval
        assert (other.state, other.decided_by) == (ALLOWED, "agentd")
        assert await asked(home, 0) == []


async def test_for_the_agent_means_its_later_runs(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home):
        await start(home)
        [approval] = await asked(home)
        await decide(home, approval, scope=AGENT)
        request = agent_service_pb2.GetAgentRequest(name="agents/careful")
        agent = (await home.agents.GetAgent(request, CALLER)).agent
        assert agent.revision == 2
        assert [list(grant.permissions) for grant in agent.grants] == [["tool.use:mail/send"]]
        await start(home, "r-2")
        assert (await ended(home, "r-2")).state == run_pb2.RUN_STATE_SUCCEEDED
        [call] = await calls(home, "r-2")
        assert (call.state, call.verdict.granted) == (CALL_STATE_SUCCEEDED, True)


async def test_a_cancel_ends_the_question(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home) as sent:
        await start(home)
        [approval] = await asked(home)
        request = run_service_pb2.CancelRunRequest(name="runs/r-1", reason="enough")
        await home.runs.CancelRun(request, CALLER)
        got = await home.approvals.GetApproval(pb.GetApprovalRequest(name=approval.name), CALLER)
        assert (got.approval.state, got.approval.reason) == (CANCELLED, "enough")
        with pytest.raises(Conflict) as caught:
            await decide(home, approval)
        assert caught.value.metadata["state"] == "CANCELLED"
        assert await asked(home, 0) == []
        assert sent == []


async def test_it_survives_a_restart(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home):
        await start(home)
        [approval] = await asked(home)
    async with home_of(tmp_path) as home, mail_host(home) as sent:
        assert await asked(home) == [approval]
        assert home.runtime.scheduler.live(CALLER.namespace, R1) is None
        await decide(home, approval, edited_arguments_json='{"to":"eve"}')
        assert (await ended(home)).state == run_pb2.RUN_STATE_SUCCEEDED
        assert sent == ['{"to":"eve"}']


async def test_retention_leaves_approvals(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home):
        await start(home, "r-1")
        [first] = await asked(home)
        await decide(home, first, decision=DENIED)
        await ended(home, "r-1")
        await start(home, "r-2")
        [second] = await asked(home)
        journal = home.runtime.journal
        assert isinstance(journal, SqliteJournal)
        assert (await journal.compact(before_ms=2**50)).removed > 0
        request = pb.ListApprovalsRequest()
        listed = (await home.approvals.ListApprovals(request, CALLER)).approvals
        assert [each.state for each in listed] == [PENDING, DENIED]
        await decide(home, second)
        assert (await ended(home, "r-2")).state == run_pb2.RUN_STATE_SUCCEEDED


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
