"""An error is the same over every carrier: code, reason, message and details."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.json_format import ParseDict
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from agentd.carriers.grpc import GrpcCarrier
from agentd.carriers.http import HttpCarrier
from agentd.carriers.http_errors import HTTP_CODES
from agentd.errors import AgentdError, FieldFault, Reason
from agentd.services.caller import Caller
from agentd.services.registry import method_table
from agentd.services.status import CODES, Code
from agentd.v1 import event_service_pb2, run_service_pb2
from tests.fakes.web import Web

TOKEN = "open-sesame"
ASK = (("authorization", f"Bearer {TOKEN}"),)


class Failing:
    """Fails as the name of the run says."""

    async def GetRun(self, request: Any, _caller: Caller) -> Any:  # noqa: N802
        raise error_of(Reason[request.name.removeprefix("runs/")])


class FailingEvents:
    """Fails as the filter's run says, after as many responses as `after_revision` says."""

    async def Watch(self, request: Any, _caller: Caller) -> AsyncIterator[Any]:  # noqa: N802
        for number in range(request.after_revision):
            yield event_service_pb2.WatchResponse(progress_revision=number + 1)
        raise error_of(Reason[request.filter.runs[0]])


def error_of(reason: Reason) -> AgentdError:
    return AgentdError(
        reason,
        "wörds",
        metadata={"run": "runs/ä"},
        faults=(FieldFault("a.b[0]", "is bad"),),
        retry_after_s=1.5,
    )


@pytest.fixture
async def carriers() -> AsyncIterator[tuple[grpc.aio.Channel, Web]]:
    table = method_table({"RunService": Failing(), "EventService": FailingEvents()})
    over_grpc, over_http = GrpcCarrier(table, token=TOKEN), HttpCarrier(table, token=TOKEN)
    address = await over_grpc.start("127.0.0.1:0")
    web = Web(await over_http.start("127.0.0.1:0"), TOKEN)
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel, web
    await over_grpc.close(0)
    await over_http.close(0)


async def over_grpc(call: Any) -> Status:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        async for _ in call:
            pass
    status = rpc_status.from_call(error.value)
    assert isinstance(status, Status)
    return status


async def of_unary(channel: grpc.aio.Channel, reason: Reason) -> Status:
    get_run: Any = channel.unary_stream("/agentd.v1.RunService/GetRun")
    request = run_service_pb2.GetRunRequest(name=f"runs/{reason.value}")
    return await over_grpc(get_run(request.SerializeToString(), metadata=ASK))


def from_json(error: Any) -> Status:
    """Read an error of HTTP as the status that it is."""
    status = {key: error[key] for key in ("message", "details")}
    return ParseDict(status | {"code": Code[error["status"]].value}, Status())


@pytest.mark.parametrize("reason", Reason)
async def test_an_error_is_the_same_over_http(
    reason: Reason, carriers: tuple[grpc.aio.Channel, Web]
) -> None:
    channel, web = carriers
    answer = await web.get(f"/v1/runs/{reason.value}")
    assert from_json(answer.error) == await of_unary(channel, reason)
    assert answer.status == answer.error["code"] == HTTP_CODES[CODES[reason]]
    assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize("sent", [0, 2])
async def test_a_stream_fails_the_same_over_http(
    sent: int, carriers: tuple[grpc.aio.Channel, Web]
) -> None:
    channel, web = carriers
    watch: Any = channel.unary_stream("/agentd.v1.EventService/Watch")
    request = event_service_pb2.WatchRequest(
        after_revision=sent, filter=event_service_pb2.EventFilter(runs=["COMPACTED"])
    )
    expected = await over_grpc(watch(request.SerializeToString(), metadata=ASK))
    path = f"/v1/events:watch?afterRevision={sent}&filter.runs=COMPACTED"
    if sent == 0:
        answer = await web.get(path)
        assert (answer.status, from_json(answer.error)) == (400, expected)
        return
    async with web.stream(path) as stream:
        *events, last = [event async for event in stream.events()]
    assert len(events) == sent
    assert (last.kind, last.retry) == ("error", "1500")
    assert from_json(last.document["error"]) == expected


def test_every_code_has_a_status_of_http() -> None:
    assert set(HTTP_CODES) == set(Code)
