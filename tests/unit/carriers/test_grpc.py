"""The gRPC carrier, through its relay, with real sockets."""

import asyncio
import os
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from msgspec.structs import replace

from agentd.agent.ids import Namespace
from agentd.carriers.grpc import GrpcCarrier, GrpcLimits
from agentd.services.caller import Caller
from agentd.services.registry import method_table
from agentd.v1 import event_service_pb2, run_service_pb2, system_service_pb2
from tests.unit.carriers.serving import (
    DRAIN,
    GET_RUN,
    INFO,
    WAIT,
    WATCH,
    Events,
    Serving,
    System,
    info_of,
    serving,
    status_of,
    stream,
    unary,
    watch_request,
)

CHECK = "/grpc.health.v1.Health/Check"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def drain(call: Any, read: list[bytes]) -> None:
    async for response in call:
        read.append(response)  # noqa: PERF401 - what was read counts when the stream fails


async def get_run(server: Serving, name: str) -> grpc.aio.AioRpcError:
    request = run_service_pb2.GetRunRequest(name=name).SerializeToString()
    async with server.channel() as channel:
        return await failure(unary(channel, GET_RUN, request))


async def test_a_request_knows_its_caller(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        data = await unary(channel, INFO, metadata=(("agentd-namespace", "team-a"),))
        assert system_service_pb2.GetInfoResponse.FromString(data).version == "team-a"
        await unary(channel, INFO)
        first, second = server.system.callers
        assert (first.uid, first.pid, first.transport) == (os.getuid(), os.getpid(), "unix")
        assert second.namespace == Namespace("default")


async def test_a_namespace_that_is_no_id_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        error = await failure(unary(channel, INFO, metadata=(("agentd-namespace", "Team A"),)))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert info_of(error).metadata["field"] == "agentd-namespace"


async def test_a_stream_yields_every_response_in_order(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        call = stream(channel, WATCH, watch_request(100, until_ended=True))
        responses = [event_service_pb2.WatchResponse.FromString(data) async for data in call]
        assert [response.progress_revision for response in responses] == list(range(1, 101))
        assert server.events.closed_count == 1


async def test_a_missing_method_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        for path in ("/agentd.v1.Nothing/Here", DRAIN):
            error = await failure(unary(channel, path))
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED
            assert info_of(error).reason == "NOT_IMPLEMENTED"


async def test_an_error_carries_its_details(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        fault = await get_run(server, "fault")
        assert fault.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert info_of(fault).reason == "INVALID_FIELD"
        retry = RetryInfo()
        assert status_of(await get_run(server, "wait")).details[1].Unpack(retry)
        assert retry.retry_delay.ToMilliseconds() == 1500


async def test_an_error_of_any_length_arrives(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        error = await get_run(server, "long")
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert info_of(error).reason == "MALFORMED_REQUEST"


async def test_a_bug_is_internal_and_says_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        error = await get_run(server, "bug")
        assert error.code() is grpc.StatusCode.INTERNAL
        assert info_of(error).metadata["incident"] in (error.details() or "")
        assert "secret" not in str(status_of(error))


async def test_a_message_above_the_limit_names_the_limit(tmp_path: Path) -> None:
    limit = 1 << 20
    limits = GrpcLimits(max_message_bytes=limit)
    async with serving(tmp_path, limits) as server, server.channel() as channel:
        # A field that GetInfoRequest does not know: valid, and exactly as long as wanted.
        padding = limit - 4
        field = b"\x7a" + bytes([padding & 127 | 128, padding >> 7 & 127 | 128, padding >> 14])
        await unary(channel, INFO, field + bytes(padding))
        error = await failure(unary(channel, INFO, field + bytes(padding + 1)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(limit) in (error.details() or "")
        await unary(channel, INFO)


async def test_a_wrong_token_is_unauthenticated_for_every_method() -> None:
    carrier = GrpcCarrier(method_table({"SystemService": System()}), token="right")
    address = await carrier.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(address) as channel:
        right = (("authorization", "Bearer right"),)
        assert await unary(channel, INFO, metadata=right)
        assert await unary(channel, CHECK, metadata=right)
        for metadata in ((), (("authorization", "Bearer wrong"),), (("authorization", "right"),)):
            for path in (INFO, CHECK, WATCH, "/agentd.v1.Nothing/Here"):
                error = await failure(unary(channel, path, metadata=metadata))
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
                assert info_of(error).reason == "UNAUTHENTICATED"
    await carrier.close(0)


async def test_a_second_server_cannot_share_a_port() -> None:
    first = GrpcCarrier({}, token="t")
    address = await first.start("127.0.0.1:0")
    second = GrpcCarrier({}, token="t")
    with pytest.raises(Exception, match="cannot listen on"):
        await second.start(address)
    await first.close(0)


async def test_a_reader_that_stalls_is_cut_and_told_how_far_it_came(tmp_path: Path) -> None:
    limits = GrpcLimits(write_timeout_s=0.2)
    async with serving(tmp_path, limits) as server, server.channel() as channel:
        stalled = stream(channel, WATCH, watch_request(1000, size=100_000))
        await server.events.closed.wait()
        await unary(channel, INFO)
        read: list[bytes] = []
        error = await failure(drain(stalled, read))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        info = info_of(error)
        assert info.reason == "SLOW_READER"
        # What it read is what it was told, but for the response that was on its way.
        assert int(info.metadata["last_revision"]) in (len(read) - 1, len(read))
        assert server.events.sent < 1000


async def test_a_cancelled_call_ends_its_handler(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        watching = stream(channel, WATCH, watch_request(1))
        await watching.read()
        watching.cancel()
        await server.events.closed.wait()
        waiting = unary(channel, WAIT)
        await server.runs.waiting.wait()
        waiting.cancel()
        await server.runs.cancelled.wait()


async def test_a_generator_is_closed_even_while_a_response_waits(tmp_path: Path) -> None:
    """Closed by the carrier, that is: one that somebody still holds is no garbage."""
    events, held = Events(), []

    def hold(request: Any, caller: Caller) -> Any:
        held.append(events.Watch(request, caller))
        return held[-1]

    table = method_table({"EventService": events})
    carrier = GrpcCarrier({WATCH: replace(table[WATCH], stream=hold)})
    address = await carrier.start(f"unix:{tmp_path}/s")
    async with grpc.aio.insecure_channel(address) as channel:
        stalled = stream(channel, WATCH, watch_request(1000, size=100_000))
        await events.opened.wait()
        sent = -1
        while sent < events.sent:  # until nothing more is taken
            sent = events.sent
            await unary(channel, CHECK)
        stalled.cancel()
        async with asyncio.timeout(10):
            await events.closed.wait()
    await carrier.close(0)


async def test_a_deadline_ends_the_handler(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        error = await failure(unary(channel, WAIT, timeout=0.1))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await server.runs.cancelled.wait()


async def test_closing_ends_streams_at_once_and_waits_for_requests(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        watching = stream(channel, WATCH, watch_request(1))
        await watching.read()
        waiting = unary(channel, WAIT)
        await server.runs.waiting.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(server.carrier.close(60))
            error = await failure(watching.read())
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert info_of(error).reason == "DRAINING"
            await server.events.closed.wait()
            server.runs.released.set()
            assert await waiting == b""


async def test_closing_ends_late_requests_with_the_reason(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        waiting = unary(channel, WAIT)
        await server.runs.waiting.wait()
        await server.carrier.close(0.05)
        assert info_of(await failure(waiting)).reason == "DRAINING"


async def health(channel: grpc.aio.Channel, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    response = health_pb2.HealthCheckResponse.FromString(await unary(channel, CHECK, request))
    return int(response.status)


async def test_health_is_of_the_whole_and_of_each_service(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        watched = health_pb2.HealthCheckRequest(service="agentd.v1.RunService").SerializeToString()
        calls = [stream(channel, HEALTH_WATCH, watched) for _ in range(2)]
        for call in calls:
            assert await call.read() == b"\x08\x01"
        assert await health(channel, "") == health_pb2.HealthCheckResponse.SERVING
        assert await health(channel, "agentd.v1.RunService") == 1
        server.carrier.drain()
        for call in calls:
            assert await call.read() == b"\x08\x02"
        assert await health(channel, "agentd.v1.RunService") == 2
        assert (await failure(health(channel, "nobody"))).code() is grpc.StatusCode.NOT_FOUND


async def test_health_of_an_unknown_service_is_watched(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        request = health_pb2.HealthCheckRequest(service="nobody").SerializeToString()
        call = stream(channel, HEALTH_WATCH, request)
        response = health_pb2.HealthCheckResponse.FromString(await call.read())
        assert response.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_and_describes_services(tmp_path: Path, version: str) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        method: Any = channel.stream_stream(REFLECTION.replace("v1alpha", version))
        call = method()
        await call.write(
            reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
        )
        response = reflection_pb2.ServerReflectionResponse.FromString(await call.read())
        names = {service.name for service in response.list_services_response.service}
        assert {"agentd.v1.RunService", "grpc.health.v1.Health"} <= names
        wanted = reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="agentd.v1.RunService"
        )
        await call.write(wanted.SerializeToString())
        response = reflection_pb2.ServerReflectionResponse.FromString(await call.read())
        assert len(response.file_descriptor_response.file_descriptor_proto) > 1
        await call.write(b"\xff\xff")
        assert (await failure(call.read())).code() is grpc.StatusCode.INVALID_ARGUMENT
