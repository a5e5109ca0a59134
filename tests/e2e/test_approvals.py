"""A daemon that asks before it acts: questions that outlive it, and answers from anywhere."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentd.client import Client, Conflict, Reason, ToolContext, tool
from agentd.v1.agent_pb2 import Agent
from agentd.v1.approval_pb2 import Approval, ApprovalScope, ApprovalState
from agentd.v1.call_pb2 import CallState
from agentd.v1.permission_pb2 import Decision, PermissionRule
from agentd.v1.run_pb2 import Run, RunState, WaitReason
from tests.e2e.daemon import Home, daemon
from tests.e2e.watching import history, until

RULES = (
    PermissionRule(decision=Decision.DECISION_ALLOW, permission="tool.use:*"),
    PermissionRule(decision=Decision.DECISION_ASK, permission="tool.use:post/send"),
)
CAREFUL = Agent(name="agents/careful", tools=["post/*"], permissions=RULES)
SUCCEEDED = RunState.RUN_STATE_SUCCEEDED


def script(*receivers: str) -> dict[str, Any]:
    """Return the script of a model that writes to some people, one after another."""
    turns = [{"calls": [{"tool": "send", "arguments": {"to": to}}]} for to in receivers]
    return {"conversations": [{"turns": [*turns, {"text": "It says: {{last_result}}"}]}]}


@asynccontextmanager
async def post(client: Client) -> AsyncIterator[list[str]]:
    """Host the post; yield whom it was sent to."""
    sent: list[str] = []

    @tool(effect="non_idempotent")
    def send(to: str, context: ToolContext) -> str:
        """Send a letter."""
        assert "tool.use:post/send" in context.permissions
        sent.append(to)
        return f"sent to {to}"

    async with client.host("post", [send], host="postman"):
        yield sent


async def ask(client: Client) -> str:
    """Start a run and return its name once it waits for a person."""
    run = (await client.runs.start("write", agent=CAREFUL.name)).run.name
    waiting = await until(client, run, "run_waiting")
    assert waiting.run_waiting.reason == WaitReason.WAIT_REASON_APPROVAL
    return run


async def pending(client: Client, run: str) -> Sequence[Approval]:
    states = (ApprovalState.APPROVAL_STATE_PENDING,)
    return [approval async for approval in client.approvals.list(states=states, run=run)]


async def ended(client: Client, run: str) -> Run:
    found = await client.runs.wait(run, timeout_s=10)
    assert found.state == SUCCEEDED
    return found


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_question_outlives_the_daemon_and_is_answered_by_another_client(
    home: Home, client: Client, end: str
) -> None:
    home.script(script("ann"))
    async with daemon(home) as served:
        await client.agents.create(CAREFUL)
        async with post(client):
            run = await ask(client)
            [before] = await pending(client, run)
        await getattr(served, end)()
    async with daemon(home), home.client() as other, post(client) as sent:
        [approval] = await pending(other, run)
        assert approval == before
        assert sent == []
        decided = await other.approvals.allow(approval, reason="she waits")
        assert decided.state == ApprovalState.APPROVAL_STATE_ALLOWED
        assert decided.decided_by.startswith("uid ")
        assert (await ended(client, run)).output == 'It says: "sent to ann"'
        assert sent == ["ann"]
        kinds = await history(client, [run])
        assert kinds.count("approval_requested") == kinds.count("approval_decided") == 1


async def test_an_answer_outlives_the_daemon_too(home: Home, client: Client) -> None:
    home.script(script("ann"))
    async with daemon(home) as served:
        await client.agents.create(CAREFUL)
        async with post(client):
            run = await ask(client)
        [approval] = await pending(client, run)
        edited = '{"to": "eve"}'
        await client.approvals.allow(approval, edited_arguments_json=edited)
        await served.kill()
    async with daemon(home), post(client) as sent:
        assert (
            'changed the arguments of this call to {"to": "eve"}'
            in (await ended(client, run)).output
        )
        assert sent == ["eve"]
        found = await client.approvals.get(approval.name)
        assert found.edited_arguments_json == edited


async def test_a_refusal_and_its_reason_reach_the_model(home: Home, client: Client) -> None:
    home.script(script("ann"))
    async with daemon(home), post(client) as sent:
        await client.agents.create(CAREFUL)
        run = await ask(client)
        [approval] = await pending(client, run)
        await client.approvals.deny(approval.name, reason="ask her first")
        assert "ask her first" in (await ended(client, run)).output
        [call] = [call async for call in client.runs.calls(run)]
        assert call.state == CallState.CALL_STATE_DENIED
        assert sent == []
        with pytest.raises(Conflict) as caught:
            await client.approvals.allow(approval)
        assert caught.value.reason is Reason.WRONG_APPROVAL_STATE
        assert caught.value.metadata["state"] == "DENIED"


async def test_an_answer_is_bound_to_what_was_shown(home: Home, client: Client) -> None:
    home.script(script("ann"))
    async with daemon(home), post(client) as sent:
        await client.agents.create(CAREFUL)
        run = await ask(client)
        [approval] = await pending(client, run)
        shown = Approval()
        shown.CopyFrom(approval)
        shown.arguments_json = '{"to":"bob"}'
        with pytest.raises(Conflict) as caught:
            await client.approvals.allow(shown)
        assert caught.value.reason is Reason.ARGUMENTS_MISMATCH
        assert sent == []
        await client.approvals.allow(approval)
        await ended(client, run)
        assert sent == ["ann"]


async def test_an_answer_may_hold_for_the_run_or_for_its_agent(home: Home, client: Client) -> None:
    home.script(script("ann", "bob"))
    async with daemon(home), post(client) as sent:
        await client.agents.create(CAREFUL)
        run = await ask(client)
        [approval] = await pending(client, run)
        await client.approvals.allow(approval, scope=ApprovalScope.APPROVAL_SCOPE_RUN)
        await ended(client, run)
        assert sent == ["ann", "bob"]
        again = await ask(client)
        [approval] = await pending(client, again)
        await client.approvals.allow(approval, scope=ApprovalScope.APPROVAL_SCOPE_AGENT)
        await ended(client, again)
        assert (await client.agents.get(CAREFUL.name)).revision == 2
        third = (await client.runs.start("write", agent=CAREFUL.name)).run.name
        await ended(client, third)
        assert len(sent) == 6
        assert [approval async for approval in client.approvals.list(run=third)] == []


async def test_a_hundred_waiting_runs_leave_memory_and_go_on_at_once(
    home: Home, client: Client
) -> None:
    home.script(script("ann"))
    async with daemon(home), post(client) as sent:
        await client.agents.create(CAREFUL)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(client)) for _ in range(100)]
        runs = [task.result() for task in asked]
        waiting = [
            approval
            async for approval in client.approvals.list(
                states=(ApprovalState.APPROVAL_STATE_PENDING,)
            )
        ]
        assert len(waiting) == 100
        async with asyncio.TaskGroup() as group:
            for approval in waiting:
                group.create_task(client.approvals.allow(approval))
        for run in runs:
            await ended(client, run)
        assert len(sent) == 100
