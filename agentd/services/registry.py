"""Build the table of methods from the descriptors of `agentd.v1`. Carriers adapt this table, so no
carrier has code for one method."""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import msgspec
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from agentd.errors import Exhausted, InvalidRequest, Reason, Unsupported
from agentd.services.caller import Caller
from agentd.v1 import (
    agent_service_pb2,
    approval_service_pb2,
    event_service_pb2,
    memory_service_pb2,
    run_service_pb2,
    session_service_pb2,
    system_service_pb2,
    tool_host_service_pb2,
    tool_service_pb2,
)

FILES: tuple[FileDescriptor, ...] = (
    agent_service_pb2.DESCRIPTOR,
    approval_service_pb2.DESCRIPTOR,
    event_service_pb2.DESCRIPTOR,
    memory_service_pb2.DESCRIPTOR,
    run_service_pb2.DESCRIPTOR,
    session_service_pb2.DESCRIPTOR,
    system_service_pb2.DESCRIPTOR,
    tool_host_service_pb2.DESCRIPTOR,
    tool_service_pb2.DESCRIPTOR,
)

Response = Message | bytes
"""What a service answers: a message, or the bytes of one that was encoded before."""
Unary = Callable[[Any, Caller], Awaitable[Response]]
Stream = Callable[[Any, Caller], AsyncGenerator[Response, None]]


class SlowReader(Exhausted):
    """Thrown into a stream at its `yield` when the reader did not take a response in time.

    A service that knows how far its reader came catches it and raises Exhausted (SLOW_READER) with
    that as metadata; otherwise this is the error that the reader gets.
    """

    def __init__(self) -> None:
        super().__init__(Reason.SLOW_READER, "the reader did not keep up with the stream")


class Method(msgspec.Struct, frozen=True):
    """One method of the contract and what serves it. Exactly one of the handlers is set."""

    path: str
    """`/agentd.v1.RunService/GetRun`, as gRPC names it."""
    descriptor: MethodDescriptor
    request_class: type[Message]
    response_class: type[Message]
    unary: Unary | None
    stream: Stream | None

    def parse(self, data: bytes) -> Message:
        """Return the request that the bytes encode.

        Raises InvalidRequest (MALFORMED_REQUEST) for bytes that encode none.
        """
        try:
            return self.request_class.FromString(data)
        except DecodeError:
            name = self.request_class.DESCRIPTOR.full_name
            raise InvalidRequest(
                Reason.MALFORMED_REQUEST,
                f"the request's {len(data)} bytes are not a valid {name}",
                metadata={"message": name},
            ) from None


def encode(response: Response) -> bytes:
    """Return the bytes of a response."""
    return response if isinstance(response, bytes) else response.SerializeToString()


def method_table(
    services: Mapping[str, object], files: tuple[FileDescriptor, ...] = FILES
) -> dict[str, Method]:
    """Return every method by path, bound to the service objects, given by proto name.

    A service object has `async def GetRun(self, request, caller) -> response`, or an async
    generator for a method that streams. A method that it lacks answers Unsupported
    (NOT_IMPLEMENTED). Raises TypeError for objects that do not fit the contract.
    """
    known = {service.name: service for file in files for service in _services(file)}
    unknown = services.keys() - known.keys()
    if unknown:
        raise TypeError(f"the contract has no service {', '.join(sorted(unknown))}")
    table = {}
    for name, service in known.items():
        implementation = services.get(name)
        _check_names(service, implementation)
        for descriptor in service.methods:
            method = _bind(descriptor, implementation)
            table[method.path] = method
    return table


def _services(file: FileDescriptor) -> list[ServiceDescriptor]:
    return list(file.services_by_name.values())


def _check_names(service: ServiceDescriptor, implementation: object) -> None:
    """Refuse public CamelCase methods that the contract lacks: such a method would never run."""
    extra = {
        name
        for name in dir(type(implementation))
        if name[0].isupper() and name not in service.methods_by_name
    }
    if implementation is not None and extra:
        raise TypeError(f"{service.full_name} has no method {', '.join(sorted(extra))}")


def _bind(descriptor: MethodDescriptor, implementation: object) -> Method:
    streams = descriptor.server_streaming
    missing = _missing_stream(descriptor) if streams else _missing_unary(descriptor)
    handler: Any = getattr(implementation, descriptor.name, missing)
    fits = inspect.isasyncgenfunction if streams else inspect.iscoroutinefunction
    if not fits(handler):
        kind = "an async generator" if streams else "a coroutine function"
        raise TypeError(f"{descriptor.full_name} must be {kind}")
    return Method(
        path=f"/{descriptor.containing_service.full_name}/{descriptor.name}",
        descriptor=descriptor,
        request_class=GetMessageClass(descriptor.input_type),
        response_class=GetMessageClass(descriptor.output_type),
        unary=None if streams else handler,
        stream=handler if streams else None,
    )


def _not_implemented(descriptor: MethodDescriptor) -> Unsupported:
    name = descriptor.full_name
    return Unsupported(
        Reason.NOT_IMPLEMENTED, f"{name} is not implemented", metadata={"method": name}
    )


def _missing_unary(descriptor: MethodDescriptor) -> Unary:
    async def missing(_request: Message, _caller: Caller) -> Response:
        raise _not_implemented(descriptor)

    return missing


def _missing_stream(descriptor: MethodDescriptor) -> Stream:
    async def missing(_request: Message, _caller: Caller) -> AsyncGenerator[Response, None]:
        raise _not_implemented(descriptor)
        yield  # what makes this function a generator

    return missing
