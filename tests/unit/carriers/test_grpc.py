"""The gRPC carrier, through its relay, with real sockets."""

import os
from pathlib import Path

import grpc
import pytest

from agentd.v1 import event_service_pb2, system_service_pb2
from tests.unit.carriers.serving import INFO, WATCH, info_of, serving, stream, unary


async def test_unary_answers_and_knows_its_caller(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        data = await unary(channel, INFO, metadata=(("agentd-namespace", "team-a"),))
        info = system_service_pb2.GetInfoResponse.FromString(data)
        assert (info.version, info.process_id) == ("team-a", os.getpid())
        (caller,) = server.system.callers
        assert (caller.uid, caller.pid, caller.transport) == (os.getuid(), os.getpid(), "unix")
        assert caller.deadline_s is None


async def test_stream_yields_every_response_in_order(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        request = event_service_pb2.WatchRequest(after_revision=100, until_ended=True)
        call = stream(channel, WATCH, request.SerializeToString())
        responses = [event_service_pb2.WatchResponse.FromString(data) async for data in call]
        assert [response.progress_revision for response in responses] == list(range(1, 101))
        assert server.events.closed_count == 1


async def test_unknown_method_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "/agentd.v1.Nothing/Here")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert info_of(caught.value).reason == "NOT_IMPLEMENTED"
