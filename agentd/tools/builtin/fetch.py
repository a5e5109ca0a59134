"""The tool that fetches a page: it connects to addresses that were checked, and to no other.

A host is resolved once for each request, every answer is checked, and the connection is made to an
answer and never to the name again; the certificate and the Host header are still those of the name.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from agentd import __version__
from agentd.agent.hosting import Failed, Invocation, Outcome
from agentd.agent.permission import Labels
from agentd.agent.tool import EffectClass
from agentd.errors import AgentdError
from agentd.tools.addresses import Endpoint, check_address, resolve
from agentd.tools.builtin.content import read_body, read_text, read_type
from agentd.tools.builtin.frame import Refused, Shapes, decode, manifest_of, succeeded, unfit
from agentd.tools.builtin.urls import MAX_URL, Target, parse_url, redirected

if TYPE_CHECKING:
    import ssl

    import httpcore2

MAX_REDIRECTS = 5
MAX_ENDPOINTS = 4
"""The most addresses of one host that are tried."""
FETCH_S = 45.0
"""How long a fetch may take, redirects and conversion included."""
CONNECT_S = 5.0
READ_S = 15.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[Endpoint]]]
Check: TypeAlias = Callable[[str], str | None]
"""Says why nobody may connect to an address, or None."""


class FetchArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of web/fetch."""

    url: Annotated[
        str, Meta(min_length=1, max_length=MAX_URL, description="Absolute, http or https.")
    ]
    method: Annotated[
        Literal["GET", "HEAD"], Meta(description="HEAD tells type and size without the content.")
    ] = "GET"
    raw: Annotated[bool, Meta(description="Return HTML as it is, not as readable text.")] = False


class Page(msgspec.Struct, frozen=True):
    """Result of web/fetch."""

    url: str
    """Where the content came from, after redirects."""
    status: int
    content_type: str
    size_bytes: int
    """As the server says; -1 if it does not."""
    title: str
    text: str
    truncated: bool


FETCH = manifest_of(
    "web/fetch",
    "Fetch a page or a text from the web. HTML becomes readable text. A redirect to another host "
    "or port is not followed: fetch the address that the error names.",
    Shapes(FetchArguments, Page),
    EffectClass.READ_ONLY,
    labels=Labels(untrusted=True),
)


@dataclass(frozen=True, slots=True)
class _Backend:
    """Connects to the given endpoints, whatever host it is asked for."""

    endpoints: Sequence[Endpoint]
    network: "httpcore2.AsyncNetworkBackend"
    errors: tuple[type[Exception], ...]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> "httpcore2.AsyncNetworkStream":
        """Connect to the first endpoint that answers."""
        del host, port, local_address, socket_options
        *others, last = self.endpoints
        for address, number in others:
            try:
                return await self.network.connect_tcp(address, number, timeout)
            except self.errors:
                continue
        return await self.network.connect_tcp(*last, timeout)


class FetchTool:
    """web/fetch."""

    manifest = FETCH

    def __init__(self, lookup: Resolve = resolve, check: Check = check_address) -> None:
        self._lookup = lookup
        self._check = check
        self._tls: ssl.SSLContext | None = None

    def needs(self, arguments: Mapping[str, Any], workspace: str) -> Sequence[str]:
        """Return the permission for the URL's host and port; none if it has none, and then the
        call fails."""
        del workspace
        try:
            return (parse_url(arguments["url"]).need,)
        except Refused:
            return ()

    async def __call__(self, invocation: Invocation) -> Outcome:
        """Fetch a page."""
        if answer := unfit(self.manifest, invocation):
            return answer
        try:
            arguments = decode(invocation.arguments_json, FetchArguments)
            async with asyncio.timeout(FETCH_S):
                page = await self._fetch(arguments, frozenset(invocation.permissions))
        except Refused as refusal:
            return Failed(str(refusal))
        except TimeoutError:
            return Failed(f"the server did not answer within {FETCH_S:.0f} seconds")
        return succeeded(page)

    async def _fetch(self, arguments: FetchArguments, granted: frozenset[str]) -> Page:
        """Follow redirects as far as they were granted."""
        target = parse_url(arguments.url)
        if target.need not in granted:
            raise Refused(f"the call was not granted {target.need}")
        for _ in range(MAX_REDIRECTS + 1):
            async with self._request(target, arguments.method) as response:
                location = _header(response, b"location")
                if response.status not in _REDIRECTS or not location:
                    return await _page(target, response, arguments)
            source, target = target, redirected(target, location)
            if target.need not in granted:
                raise Refused(
                    f"{source.url} redirects to {target.url}, which needs {target.need}: "
                    "fetch that address itself"
                )
        raise Refused(f"{arguments.url} redirects more than {MAX_REDIRECTS} times")

    @asynccontextmanager
    async def _request(self, target: Target, method: str) -> AsyncIterator["httpcore2.Response"]:
        http = await asyncio.to_thread(importlib.import_module, "httpcore2")
        if self._tls is None:
            self._tls = await asyncio.to_thread(http.default_ssl_context)
        endpoints = await self._endpoints(target)
        backend = _Backend(endpoints, http.AnyIOBackend(), (http.ConnectError, http.ConnectTimeout))
        url = http.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        timeouts = {"connect": CONNECT_S, "read": READ_S, "write": READ_S, "pool": CONNECT_S}
        try:
            async with (
                http.AsyncConnectionPool(
                    self._tls, max_connections=1, network_backend=backend
                ) as pool,
                pool.stream(
                    method, url, headers=_headers(target), extensions={"timeout": timeouts}
                ) as response,
            ):
                yield response
        except (
            http.NetworkError,
            http.TimeoutException,
            http.ProtocolError,
            OSError,
        ) as error:
            reason = str(error) or type(error).__name__
            raise Refused(f"{target.url} could not be fetched: {reason}") from None

    async def _endpoints(self, target: Target) -> Sequence[Endpoint]:
        """Return where to connect to: what the host is resolved to, all of it allowed."""
        try:
            endpoints = await self._lookup(target.host, target.port)
        except AgentdError as error:
            raise Refused(error.message) from None
        if not endpoints:
            raise Refused(f"{target.host} has no address")
        for address, _ in endpoints:
            if reason := self._check(address):
                raise Refused(
                    f"{target.host} is at {address}, which is {reason}: only addresses on the "
                    "public internet can be fetched from"
                )
        return endpoints[:MAX_ENDPOINTS]


async def _page(target: Target, response: "httpcore2.Response", arguments: FetchArguments) -> Page:
    """Read a response that is no redirect."""
    kind = read_type(_header(response, b"content-type"))
    length = _header(response, b"content-length")
    size = int(length) if length.isdecimal() and len(length) < 16 else -1
    title, text, truncated = "", "", False
    if arguments.method != "HEAD":
        if not kind.is_text:
            told = f"{size:,} bytes" if size >= 0 else "a size that it does not say"
            raise Refused(f"{target.url} is {kind.name!r} of {told}: only text can be fetched")
        encoding = _header(response, b"content-encoding").lower()
        body, cut = await read_body(response.aiter_stream(), encoding)
        read = await read_text(body, kind, raw=arguments.raw)
        title, text, truncated = read.title, read.text, read.truncated or cut
    return Page(target.url, response.status, kind.name, size, title, text, truncated)


def _headers(target: Target) -> list[tuple[str, str]]:
    return [
        ("Host", target.authority),
        ("User-Agent", f"agentd/{__version__}"),
        ("Accept", "text/html, application/json, text/*;q=0.9, */*;q=0.5"),
        ("Accept-Encoding", "gzip"),
        ("Connection", "close"),
    ]


def _header(response: "httpcore2.Response", name: bytes) -> str:
    for key, value in response.headers:
        if key.lower() == name:
            return value.decode("utf-8", "replace").strip()
    return ""
