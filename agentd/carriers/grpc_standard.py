"""The standard services of a gRPC port: `grpc.health.v1` and server reflection."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2

from agentd.carriers.payload import StatusError
from agentd.services.caller import Caller
from agentd.services.registry import Method, method_table

if TYPE_CHECKING:  # generic in its stubs only
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
else:
    Handler = grpc.RpcMethodHandler

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

_REFLECTION = {
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    for version in ("v1", "v1alpha")  # the two differ in name only
}


class HealthService:
    """`grpc.health.v1.Health`: all services are well until the daemon drains."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset({"", *services})
        self._status = SERVING
        self._drained = asyncio.Event()

    def drain(self) -> None:
        """Say NOT_SERVING from now on."""
        self._status = NOT_SERVING
        self._drained.set()

    async def Check(self, request: Any, _caller: Caller) -> Any:  # noqa: N802 - the protocol's name
        """Return whether a service is well, or NOT_FOUND for one that is not here."""
        if request.service not in self._services:
            raise StatusError(Status(code=5, message=f"no service {request.service[:200]!r}"))
        return health_pb2.HealthCheckResponse(status=self._status)

    async def Watch(self, request: Any, _caller: Caller) -> AsyncIterator[Any]:  # noqa: N802
        """Stream whether a service is well: now, and when that changes."""
        if request.service not in self._services:
            yield health_pb2.HealthCheckResponse(status=UNKNOWN)
            await asyncio.Event().wait()  # the protocol keeps the stream: services may appear
        if not self._drained.is_set():
            yield health_pb2.HealthCheckResponse(status=SERVING)
            await self._drained.wait()
        yield health_pb2.HealthCheckResponse(status=NOT_SERVING)
        await asyncio.Event().wait()


def health_table(health: HealthService) -> dict[str, Method]:
    """Return the methods of the health service by path."""
    return method_table({"Health": health}, files=(health_pb2.DESCRIPTOR,))


class Reflection:
    """Server reflection, whose library is imported when somebody first asks for it."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = [*services, "grpc.reflection.v1alpha.ServerReflection"]
        self._handler: Handler | None = None

    def find(self, path: str) -> Handler | None:
        """Return the handler of a path, or None when it is not of reflection."""
        if path not in _REFLECTION:
            return None
        if self._handler is None:
            self._handler = _reflection_handler(self._services)
        return self._handler


def _reflection_handler(services: Iterable[str]) -> Handler:
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from grpc_reflection.v1alpha import reflection, reflection_pb2  # noqa: PLC0415

    servicer = reflection.aio.ReflectionServicer(services)

    async def parsed(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        async for data in requests:
            try:
                yield reflection_pb2.ServerReflectionRequest.FromString(data)
            except DecodeError:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a valid request")

    async def handle(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for response in servicer.ServerReflectionInfo(parsed(requests, context), context):
            yield response.SerializeToString()

    return grpc.stream_stream_rpc_method_handler(handle)
