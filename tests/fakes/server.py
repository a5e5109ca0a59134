"""A real gRPC server whose answers a test scripts, method by method, from the descriptors."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import grpc
import grpc.aio
from google.protobuf import any_pb2, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from agentd.v1 import (
    agent_service_pb2,
    event_service_pb2,
    run_service_pb2,
    session_service_pb2,
    system_service_pb2,
    tool_host_service_pb2,
    tool_service_pb2,
)

Context = grpc.aio.ServicerContext[Any, Any]
Answer = Callable[[Any, Context], Awaitable[Message]]
Stream = Callable[[Any, Context], AsyncIterator[Message]]

SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for file in (
        agent_service_pb2,
        event_service_pb2,
        run_service_pb2,
        session_service_pb2,
        system_service_pb2,
        tool_host_service_pb2,
        tool_service_pb2,
    )
    for service in file.DESCRIPTOR.services_by_name.values()
)


class ScriptedServer:
    """Answers `XRequest` with the function that the test put at `answers["X"]`, and remembers."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answers: dict[str, Answer | Stream] = {}
        self.requests: list[Message] = []
        self.metadata: list[dict[str, str]] = []
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = grpc.aio.server()
        for service in SERVICES:
            handlers = {method.name: self._handler(method) for method in service.methods}
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service.full_name, handlers),)
            )
        port = self._server.add_insecure_port(self.address)
        if self.address.endswith(":0"):
            self.address = f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    def named(self, kind: type[Message]) -> list[Any]:
        """Return the requests of one type that came so far."""
        return [request for request in self.requests if isinstance(request, kind)]

    def _handler(self, method: MethodDescriptor) -> Any:
        async def unary(request: Message, context: Context) -> Message:
            answer: Answer = await self._answer(method.name, request, context)
            return await answer(request, context)

        async def stream(request: Message, context: Context) -> AsyncIterator[Message]:
            answer: Any = await self._answer(method.name, request, context)
            async for response in answer(request, context):
                yield response

        make: Any = (
            grpc.unary_stream_rpc_method_handler
            if method.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return make(
            stream if method.server_streaming else unary,
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    async def _answer(self, name: str, request: Message, context: Context) -> Any:
        self.requests.append(request)
        self.metadata.append({str(k): str(v) for k, v in context.invocation_metadata() or ()})
        if name not in self.answers:
            await fail(context, grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")
        return self.answers[name]


async def fail(
    context: Context,
    code: grpc.StatusCode,
    reason: str,
    *more: Message,
    message: str = "no",
    metadata: Mapping[str, str] | None = None,
) -> NoReturn:
    """End a request as agentd does: one ErrorInfo, and what more belongs to it."""
    info = error_details_pb2.ErrorInfo(reason=reason, domain="agentd.dev", metadata=metadata or {})
    packed = []
    for detail in (info, *more):
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    status = status_pb2.Status(code=code.value[0], message=message, details=packed)
    await context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError


def retry_after(seconds: float) -> Message:
    """Return the detail that asks for a repeat later."""
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromNanoseconds(round(seconds * 1e9))
    return retry  # type: ignore[no-any-return]


def bad_field(field: str, description: str) -> Message:
    """Return the detail that names a field."""
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
    return error_details_pb2.BadRequest(field_violations=[violation])  # type: ignore[no-any-return]


def replies(response: Message) -> Answer:
    """Answer every request with the same response."""

    async def answer(_request: Any, _context: Context) -> Message:
        return response

    return answer


async def forever() -> None:
    """Keep a stream open until its reader goes."""
    await asyncio.Event().wait()


def unix_address(directory: Path) -> str:
    """Return an address in a directory of the test."""
    return f"unix:{directory / 'agentd.sock'}"
