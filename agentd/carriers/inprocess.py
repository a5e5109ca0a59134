"""Serve a table of methods to the program of the same process, without any socket. Knows no method:
bytes and a method's name come in, bytes or a status go out, and streams are pulled."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from google.rpc.status_pb2 import Status

from agentd.carriers.payload import Encoding, StatusError, decode, encode, find
from agentd.errors import AgentdError, Exhausted, Reason, Unavailable
from agentd.services.caller import Caller
from agentd.services.registry import Method
from agentd.services.status import to_status, unexpected


class InProcessCarrier:
    """The methods of one table, for one caller. Belongs to the event loop of the services.

    There are no deadlines here: whoever stops waiting cancels the task that waits. A stream that
    is not pulled stands still; a service that must not wait for its reader ends it, with
    SLOW_READER, when too much has gathered.
    """

    def __init__(
        self, table: Mapping[str, Method], caller: Caller, *, max_message_bytes: int
    ) -> None:
        self._table = table
        self._caller = caller
        self._max_message_bytes = max_message_bytes
        self._closed = False

    def close(self) -> None:
        """Refuse every further request with UNAVAILABLE (DRAINING)."""
        self._closed = True

    async def call(self, name: str, data: bytes, encoding: Encoding) -> bytes:
        """Return the answer of a method that answers once. Raises StatusError."""
        try:
            method = self._admit(name, data, streams=False)
            assert method.unary is not None
            response = await method.unary(decode(method, data, encoding), self._caller)
            return encode(method, response, encoding)
        except Exception as error:
            raise StatusError(_status(error, name)) from error

    async def stream(self, name: str, data: bytes, encoding: Encoding) -> AsyncGenerator[bytes]:
        """Yield the answers of a method that answers with a stream. Raises StatusError.

        Nothing happens before the first answer is asked for.
        """
        try:
            method = self._admit(name, data, streams=True)
            assert method.stream is not None
            async with aclosing(
                method.stream(decode(method, data, encoding), self._caller)
            ) as responses:
                async for response in responses:
                    yield encode(method, response, encoding)
        except Exception as error:
            raise StatusError(_status(error, name)) from error

    def _admit(self, name: str, data: bytes, *, streams: bool) -> Method:
        if self._closed:
            raise Unavailable(Reason.DRAINING, "the daemon is going down")
        if len(data) > self._max_message_bytes:
            message = f"the request has {len(data)} bytes, over {self._max_message_bytes}"
            raise Exhausted(Reason.TOO_LARGE, message)
        return find(self._table, name, streams=streams)


def _status(error: Exception, name: str) -> Status:
    return to_status(error) if isinstance(error, AgentdError) else unexpected(error, name)
