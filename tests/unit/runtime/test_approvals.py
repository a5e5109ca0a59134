"""What a decision does to its run, to the run's later calls, and to its agent."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agentd.agent.hosting import Invocation, Outcome, Succeeded
from agentd.agent.tool import EffectClass
from agentd.agent.tool import Tool as LocalManifest
from agentd.errors import Conflict
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.v1 import agent_pb2, agent_service_pb2, run_pb2, run_service_pb2
from agentd.v1 import approval_service_pb2 as pb
from agentd.v1.call_pb2 import CALL_STATE_SUCCEEDED
from agentd.v1.event_service_pb2 import EventFilter
from agentd.v1.permission_pb2 import (
    DECISION_ALLOW,
    DECISION_ASK,
    DECISION_DENY,
    PermissionRule,
)
from agentd.v1.tool_pb2 import EFFECT_CLASS_READ_ONLY, Tool
from tests.fakes.local import FunctionTool
from tests.unit.services.house import CALLER, house, refused
from tests.unit.services.mailing import (
    AGENT,
    ALLOWED,
    CANCELLED,
    DENIED,
    PENDING,
    R1,
    RUN,
    TO_ANN,
    TWICE,
    asked,
    calling,
    calls,
    decide,
    ended,
    home_of,
    mail_host,
    start,
)


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


async def test_edited_arguments_may_not_need_what_is_denied(tmp_path: Path) -> None:
    opened: list[str] = []
    manifest = LocalManifest("disk", "open", "", '{"type":"object"}', effect=EffectClass.READ_ONLY)

    async def read(invocation: Invocation) -> Outcome:
        opened.append(invocation.arguments_json)
        assert invocation.permissions[1:] == ("fs.read:/srv/b",)
        return Succeeded('"text"')

    local = {
        manifest.path: FunctionTool(manifest, read, lambda given, _: [f"fs.read:{given['path']}"])
    }
    rules = [
        PermissionRule(decision=DECISION_ALLOW, permission="tool.use:*"),
        PermissionRule(decision=DECISION_ALLOW, permission="fs.read:/srv/**"),
        PermissionRule(decision=DECISION_ASK, permission="fs.read:/srv/**"),
        PermissionRule(decision=DECISION_DENY, permission="fs.read:/srv/secret"),
    ]
    script = calling([("open", {"path": "/srv/a"})])
    async with house(tmp_path, script, local) as home:
        await home.runtime.manifests.register(CALLER.namespace, [manifest])
        agent = agent_pb2.Agent(name="agents/reader", tools=["disk/*"], permissions=rules)
        await home.agents.CreateAgent(agent_service_pb2.CreateAgentRequest(agent=agent), CALLER)
        await start(home, agent=agent.name)
        [approval] = await asked(home)
        assert list(approval.needs) == ["tool.use:disk/open", "fs.read:/srv/a"]
        for path in ("/srv/secret", "/etc/passwd", "not/a/path"):
            async with refused("edited_arguments_json"):
                edited = json.dumps({"path": path})
                await decide(home, approval, edited_arguments_json=edited)
        await decide(home, approval, edited_arguments_json='{"path":"/srv/b"}', scope=RUN)
        assert (await ended(home)).state == run_pb2.RUN_STATE_SUCCEEDED
        assert opened == ['{"path":"/srv/b"}']
        [call] = await calls(home)
        assert list(call.verdict.needs) == ["tool.use:disk/open", "fs.read:/srv/b"]


async def test_an_agent_that_is_gone_gets_no_grant(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home, mail_host(home) as sent:
        await start(home)
        [approval] = await asked(home)
        request = agent_service_pb2.DeleteAgentRequest(name="agents/careful")
        await home.agents.DeleteAgent(request, CALLER)
        await decide(home, approval, scope=AGENT)
        assert (await ended(home)).state == run_pb2.RUN_STATE_SUCCEEDED
        assert sent == [TO_ANN]


async def test_a_stranger_and_private_data_and_an_effect_outside_need_a_person(
    tmp_path: Path,
) -> None:
    """By the default rules, with tools that say nothing but what their results are."""
    page = Tool(
        name="toolsets/mail/tools/page", effect=EFFECT_CLASS_READ_ONLY, untrusted_results=True
    )
    diary = Tool(
        name="toolsets/mail/tools/diary", effect=EFFECT_CLASS_READ_ONLY, private_results=True
    )
    turns: list[list[tuple[str, dict[str, Any]]]] = [
        [("send", {"to": "ann"})],
        [("page", {}), ("diary", {})],
        [("send", {"to": "eve"})],
    ]
    async with house(tmp_path, calling(*turns)) as home, mail_host(home, page, diary) as sent:
        run = run_pb2.Run(name="runs/r-1", goal="mail", tools=["mail/*"])
        await home.runs.CreateRun(run_service_pb2.CreateRunRequest(run=run), CALLER)
        [approval] = await asked(home)
        assert (approval.after_untrusted, approval.after_private) == (True, True)
        assert approval.arguments_json == '{"to":"eve"}'
        assert TO_ANN in sent
        assert '{"to":"eve"}' not in sent
        await decide(home, approval, decision=DENIED)
        assert (await ended(home)).state == run_pb2.RUN_STATE_SUCCEEDED
