"""The in-process carrier and the way to another process's daemon: the same verbs, one suite."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from agentd.agent.ids import Namespace
from agentd.carriers.inprocess import InProcessCarrier
from agentd.carriers.payload import Encoding, StatusError, encode_status
from agentd.carriers.remote import RemoteCarrier
from agentd.services.caller import Caller
from agentd.services.registry import method_table
from agentd.v1 import event_service_pb2, run_service_pb2, system_service_pb2
from tests.unit.carriers.serving import (
    GET_RUN,
    INFO,
    WAIT,
    WATCH,
    Events,
    Runs,
    System,
    infos,
    services,
    serving,
    watch_request,
)

JSON, PROTOBUF = Encoding.JSON, Encoding.PROTOBUF
CALLER = Caller(Namespace("team-a"), 7, 8)
LIMIT_BYTES = 4096


class Carrier(Protocol):
    async def call(self, name: str, data: bytes, encoding: Encoding) -> bytes: ...

    def stream(self, name: str, data: bytes, encoding: Encoding) -> AsyncGenerator[bytes]: ...


@dataclass(frozen=True)
class House:
    carrier: Carrier
    system: System
    events: Events
    runs: Runs


@asynccontextmanager
async def inside(_place: Path) -> AsyncIterator[House]:
    system, events, runs = System(), Events(), Runs()
    table = method_table(services(system, events, runs))
    yield House(
        InProcessCarrier(table, CALLER, max_message_bytes=LIMIT_BYTES), system, events, runs
    )


@asynccontextmanager
async def outside(place: Path) -> AsyncIterator[House]:
    async with serving(place) as server, server.channel() as channel:
        metadata = (("agentd-namespace", "team-a"),)
        carrier = RemoteCarrier(channel, server.address, metadata)
        yield House(carrier, server.system, server.events, server.runs)


@pytest.fixture(params=[inside, outside], ids=["inside", "outside"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    async with request.param(tmp_path) as made:
        yield made


async def refused(work: Awaitable[Any]) -> tuple[Status, ErrorInfo]:
    with pytest.raises(StatusError) as caught:
        await work
    [info] = infos(caught.value.status)
    return caught.value.status, info


async def test_a_call_in_either_encoding(house: House) -> None:
    data = await house.carrier.call(INFO, b"", PROTOBUF)
    assert system_service_pb2.GetInfoResponse.FromString(data).version == "team-a"
    text = await house.carrier.call(INFO.removeprefix("/"), b" {} ", JSON)
    assert json.loads(text)["version"] == "team-a"
    assert json.loads(await house.carrier.call(INFO, b"", JSON)) == json.loads(text)
    assert {caller.namespace for caller in house.system.callers} == {"team-a"}


async def test_a_stream_in_either_encoding(house: House) -> None:
    request = watch_request(3, until_ended=True)
    binary = [data async for data in house.carrier.stream(WATCH, request, PROTOBUF)]
    parsed = [event_service_pb2.WatchResponse.FromString(data) for data in binary]
    assert [message.progress_revision for message in parsed] == [1, 2, 3]
    asked = json.dumps({"afterRevision": "3", "untilEnded": True}).encode()
    texts = [json.loads(data) async for data in house.carrier.stream(WATCH, asked, JSON)]
    assert texts == [{"progressRevision": str(number)} for number in (1, 2, 3)]


async def test_the_services_errors_pass_whole(house: House) -> None:
    request = run_service_pb2.GetRunRequest(name="fault").SerializeToString()
    status, info = await refused(house.carrier.call(GET_RUN, request, PROTOBUF))
    assert (status.code, info.reason, info.metadata["field"]) == (3, "INVALID_FIELD", "name")
    text = json.loads(encode_status(status, JSON))
    assert text["code"] == 3
    violation = {"field": "name", "description": "is a fault"}
    assert any(detail.get("fieldViolations") == [violation] for detail in text["details"])


async def test_a_bug_is_an_incident_without_its_words(house: House) -> None:
    status, info = await refused(house.carrier.call(GET_RUN, b'{"name":"bug"}', JSON))
    assert (status.code, info.reason) == (13, "INTERNAL")
    assert "secret" not in status.message


@pytest.mark.parametrize(
    ("name", "data", "encoding", "reason"),
    [
        (GET_RUN, b"\xff", PROTOBUF, "MALFORMED_REQUEST"),
        (GET_RUN, b"{", JSON, "MALFORMED_REQUEST"),
        (GET_RUN, b'{"name": 1}', JSON, "MALFORMED_REQUEST"),
        (GET_RUN, b'{"nam": "x"}', JSON, "MALFORMED_REQUEST"),
        (GET_RUN, b"\xff", JSON, "MALFORMED_REQUEST"),
        (GET_RUN, b"[" * 4000, JSON, "MALFORMED_REQUEST"),
        (GET_RUN, b'{"name":' * 400, JSON, "MALFORMED_REQUEST"),
        (WATCH, b"", JSON, "MALFORMED_REQUEST"),
        ("agentd.v1.No/Such", b"", JSON, "NOT_IMPLEMENTED"),
        ("", b"", JSON, "NOT_IMPLEMENTED"),
        ("/agentd.v1.SystemService/Drain", b"", JSON, "NOT_IMPLEMENTED"),
    ],
)
async def test_what_is_no_request_is_refused(
    house: House, name: str, data: bytes, encoding: Encoding, reason: str
) -> None:
    _, info = await refused(house.carrier.call(name, data, encoding))
    assert info.reason == reason
    if name == GET_RUN:
        stream = house.carrier.stream(name, data, encoding)
        _, info = await refused(anext(stream))
        assert info.reason == "MALFORMED_REQUEST"


async def test_a_cancelled_call_is_cancelled_at_the_service(house: House) -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        call = group.create_task(house.carrier.call(WAIT, b"{}", JSON))
        await house.runs.waiting.wait()
        call.cancel()
        await house.runs.cancelled.wait()


async def test_a_stream_that_is_closed_ends_at_the_service(house: House) -> None:
    async with asyncio.timeout(10):
        async with aclosing(house.carrier.stream(WATCH, watch_request(5), PROTOBUF)) as stream:
            await anext(stream)
            assert house.events.open_count == 1
        await house.events.closed.wait()


async def test_what_is_too_large_is_refused(tmp_path: Path) -> None:
    async with inside(tmp_path) as house:
        data = json.dumps({"name": "x" * LIMIT_BYTES}).encode()
        status, info = await refused(house.carrier.call(GET_RUN, data, JSON))
        assert (status.code, info.reason) == (8, "TOO_LARGE")


async def test_a_closed_carrier_is_draining(tmp_path: Path) -> None:
    async with inside(tmp_path) as house:
        assert isinstance(house.carrier, InProcessCarrier)
        house.carrier.close()
        for work in (
            house.carrier.call(INFO, b"", JSON),
            anext(house.carrier.stream(WATCH, b"", JSON)),
        ):
            _, info = await refused(work)
            assert info.reason == "DRAINING"


async def test_a_stream_is_pulled(tmp_path: Path) -> None:
    """No message is made before it is asked for."""
    async with (
        inside(tmp_path) as house,
        aclosing(house.carrier.stream(WATCH, watch_request(9), PROTOBUF)) as stream,
    ):
        assert house.events.open_count == 0
        await anext(stream)
        await anext(stream)
        assert house.events.sent == 2


async def test_who_does_not_answer_is_named(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.channel() as channel:
        await server.carrier.close(0.1)
        carrier = RemoteCarrier(channel, "unix:/somewhere", ())
        status, info = await refused(carrier.call(INFO, b"", JSON))
        assert (status.code, info.reason) == (14, "UNREACHABLE")
        assert info.metadata["address"] == "unix:/somewhere"
        assert status.message.startswith("no answer from unix:/somewhere: ")


def test_a_detail_that_is_not_known_is_left_out_of_json() -> None:
    status = Status(code=5, message="gone")
    status.details.add(type_url="type.example/unknown.Thing", value=b"x")
    assert json.loads(encode_status(status, JSON)) == {"code": 5, "message": "gone"}
    assert Status.FromString(encode_status(status, PROTOBUF)) == status
