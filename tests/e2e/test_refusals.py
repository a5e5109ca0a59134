"""Bad input: each kind is refused with its code, reason and place, and the daemon goes on."""

from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import grpc.aio
import pytest

from agentd.client import AgentdError, Client, Conflict, Exhausted, InvalidRequest, NotFound, Reason
from agentd.client.channel import open_channel, parse_address
from agentd.client.errors import from_rpc_error
from agentd.v1 import agent_service_pb2, event_service_pb2, run_service_pb2
from agentd.v1.agent_pb2 import Agent
from agentd.v1.run_pb2 import Run
from tests.e2e.daemon import Home, daemon

LIMIT = 65_536
GARBAGE = (b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xc3\x28")
RUNS = "/agentd.v1.RunService/"


async def refused(work: Coroutine[Any, Any, object]) -> AgentdError:
    """Return the error of a request that is to be refused."""
    with pytest.raises(AgentdError) as error:
        await work
    return error.value


async def test_what_is_not_there_is_named_with_what_is(home: Home, client: Client) -> None:
    async with daemon(home):
        await client.agents.create(Agent(name="agents/here"))
        for work, reason, named in (
            (client.runs.start("x", agent="agents/gone"), Reason.AGENT_NOT_FOUND, "gone"),
            (client.runs.start("x", model="scripted/gone"), Reason.MODEL_NOT_FOUND, "gone"),
            (client.runs.start("x", tools=["box/gone"]), Reason.TOOL_NOT_FOUND, "box/gone"),
            (client.runs.get("runs/gone"), Reason.RUN_NOT_FOUND, "gone"),
            (client.runs.get_call("runs/gone/calls/c1-1"), Reason.RUN_NOT_FOUND, "gone"),
        ):
            error = await refused(work)
            assert isinstance(error, NotFound)
            assert error.reason is reason
            assert named in error.message
        assert "here" in (await refused(client.runs.start("x", agent="agents/gone"))).message
        known = await refused(client.runs.start("x", model="scripted/gone"))
        assert "there are: " in known.message


async def test_a_bad_field_is_named_by_its_path(home: Home, client: Client) -> None:
    async with daemon(home):
        bad_name = agent_service_pb2.CreateAgentRequest(agent=Agent(name="agents/UPPER"))
        negative = run_service_pb2.ListRunsRequest(page_size=-1)
        kinds = event_service_pb2.EventFilter(kinds=["call_ended", "call_end"])
        unknown = event_service_pb2.ListEventsRequest(filter=kinds)
        empty = run_service_pb2.CreateRunRequest(run=Run(agent="agents/default"))
        for request, response, path in (
            (bad_name, agent_service_pb2.CreateAgentResponse, "agent.name"),
            (negative, run_service_pb2.ListRunsResponse, "page_size"),
            (unknown, event_service_pb2.ListEventsResponse, "filter.kinds[1]"),
            (empty, run_service_pb2.CreateRunResponse, "run.goal"),
        ):
            error = await refused(client.call(request, response))
            assert isinstance(error, InvalidRequest)
            assert [fault.field for fault in error.faults] == [path]


async def test_a_wrong_state_is_told(home: Home, client: Client) -> None:
    async with daemon(home):
        name = (await client.runs.start("answer")).run.name
        await client.runs.wait(name, timeout_s=10)
        actions: tuple[Callable[[str], Coroutine[Any, Any, object]], ...] = (
            client.runs.resume,
            client.runs.pause,
            client.runs.cancel,
            lambda name: client.runs.send(name, "more"),
        )
        for action in actions:
            error = await refused(action(name))
            assert isinstance(error, Conflict)
            assert error.reason is Reason.WRONG_RUN_STATE
            assert error.metadata["state"] == "SUCCEEDED"


async def test_too_much_is_refused_with_the_limit(home: Home, client: Client) -> None:
    home.configure(home.config.read_text() + f"[server]\nmax_message_bytes = {LIMIT}\n")
    async with daemon(home):
        error = await refused(client.runs.start("x" * LIMIT))
        assert isinstance(error, Exhausted)
        assert str(LIMIT) in error.message
        assert (await client.system.info()).max_request_bytes == LIMIT


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: garbage[:8].hex())
async def test_garbage_is_invalid_and_leaves_no_traceback(home: Home, garbage: bytes) -> None:
    async with daemon(home) as served, open_channel(parse_address(home.address)) as channel:
        create: Any = channel.unary_unary(RUNS + "CreateRun")
        nothing: Any = channel.unary_unary(RUNS + "Nothing")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await create(garbage)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert from_rpc_error(error.value, home.address).reason is Reason.MALFORMED_REQUEST
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await nothing(b"")
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
        async with home.client() as client:
            assert (await client.system.info()).process_id == served.process.pid
        assert "Traceback" not in served.log


async def test_a_reader_that_stalls_is_cut_with_its_place(home: Home, client: Client) -> None:
    home.configure(home.config.read_text() + "[server]\nwrite_timeout_s = 0.2\n")
    async with daemon(home), open_channel(parse_address(home.address)) as channel:
        watch: Any = channel.unary_stream("/agentd.v1.EventService/Watch")
        request = event_service_pb2.WatchRequest()
        stream = watch(request.SerializeToString())
        for _ in range(40):
            created = await client.runs.start("answer " + "x" * 900_000)
        ended = await client.runs.wait(created.run.name, timeout_s=10)
        assert ended.output == "done"
        last = 0
        with pytest.raises(grpc.aio.AioRpcError) as error:  # noqa: PT012 - it is a loop that ends so
            while (message := await stream.read()) is not grpc.aio.EOF:
                batch = event_service_pb2.WatchResponse.FromString(message)
                last = max(last, *(event.revision for event in batch.events))
        told = from_rpc_error(error.value, home.address)
        assert told.reason is Reason.SLOW_READER
        assert 0 < int(told.metadata["last_revision"]) <= last
