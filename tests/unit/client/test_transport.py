"""Requests are repeated when that is safe and useful, and never otherwise."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from agentd.client import AgentdError, Client, InvalidRequest, RetryPolicy, Unavailable, connect
from agentd.client.channel import parse_address
from agentd.client.methods import methods
from agentd.errors import Conflict, Exhausted, Reason
from agentd.v1 import run_service_pb2 as runs_pb
from agentd.v1.agent_pb2 import Agent
from agentd.v1.agent_service_pb2 import ListAgentsRequest, ListAgentsResponse
from agentd.v1.run_pb2 import Run, RunState
from agentd.v1.system_service_pb2 import GetInfoRequest, GetInfoResponse
from tests.fakes.server import Context, ScriptedServer, fail, replies, retry_after, unix_address
from tests.unit.client.conftest import QUICK


def failing_first(
    times: int,
    response: Message,
    *more: Message,
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
    reason: str = "DRAINING",
) -> Callable[..., Any]:
    left = iter(range(times))

    async def answer(_request: Message, context: Context) -> Message:
        if next(left, None) is not None:
            await fail(context, code, reason, *more)
        return response

    return answer


async def test_a_read_is_repeated(server: ScriptedServer, client: Client) -> None:
    server.answers["GetInfo"] = failing_first(2, GetInfoResponse(version="9"))
    assert (await client.system.info()).version == "9"
    assert len(server.requests) == 3


async def test_repeats_are_bounded(server: ScriptedServer, client: Client) -> None:
    server.answers["GetInfo"] = failing_first(99, GetInfoResponse())
    with pytest.raises(Unavailable) as raised:
        await client.system.info()
    assert raised.value.reason is Reason.DRAINING
    assert len(server.requests) == QUICK.attempts


async def test_a_create_is_repeated_with_its_request_id(
    server: ScriptedServer, client: Client
) -> None:
    created = runs_pb.CreateRunResponse(run=Run(name="runs/a"), revision=4)
    server.answers["CreateRun"] = failing_first(1, created, reason="OUTCOME_UNKNOWN")
    assert (await client.runs.start("do it")).revision == 4
    first, second = server.named(runs_pb.CreateRunRequest)
    assert first.request_id
    assert first.request_id == second.request_id
    await client.runs.start("do it")
    assert server.named(runs_pb.CreateRunRequest)[-1].request_id != first.request_id


async def test_a_given_request_id_is_kept(server: ScriptedServer, client: Client) -> None:
    server.answers["CreateRun"] = replies(runs_pb.CreateRunResponse())
    request = runs_pb.CreateRunRequest(request_id="mine")
    await client.call(request, runs_pb.CreateRunResponse)
    assert server.named(runs_pb.CreateRunRequest)[0].request_id == "mine"


async def test_what_may_not_happen_twice_is_not_repeated(
    server: ScriptedServer, client: Client
) -> None:
    server.answers["ResumeRun"] = failing_first(9, runs_pb.ResumeRunResponse())
    with pytest.raises(Unavailable):
        await client.runs.resume("runs/a")
    assert len(server.requests) == 1


async def test_other_errors_are_not_repeated(server: ScriptedServer, client: Client) -> None:
    server.answers["GetRun"] = failing_first(
        9, runs_pb.GetRunResponse(), code=grpc.StatusCode.ABORTED, reason="CONCURRENT_UPDATE"
    )
    with pytest.raises(Conflict):
        await client.runs.get("runs/a")
    assert len(server.requests) == 1


async def test_a_delay_that_the_daemon_asks_for_is_kept(
    server: ScriptedServer, client: Client
) -> None:
    def limited(times: int, seconds: float) -> Callable[..., Any]:
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        detail = retry_after(seconds)
        return failing_first(times, GetInfoResponse(), detail, code=code, reason="LIMIT_REACHED")

    server.answers["GetInfo"] = limited(1, 0.005)
    await client.system.info()
    assert len(server.requests) == 2
    server.answers["GetInfo"] = limited(9, 1)
    with pytest.raises(Exhausted):  # A second is longer than the policy waits.
        await client.system.info()
    assert len(server.requests) == 3


async def test_a_request_has_a_deadline(server: ScriptedServer, client: Client) -> None:
    async def hang(_request: Message, _context: Context) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    server.answers["GetInfo"] = hang
    with pytest.raises(Unavailable) as raised:
        await client.call(GetInfoRequest(), GetInfoResponse, timeout_s=0.05)
    assert raised.value.metadata["code"] == "DEADLINE_EXCEEDED"


async def test_nobody_there(tmp_path: Path) -> None:
    async with connect(unix_address(tmp_path), retry=QUICK) as client:
        with pytest.raises(Unavailable) as raised:
            await client.system.info()
    assert raised.value.reason is Reason.UNREACHABLE


async def test_a_daemon_that_comes_back_is_found(tmp_path: Path) -> None:
    patient = RetryPolicy(attempts=1000, first_delay_s=0.01, max_delay_s=0.05)
    server = ScriptedServer(unix_address(tmp_path))
    server.answers["GetInfo"] = replies(GetInfoResponse(version="9"))
    async with connect(server.address, retry=patient) as client:
        async with server:
            await client.system.info()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(client.system.info(timeout_s=30))
            await server.start()
        assert waiting.result().version == "9"
    await server.stop()


async def test_pages_follow_one_another(server: ScriptedServer, client: Client) -> None:
    async def page(request: ListAgentsRequest, _context: Context) -> ListAgentsResponse:
        number = int(request.page_token or "1")
        token = str(number + 1) if number < 3 else ""
        return ListAgentsResponse(agents=[Agent(name=f"agents/a{number}")], next_page_token=token)

    server.answers["ListAgents"] = page
    names = [agent.name async for agent in client.agents.list()]
    assert names == ["agents/a1", "agents/a2", "agents/a3"]


async def test_wait_asks_again_until_the_run_has_ended(
    server: ScriptedServer, client: Client
) -> None:
    states = iter([RunState.RUN_STATE_RUNNING, RunState.RUN_STATE_FAILED])

    async def wait(_request: Message, _context: Context) -> runs_pb.WaitRunResponse:
        return runs_pb.WaitRunResponse(run=Run(state=next(states)))

    server.answers["WaitRun"] = wait
    run = await client.runs.wait("runs/a", timeout_s=600)
    assert run.state == RunState.RUN_STATE_FAILED
    assert server.named(runs_pb.WaitRunRequest)[0].timeout.seconds == 60


async def test_credentials_go_with_every_request(server: ScriptedServer, tmp_path: Path) -> None:
    server.answers["GetInfo"] = replies(GetInfoResponse())
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    async with connect(server.address, token_file=token, namespace="team") as client:
        await client.system.info()
    assert server.metadata[0]["authorization"] == "Bearer s3cret"
    assert server.metadata[0]["agentd-namespace"] == "team"


@pytest.mark.parametrize("content", [None, "", "\n", "\u00e9"])
def test_a_token_file_that_is_no_use(tmp_path: Path, content: str | None) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidRequest) as raised:
        connect("localhost:1", token_file=token)
    assert raised.value.reason is Reason.INVALID_CONFIG


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        ("unix:/run/a.sock", "unix:/run/a.sock"),
        ("unix:///run/a.sock", "unix:/run/a.sock"),
        (" /run/a.sock", "unix:/run/a.sock"),
        ("localhost:50051", "localhost:50051"),
        ("[::1]:50051", "[::1]:50051"),
    ],
)
def test_addresses(given: str, parsed: str) -> None:
    assert parse_address(given) == parsed


@pytest.mark.parametrize("given", ["", "unix:", "run/a.sock", "localhost", "h:0", "h:70000", ":1"])
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(AgentdError):
        parse_address(given)


async def test_tcp(tmp_path: Path) -> None:
    del tmp_path
    async with ScriptedServer("127.0.0.1:0") as server:
        server.answers["GetInfo"] = replies(GetInfoResponse(version="9"))
        async with connect(server.address) as client:
            assert (await client.system.info()).version == "9"


def test_every_method_of_the_contract_is_known() -> None:
    table = methods()
    assert len(table) == 43
    assert {method.path.rpartition("/")[2] for method in table.values() if method.streams} == {
        "Watch",
        "WatchCalls",
    }
    unsafe = {m.path.rpartition("/")[2] for m in table.values() if not m.repeatable}
    assert unsafe == {
        "AbandonTask",
        "DeleteAgent",
        "DeleteMemory",
        "DeleteSession",
        "ResolveCall",
        "ResumeRun",
        "RetryTask",
        "Watch",
        "WatchCalls",
    }
