"""The daemon's errors come out of the client as they were raised in the daemon."""

import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from agentd.client import AgentdError, Client, InvalidRequest, Unavailable
from agentd.errors import (
    AlreadyExists,
    Conflict,
    Corrupt,
    Denied,
    Exhausted,
    NotFound,
    OutOfRange,
    Reason,
    Unsupported,
)
from agentd.v1.system_service_pb2 import GetInfoRequest, GetInfoResponse
from tests.fakes.server import Context, ScriptedServer, bad_field, fail, retry_after

CLASSES: dict[str, type[AgentdError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "ABORTED": Conflict,
    "FAILED_PRECONDITION": Conflict,
    "OUT_OF_RANGE": OutOfRange,
    "RESOURCE_EXHAUSTED": Exhausted,
    "UNAVAILABLE": Unavailable,
    "UNAUTHENTICATED": Denied,
    "PERMISSION_DENIED": Denied,
    "UNIMPLEMENTED": Unsupported,
    "DATA_LOSS": Corrupt,
    "INTERNAL": Corrupt,
}


def codes_of_the_contract() -> dict[str, str]:
    """Read the code of each reason from the comments of the contract."""
    proto = Path(__file__).parents[3] / "proto/agentd/v1/error_reason.proto"
    found = re.findall(
        r"// ([A-Z_]+): (?:[^\n]*\n)(?:\s+//[^\n]*\n)*\s+ERROR_REASON_([A-Z_]+) = ",
        proto.read_text(encoding="utf-8"),
    )
    return {reason: code for code, reason in found}


def refusing(code: grpc.StatusCode, reason: str, *more: Message, **fields: Any) -> Any:
    async def answer(_request: object, context: Context) -> GetInfoResponse:
        await fail(context, code, reason, *more, **fields)

    return answer


def test_the_contract_gives_every_reason_a_code() -> None:
    assert set(codes_of_the_contract()) == {reason.name for reason in Reason}


@pytest.mark.parametrize("reason", list(Reason))
async def test_every_reason_comes_back(
    server: ScriptedServer, client: Client, reason: Reason
) -> None:
    code = codes_of_the_contract()[reason.name]
    server.answers["GetInfo"] = refusing(
        grpc.StatusCode[code], reason.name, message="why", metadata={"run": "runs/a"}
    )
    with pytest.raises(CLASSES[code]) as raised:
        await client.system.info()
    assert raised.value.reason is reason
    assert raised.value.message == "why"
    assert raised.value.metadata == {"run": "runs/a", "code": code}


async def test_field_faults_and_delays_come_back(server: ScriptedServer, client: Client) -> None:
    server.answers["GetInfo"] = refusing(
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", bad_field("run.goal", "is missing")
    )
    with pytest.raises(InvalidRequest) as raised:
        await client.system.info()
    assert [(fault.field, fault.description) for fault in raised.value.faults] == [
        ("run.goal", "is missing")
    ]
    server.answers["GetInfo"] = refusing(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED", retry_after(7.5)
    )
    with pytest.raises(Exhausted) as exhausted:
        await client.system.info()
    assert exhausted.value.retry_after_s == 7.5


async def test_a_reason_of_a_newer_daemon_is_kept(server: ScriptedServer, client: Client) -> None:
    server.answers["GetInfo"] = refusing(grpc.StatusCode.PERMISSION_DENIED, "MOON_IN_WRONG_PHASE")
    with pytest.raises(Denied) as raised:
        await client.system.info()
    assert raised.value.reason is Reason.PERMISSION_DENIED
    assert raised.value.metadata["reason"] == "MOON_IN_WRONG_PHASE"


async def test_a_peer_without_details_still_gives_an_error(
    server: ScriptedServer, client: Client
) -> None:
    async def crash(_request: object, context: Context) -> GetInfoResponse:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff garbage"),))
        await context.abort(grpc.StatusCode.DATA_LOSS, "gone")

    server.answers["GetInfo"] = crash
    with pytest.raises(Corrupt) as raised:
        await client.call(GetInfoRequest(), GetInfoResponse)
    assert (raised.value.reason, raised.value.message) == (Reason.JOURNAL_CORRUPT, "gone")
