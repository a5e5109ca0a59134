"""Sends any request of the contract and answers with its response, or an error of agentd.errors."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import grpc.aio
from google.protobuf.message import Message

from agentd.client.channel import Metadata, open_channel
from agentd.client.errors import from_rpc_error
from agentd.client.methods import Method, methods
from agentd.client.retry import RetryPolicy
from agentd.errors import AgentdError

R = TypeVar("R", bound=Message)
M = TypeVar("M", bound=Message)

DEFAULT_TIMEOUT_S = 30.0


class Transport:
    """One connection. Its methods may be used from many tasks of one event loop at once."""

    def __init__(self, address: str, metadata: Metadata, retry: RetryPolicy) -> None:
        self.address = address
        self.retry = retry
        self._metadata = metadata
        self._channel: grpc.aio.Channel | None = None
        self._callables: dict[str, Any] = {}

    async def close(self) -> None:
        """Close the connection; requests in progress are cancelled. The next request dials anew."""
        channel, self._channel = self._channel, None
        self._callables.clear()
        if channel is not None:
            await channel.close()

    async def call(
        self, request: Message, response: type[R], *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> R:
        """Send the request of any method that answers once, and return its response.

        The method follows from the request's type. A request that may be repeated safely is, as
        the retry policy says: reads, and those with a `request_id`, which is made when it is
        empty. `timeout_s` bounds the whole, pauses included; after it, Unavailable is raised with
        `metadata["code"]` DEADLINE_EXCEEDED.
        """
        method = methods()[request.DESCRIPTOR.full_name]
        if method.takes_request_id:
            request = _with_request_id(request)
        now = asyncio.get_running_loop().time
        end = now() + timeout_s
        pauses = self.retry.pauses()
        attempts = self.retry.attempts if method.repeatable else 1
        while True:
            attempts -= 1
            try:
                answer = await self._send(method, request, end - now())
            except AgentdError as error:
                pause = self.retry.pause_after(error, next(pauses))
                if attempts < 1 or pause is None or now() + pause >= end:
                    raise
            else:
                assert isinstance(answer, response), f"{method.path} answers {method.response}"
                return answer
            await asyncio.sleep(pause)

    def stream(self, request: Message) -> Any:
        """Start a method that answers with a stream; return gRPC's call object.

        Its `read()` raises grpc.aio.AioRpcError. Most programs want a Watch or a ToolHost, which
        survive a cut stream.
        """
        method = methods()[request.DESCRIPTOR.full_name]
        return self._callable(method)(request, metadata=self._metadata)

    async def pages(self, request: M, response: type[R]) -> AsyncIterator[R]:
        """Yield the answers of a List method, page after page, from the request's page on."""
        page = type(request)()
        page.CopyFrom(request)
        while True:
            answer = await self.call(page, response)
            yield answer
            token: str = answer.next_page_token  # type: ignore[attr-defined]
            if not token:
                return
            page.page_token = token  # type: ignore[attr-defined]

    async def _send(self, method: Method, request: Message, timeout_s: float) -> Message:
        send = self._callable(method)
        try:
            answer: Message = await send(request, metadata=self._metadata, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self.address) from error
        return answer

    def _callable(self, method: Method) -> Any:
        found = self._callables.get(method.path)
        if found is None:
            if self._channel is None:
                self._channel = open_channel(self.address)
            make: Any = self._channel.unary_stream if method.streams else self._channel.unary_unary
            found = make(
                method.path,
                request_serializer=_serialize,
                response_deserializer=method.response.FromString,
            )
            self._callables[method.path] = found
        return found


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _with_request_id(request: M) -> M:
    if request.request_id:  # type: ignore[attr-defined]
        return request
    copy = type(request)()
    copy.CopyFrom(request)
    copy.request_id = uuid.uuid4().hex  # type: ignore[attr-defined]
    return copy
