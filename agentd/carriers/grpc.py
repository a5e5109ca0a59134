"""Serve a table of methods over gRPC. Knows no method: errors, limits, callers and slow readers are
treated alike for all."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Never, TypeAlias

import grpc
import grpc.aio
import msgspec
from google.rpc.status_pb2 import Status

from agentd.agent.ids import DEFAULT_NAMESPACE, Namespace
from agentd.carriers.credentials import NAMESPACE_KEY, bears, checked_namespace, unauthenticated
from agentd.carriers.grpc_standard import (
    Handler,
    HealthService,
    Reflection,
    health_table,
)
from agentd.carriers.payload import StatusError
from agentd.carriers.pump import pump
from agentd.carriers.relay import identify
from agentd.errors import AgentdError, Reason, Unavailable, Unsupported
from agentd.services.caller import Caller, Transport
from agentd.services.registry import Method, Response, encode
from agentd.services.status import to_status, unexpected

DETAILS_KEY = "grpc-status-details-bin"
"""Where gRPC carries a whole `google.rpc.Status`."""

CODES = {code.value[0]: code for code in grpc.StatusCode}

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class GrpcLimits(msgspec.Struct, frozen=True):
    """What one client may ask of the server."""

    max_message_bytes: int = 4 << 20
    """The largest request; a larger one is RESOURCE_EXHAUSTED before it reaches a service."""
    write_timeout_s: float = 30.0
    """How long one response of a stream may wait for its reader."""


DEFAULT_LIMITS = GrpcLimits()


def server_options(limits: GrpcLimits) -> list[tuple[str, int]]:
    """Return the options that were measured, as a set, to hold under attack.

    10,000 streams at once all open, rapid resets and ping floods leave other clients unharmed, and
    a frozen client is noticed in 15 s. Raising the pending requests alone makes resets worse.
    """
    return [
        ("grpc.max_concurrent_streams", 1024),
        ("grpc.server.max_pending_requests", 20_000),
        ("grpc.server.max_pending_requests_hard_limit", 40_000),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.ping_timeout_ms", 5_000),
        # Clients may keep a quiet stream alive as often as etcd permits; the default of 5 minutes
        # answers them with GOAWAY.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        # Otherwise a second daemon shares the TCP port, and the kernel splits clients between them.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        # Pages and batches are bounded by the services; how much a client takes is its own limit.
        ("grpc.max_send_message_length", -1),
    ]


class GrpcCarrier:
    """One gRPC server on one address.

    With a token each request must carry it; without, the address must be one that only trusted
    processes can reach: the relay's inner socket.
    """

    def __init__(
        self,
        table: Mapping[str, Method],
        *,
        limits: GrpcLimits = DEFAULT_LIMITS,
        token: str | None = None,
    ) -> None:
        self._limits = limits
        self._token = token
        self._transport: Transport = "unix" if token is None else "tcp"
        services = sorted(
            {method.descriptor.containing_service.full_name for method in table.values()}
        )
        self._health = HealthService(services)
        self._handlers = {
            path: self._handler(method)
            for path, method in {**table, **health_table(self._health)}.items()
        }
        self._reflection = Reflection([*services, "grpc.health.v1.Health"])
        self._calls: set[asyncio.Task[Any]] = set()
        self._streams: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._server: grpc.aio.Server | None = None

    async def start(self, address: str) -> str:
        """Serve on `unix:PATH` or `HOST:PORT`; return the address, with the port if it was 0.

        Raises Unavailable (UNREACHABLE) when the address cannot be bound.
        """
        server = grpc.aio.server(options=server_options(self._limits))
        server.add_generic_rpc_handlers((_Router(self._find),))
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise Unavailable(
                Reason.UNREACHABLE,
                f"cannot listen on {address}: {error}",
                metadata={"address": address},
            ) from error
        await server.start()
        self._server = server
        if address.startswith("unix:"):
            return address
        return f"{address.rpartition(':')[0]}:{port}"

    def drain(self) -> None:
        """Answer health checks with NOT_SERVING, so that nobody sends new work here."""
        self._health.drain()

    async def close(self, grace_s: float) -> None:
        """Stop: end streams at once and other requests after the grace, both with UNAVAILABLE
        (DRAINING); new connections and requests are refused from the start."""
        self.drain()
        self._closing = True
        if self._server is None:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._server.stop(grace_s + 1.0))
            for stream in self._streams:
                stream.cancel()
            if self._calls:
                _, late = await asyncio.wait(self._calls, timeout=grace_s)
                for call in late:
                    call.cancel()

    def _find(self, details: grpc.HandlerCallDetails) -> Handler:
        """Return what serves a call; every path has an answer, even if it is only an error."""
        if self._token is not None and not _bears(details.invocation_metadata, self._token):
            return _refusal(unauthenticated())
        path = details.method
        found = self._handlers.get(path) or self._reflection.find(path)
        if found is not None:
            return found
        name = path[:200]
        return _refusal(
            Unsupported(
                Reason.NOT_IMPLEMENTED, f"there is no method {name}", metadata={"method": name}
            )
        )

    def _handler(self, method: Method) -> Handler:
        if method.unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._unary(method))
        return grpc.unary_stream_rpc_method_handler(self._stream(method))

    def _unary(self, method: Method) -> Callable[[bytes, Context], Awaitable[bytes]]:
        serve = method.unary
        assert serve is not None

        async def handle(data: bytes, context: Context) -> bytes:
            task = asyncio.current_task()
            assert task is not None
            self._calls.add(task)
            try:
                return encode(await serve(method.parse(data), self._caller(context)))
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - all end the call
                return await self._fail(error, method, context)
            finally:
                self._calls.discard(task)

        return handle

    def _stream(self, method: Method) -> Callable[[bytes, Context], Awaitable[None]]:
        serve = method.stream
        assert serve is not None

        async def handle(data: bytes, context: Context) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._streams.add(task)
            try:
                responses = serve(method.parse(data), self._caller(context))

                async def write(response: Response) -> None:
                    await context.write(encode(response))

                await pump(responses, write, timeout_s=self._limits.write_timeout_s)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - all end the call
                await self._fail(error, method, context)
            finally:
                self._streams.discard(task)

        return handle

    async def _fail(self, error: BaseException, method: Method, context: Context) -> Never:
        """End a call with the status of an error."""
        match error:
            case AgentdError():
                status = to_status(error)
            case StatusError():
                status = error.status
            case asyncio.CancelledError() if self._closing:
                status = to_status(Unavailable(Reason.DRAINING, "the daemon is going down"))
            case Exception():
                status = unexpected(error, method.path)
            case _:
                raise error  # the client is gone
        await _abort(context, status)

    def _caller(self, context: Context) -> Caller:
        uid, pid = identify(context.peer())
        namespace = _namespace(context.invocation_metadata() or ())
        return Caller(namespace, uid, pid, self._transport)


class _Router(grpc.GenericRpcHandler):
    """Hands every call to one function."""

    def __init__(self, find: Callable[[grpc.HandlerCallDetails], Handler]) -> None:
        self._find = find

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a call."""
        return self._find(handler_call_details)


def _refusal(error: AgentdError) -> Handler:
    """Return a handler that answers with an error before it reads any request."""

    async def refuse(_requests: object, context: Context) -> None:
        await _abort(context, to_status(error))

    return grpc.stream_stream_rpc_method_handler(refuse)


async def _abort(context: Context, status: Status) -> Never:
    details = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(CODES[status.code], status.message, trailing_metadata=details)


def _bears(metadata: Iterable[tuple[str, str | bytes]] | None, token: str) -> bool:
    """Whether the metadata carries the token."""
    return any(key == "authorization" and bears(value, token) for key, value in metadata or ())


def _namespace(metadata: Iterable[tuple[str, str | bytes]]) -> Namespace:
    for key, value in metadata:
        if key == NAMESPACE_KEY:
            return checked_namespace(value if isinstance(value, str) else value.decode("ascii"))
    return DEFAULT_NAMESPACE
