"""A house in which a person is asked before letters are sent, and what such tests do."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agentd.agent.ids import RunId
from agentd.v1 import agent_pb2, agent_service_pb2, approval_pb2, run_pb2, run_service_pb2
from agentd.v1 import approval_service_pb2 as pb
from agentd.v1 import tool_host_service_pb2 as host_pb
from agentd.v1.call_pb2 import Call
from agentd.v1.permission_pb2 import (
    DECISION_ALLOW,
    DECISION_ASK,
    DECISION_DENY,
    PermissionRule,
)
from agentd.v1.tool_pb2 import EFFECT_CLASS_IDEMPOTENT, Tool
from tests.unit.services.house import CALLER, House, house

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
async def mail_host(home: House, *more: Tool) -> AsyncIterator[list[str]]:
    """Host the mail, and collect the arguments of what is sent."""
    sent: list[str] = []
    request = host_pb.WatchCallsRequest(
        host="post", toolset="toolsets/mail", tools=[SEND, WIPE, *more], capacity=4
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
