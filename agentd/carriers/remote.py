"""Reach the daemon of another process over gRPC, with the verbs of the in-process carrier: bytes
and a method's name go out, bytes or a status come back."""

from collections.abc import AsyncGenerator, Sequence
from functools import cache
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from agentd.carriers.payload import Encoding, StatusError, decode, encode, find
from agentd.errors import AgentdError, Reason, Unavailable
from agentd.services.registry import Method, method_table
from agentd.services.status import to_status


class RemoteCarrier:
    """The methods of the daemon at the other end of a channel, which stays the caller's."""

    def __init__(
        self, channel: grpc.aio.Channel, address: str, metadata: Sequence[tuple[str, str]]
    ) -> None:
        self._channel: Any = channel
        self._address = address
        self._metadata = tuple(metadata)

    async def call(self, name: str, data: bytes, encoding: Encoding) -> bytes:
        """Return the answer of a method that answers once. Raises StatusError."""
        try:
            method = find(_contract(), name, streams=False)
            send = self._channel.unary_unary(method.path)
            answer = await send(_request(method, data, encoding), metadata=self._metadata)
            return encode(method, answer, encoding)
        except AgentdError as error:
            raise StatusError(to_status(error)) from error
        except grpc.aio.AioRpcError as error:
            raise StatusError(_status(error, self._address)) from error

    async def stream(self, name: str, data: bytes, encoding: Encoding) -> AsyncGenerator[bytes]:
        """Yield the answers of a method that answers with a stream. Raises StatusError."""
        try:
            method = find(_contract(), name, streams=True)
            start = self._channel.unary_stream(method.path)
            call = start(_request(method, data, encoding), metadata=self._metadata)
            try:
                async for answer in call:
                    yield encode(method, answer, encoding)
            finally:
                call.cancel()
        except AgentdError as error:
            raise StatusError(to_status(error)) from error
        except grpc.aio.AioRpcError as error:
            raise StatusError(_status(error, self._address)) from error


@cache
def _contract() -> dict[str, Method]:
    """Return the methods by name; who serves them is at the other end."""
    return method_table({})


def _request(method: Method, data: bytes, encoding: Encoding) -> bytes:
    """Return the request in the form that gRPC carries. Binary ones are for the daemon to judge."""
    if encoding is Encoding.PROTOBUF:
        return data
    return decode(method, data, encoding).SerializeToString()


def _status(error: grpc.aio.AioRpcError, address: str) -> Status:
    """Return the daemon's own status; of an error of gRPC's own, one that says where."""
    call: Any = error
    try:
        status: Status | None = rpc_status.from_call(call)
    except (DecodeError, ValueError):  # of a peer that is no agentd
        status = None
    if status is None:
        said = (error.details() or error.code().name).rpartition(": ")[2]
        message = f"no answer from {address}: {said}"
        status = to_status(Unavailable(Reason.UNREACHABLE, message, metadata={"address": address}))
        status.code = error.code().value[0]
    return status
