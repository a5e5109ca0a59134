"""The table of methods."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import InvalidRequest, Reason, Unsupported
from agentd.services.caller import Caller
from agentd.services.registry import encode, method_table
from agentd.v1 import event_service_pb2, run_service_pb2

PROTO = Path(__file__).resolve().parents[3] / "proto/agentd/v1"
GET_RUN = "/agentd.v1.RunService/GetRun"
WATCH = "/agentd.v1.EventService/Watch"


class Runs:
    async def GetRun(self, request: Any, _caller: Caller) -> Any:  # noqa: N802
        return run_service_pb2.GetRunResponse(run={"name": request.name})


def test_table_holds_every_method_of_the_contract() -> None:
    expected = {
        f"/agentd.v1.{service}/{method}"
        for text in (file.read_text() for file in PROTO.glob("*.proto"))
        for service in re.findall(r"^service (\w+)", text, re.MULTILINE)
        for method in re.findall(r"^  rpc (\w+)", text, re.MULTILINE)
    }
    table = method_table({})
    assert set(table) == expected
    assert {path for path, method in table.items() if method.stream} == {
        WATCH,
        "/agentd.v1.ToolHostService/WatchCalls",
    }


async def test_a_method_is_bound_to_its_service() -> None:
    method = method_table({"RunService": Runs()})[GET_RUN]
    assert method.unary is not None
    request = method.parse(run_service_pb2.GetRunRequest(name="runs/a").SerializeToString())
    response = await method.unary(request, Caller())
    assert isinstance(response, method.response_class)
    assert run_service_pb2.GetRunResponse.FromString(encode(response)).run.name == "runs/a"


async def test_a_method_that_a_service_lacks_is_not_implemented() -> None:
    table = method_table({"RunService": Runs()})
    missing = table["/agentd.v1.RunService/ListTasks"]
    assert missing.unary is not None
    with pytest.raises(Unsupported) as caught:
        await missing.unary(missing.parse(b""), Caller())
    assert caught.value.reason is Reason.NOT_IMPLEMENTED
    stream = table[WATCH].stream
    assert stream is not None
    with pytest.raises(Unsupported):
        await anext(stream(event_service_pb2.WatchRequest(), Caller()))


def test_garbage_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        method_table({})[GET_RUN].parse(b"\xff\xff\xff")
    assert caught.value.reason is Reason.MALFORMED_REQUEST
    assert "agentd.v1.GetRunRequest" in caught.value.message
    assert caught.value.__cause__ is None


def test_encoded_responses_pass_as_they_are() -> None:
    data = b"any bytes"
    assert encode(data) is data


def test_a_service_that_does_not_fit_is_refused() -> None:
    class Misspelt:
        async def GetRum(self, request: Any, caller: Caller) -> Any: ...  # noqa: N802

    class Streaming:
        async def GetRun(self, _request: Any, _caller: Caller) -> AsyncIterator[Any]:  # noqa: N802
            yield b""

    class Plain:
        async def Watch(self, request: Any, caller: Caller) -> Any: ...  # noqa: N802

    with pytest.raises(TypeError, match="no service RumService"):
        method_table({"RumService": Runs()})
    with pytest.raises(TypeError, match="no method GetRum"):
        method_table({"RunService": Misspelt()})
    with pytest.raises(TypeError, match="GetRun must be a coroutine function"):
        method_table({"RunService": Streaming()})
    with pytest.raises(TypeError, match="Watch must be an async generator"):
        method_table({"EventService": Plain()})
