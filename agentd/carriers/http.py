"""Serve a table of methods over HTTP: REST by the `google.api.http` annotations, streams as
server-sent events. Knows no method."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from agentd.agent.ids import DEFAULT_NAMESPACE, Namespace
from agentd.carriers import openapi
from agentd.carriers.credentials import NAMESPACE_KEY, bears, checked_namespace, unauthenticated
from agentd.carriers.http_accept import choose
from agentd.carriers.http_errors import Refused, http_code
from agentd.carriers.http_exchange import JSON, Exchange, Gone
from agentd.carriers.http_routes import Route, Routes, not_allowed
from agentd.carriers.http_server import Server, ServerLimits
from agentd.carriers.http_stream import EVENTS, LINES, Stream, go_on_after
from agentd.carriers.pump import pump
from agentd.carriers.transcoding import read_request, write_response
from agentd.errors import AgentdError, Denied, InvalidRequest, Reason, Unavailable
from agentd.services.caller import Caller
from agentd.services.registry import Method
from agentd.services.status import to_status, unexpected

OPENAPI = "/openapi.json"
HEALTHY = "/healthz"
READY = "/readyz"

Page = Callable[[Exchange], Awaitable[None]]


class HttpLimits(msgspec.Struct, frozen=True):
    """What one client may ask of the server."""

    max_message_bytes: int = 4 << 20
    """The largest request body."""
    read_timeout_s: float = 30.0
    """How long a request body may take."""
    write_timeout_s: float = 30.0
    """How long one response of a stream may wait for its reader."""
    heartbeat_s: float = 15.0
    """How often a stream of events says that it is there."""
    server: ServerLimits = ServerLimits()


DEFAULT_LIMITS = HttpLimits()


class HttpCarrier:
    """One HTTP server on one loopback address. Every request must carry the token, except those
    that ask whether the daemon is well."""

    def __init__(
        self, table: Mapping[str, Method], *, token: str, limits: HttpLimits = DEFAULT_LIMITS
    ) -> None:
        self._routes = Routes(table)
        self._limits = limits
        self._token = token
        self._server = Server(self._serve, limits.server)
        self._hosts: frozenset[str] = frozenset()
        self._pages: dict[str, Page] = {
            HEALTHY: self._healthy,
            READY: self._ready,
            OPENAPI: self._openapi,
        }
        self._document: bytes | None = None
        self._calls: set[asyncio.Task[Any]] = set()
        self._streams: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._closing = False

    async def start(self, address: str) -> str:
        """Serve on `HOST:PORT`; return the address, with the port if it was 0.

        Raises Unavailable (UNREACHABLE) when the address cannot be bound.
        """
        bound = await self._server.start(address)
        host, _, port = bound.rpartition(":")
        names = {host, "localhost", "127.0.0.1", "[::1]"}
        self._hosts = frozenset(names | {f"{name}:{port}" for name in names})
        return bound

    def drain(self) -> None:
        """Answer /readyz with 503, so that nobody sends new work here."""
        self._draining = True

    async def close(self, grace_s: float) -> None:
        """Stop: end streams at once and other requests after the grace, both with UNAVAILABLE
        (DRAINING); new connections are refused from the start."""
        self.drain()
        self._closing = True
        self._server.stop_listening()
        ending = self._streams | self._calls
        for stream in self._streams:
            stream.cancel()
        if ending:
            _, late = await asyncio.wait(ending, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=grace_s)
        await self._server.close(grace_s)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request: the application that the server calls."""
        exchange = Exchange(scope, receive, send)
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        try:
            await self._answer(exchange)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - all end the request
            await self._fail(error, exchange)
        finally:
            self._calls.discard(task)

    async def _answer(self, exchange: Exchange) -> None:
        if exchange.header("host").lower() not in self._hosts:
            # A page of another site whose name was made to lead here would say that name.
            raise Denied(
                Reason.PERMISSION_DENIED, "the Host header must name this daemon's own address"
            )
        page = self._pages.get(exchange.path)
        if page in (None, self._openapi) and not bears(
            exchange.header("authorization").encode("latin-1"), self._token
        ):
            raise unauthenticated()
        method = "GET" if exchange.method == "HEAD" else exchange.method
        if page is not None:
            if method != "GET":
                raise not_allowed(method, exchange.path, ["GET"])
            await page(exchange)
            return
        route, values = self._routes.find(method, exchange.path)
        if exchange.method == "HEAD" and route.method.stream is not None:
            raise not_allowed("HEAD", exchange.path, ["GET"])
        kinds = (JSON,) if route.method.unary is not None else (EVENTS, LINES)
        kind = choose(exchange.header("accept"), kinds)
        body = await exchange.body(self._limits.max_message_bytes, self._limits.read_timeout_s)
        if body:
            _check_json(exchange.header("content-type"))
        request = read_request(route, values, exchange.query, body)
        caller = Caller(_namespace(exchange.header(NAMESPACE_KEY)), transport="tcp")
        if route.method.unary is not None:
            async with exchange.present():
                response = await route.method.unary(request, caller)
            text, _ = write_response(response, route.method.response_class)
            await exchange.respond(text)
        else:
            go_on_after(request, route.method.descriptor, exchange.header("last-event-id"))
            await self._stream(exchange, route, kind, request, caller)

    async def _stream(
        self, exchange: Exchange, route: Route, kind: str, request: Any, caller: Caller
    ) -> None:
        serve = route.method.stream
        assert serve is not None
        task = asyncio.current_task()
        assert task is not None
        stream = Stream(exchange, kind, route.method.response_class)
        self._calls.discard(task)
        self._streams.add(task)
        try:
            async with exchange.present(), stream.alive(self._limits.heartbeat_s):
                await pump(
                    serve(request, caller), stream.write, timeout_s=self._limits.write_timeout_s
                )
            await stream.end()
        except (Exception, asyncio.CancelledError) as error:
            if exchange.gone or not exchange.started:
                raise
            await stream.fail(self._status(error, exchange.path))
        finally:
            self._streams.discard(task)

    async def _fail(self, error: BaseException, exchange: Exchange) -> None:
        """End a request with an error, if somebody is there to read it."""
        if exchange.gone or exchange.started or isinstance(error, Gone):
            return  # an answer that has begun is cut off
        if isinstance(error, Refused):
            await exchange.fail(error.status, error.code, error.headers)
            return
        status = self._status(error, exchange.path)
        await exchange.fail(status, http_code(status))

    def _status(self, error: BaseException, path: str) -> Any:
        match error:
            case AgentdError():
                return to_status(error)
            case asyncio.CancelledError():
                return to_status(Unavailable(Reason.DRAINING, "the daemon is going down"))
            case _:
                return unexpected(error, path[:200])

    async def _healthy(self, exchange: Exchange) -> None:
        await exchange.respond(b'{"status":"ok"}')

    async def _ready(self, exchange: Exchange) -> None:
        if self._draining:
            raise Unavailable(Reason.DRAINING, "the daemon is going down")
        await exchange.respond(b'{"status":"ready"}')

    async def _openapi(self, exchange: Exchange) -> None:
        if self._document is None:
            self._document = msgspec.json.encode(openapi.document(self._routes))
        await exchange.respond(self._document)


def _namespace(value: str) -> Namespace:
    return checked_namespace(value) if value else DEFAULT_NAMESPACE


def _check_json(content_type: str) -> None:
    """Raise Refused with 415 for a body that does not say that it is JSON in UTF-8."""
    kind, _, parameters = content_type.lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if kind.strip() != JSON or charset not in ("", "utf-8"):
        error = InvalidRequest(
            Reason.MALFORMED_REQUEST, "a body must say 'content-type: application/json'"
        )
        raise Refused(error, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"accept": JSON})
