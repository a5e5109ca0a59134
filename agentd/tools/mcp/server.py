"""An MCP server as configuration declares it, and how it is doing."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from urllib.parse import urlsplit

import msgspec

from agentd.agent.ids import check_id
from agentd.agent.tool import EffectClass
from agentd.errors import Denied, Reason, invalid_field

Secrets = Callable[[str], str]
"""Returns the secret of a name, or raises NotFound."""

MAX_TIMEOUT_MS = 24 * 3600 * 1000
_SECRET = re.compile(r"\$\{secret:([A-Za-z0-9_.-]+)\}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_HOST_PORT = re.compile(r"([A-Za-z0-9*._-]+|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?\Z")
_PROCESS_NEEDS = ("fs.read:", "fs.write:", "net.connect:", "secret.use:")
_PORTS = {"http": 80, "https": 443}


class McpServer(msgspec.Struct, frozen=True):
    """A server that the operator declares: by a command, or by a URL."""

    name: str
    command: tuple[str, ...] = ()
    """Speaks over its standard input and output, inside the sandbox."""
    url: str = ""
    """Speaks streamable HTTP; plain `http` only on this machine."""
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)
    """All that the command sees of one; a value may contain `${secret:NAME}`."""
    permissions: tuple[str, ...] = ()
    """What the server itself may use: `fs.read:PATH`, `fs.write:PATH` (each a file, or a folder as
    `PATH/**`), `net.connect:HOST[:PORT]`, `secret.use:NAME`."""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Sent with every request; a value may contain `${secret:NAME}`."""
    effects: Mapping[str, EffectClass] = msgspec.field(default_factory=dict)
    """The operator's own word on a tool, by the server's name for it."""
    trusted: bool = False
    """Whether its annotations count, and its results are not labelled untrusted."""
    timeout_ms: int = 60_000
    """How long one call may take."""
    memory_bytes: int = 4 * 1024**3
    """Of address space for one process of the command: a JavaScript engine reserves gigabytes that
    it does not use."""

    @property
    def toolset(self) -> str:
        """The toolset of its tools."""
        return f"mcp-{self.name}"

    @property
    def needs(self) -> tuple[str, ...]:
        """What every call of one of its tools needs: the daemon itself speaks to a URL."""
        if not self.url:
            return ()
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        shown = f"[{host}]" if ":" in host else host
        return (f"net.connect:{shown}:{parts.port or _PORTS[parts.scheme]}",)


class Phase(Enum):
    """How a server is doing."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    PAUSED = "paused"
    """Its tools are not those that were accepted."""
    FAILING = "failing"
    """It is tried again, ever less often."""


class ServerState(msgspec.Struct, frozen=True):
    """How a server is doing, for people."""

    name: str
    phase: Phase
    reason: str = ""
    """Why it is paused or failing."""
    digest: str = ""
    """Of the tools that are accepted."""
    offered_digest: str = ""
    """Of the tools that wait to be accepted; empty when none do."""
    changes: tuple[str, ...] = ()
    """What accepting them would change, a line for each tool."""
    tools: int = 0
    faults: tuple[str, ...] = ()
    """Which tools are left out, and why."""

    @property
    def is_known(self) -> bool:
        """Whether it is known what the server offers, or else that it does not answer."""
        return bool(self.digest) or self.phase is not Phase.CONNECTING


def check_server(server: McpServer, field: str) -> None:
    """Accept a declaration, or raise InvalidRequest (INVALID_FIELD) naming what is wrong."""
    check_id(server.toolset, f"{field}.name")
    if bool(server.command) == bool(server.url):
        raise invalid_field(field, "must have either a command or a url")
    if not 1 <= server.timeout_ms <= MAX_TIMEOUT_MS:
        raise invalid_field(f"{field}.timeout_ms", f"must be from 1 to {MAX_TIMEOUT_MS}")
    if server.url:
        _check_url(server.url, f"{field}.url")
        _check_unused(server.environment, f"{field}.environment", "a command")
        _check_permissions(server, ("secret.use:",), field)
        _check_values(server, server.headers, _HEADER, f"{field}.headers")
    else:
        _check_unused(server.headers, f"{field}.headers", "a url")
        _check_permissions(server, _PROCESS_NEEDS, field)
        _check_values(server, server.environment, _VARIABLE, f"{field}.environment")


def filled(server: McpServer, values: Mapping[str, str], secrets: Secrets) -> dict[str, str]:
    """Return values with their secrets in place.

    Raises Denied (PERMISSION_DENIED) for a secret that the server may not use.
    """

    def resolve(match: re.Match[str]) -> str:
        if f"secret.use:{match[1]}" not in server.permissions:
            raise Denied(
                Reason.PERMISSION_DENIED,
                f"the MCP server {server.name} may not use the secret {match[1]}",
                metadata={"permission": f"secret.use:{match[1]}"},
            )
        return secrets(match[1])

    return {key: _SECRET.sub(resolve, value) for key, value in values.items()}


def _check_url(url: str, field: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise invalid_field(field, f"is not a URL ({error})") from None
    if parts.scheme not in _PORTS or not host or parts.fragment:
        raise invalid_field(field, "must be an http or https URL without a fragment")
    if parts.username is not None or parts.password is not None:
        raise invalid_field(field, "must not hold credentials: use a header with a secret")
    if parts.scheme == "http" and not _is_loopback(host):
        raise invalid_field(field, "must be https: plain http is for this machine alone")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_unused(values: Mapping[str, str], field: str, owner: str) -> None:
    if values:
        raise invalid_field(field, f"belongs to a server with {owner}")


def _check_permissions(server: McpServer, kinds: Iterable[str], field: str) -> None:
    for index, permission in enumerate(server.permissions):
        place = f"{field}.permissions[{index}]"
        kind = next((kind for kind in kinds if permission.startswith(kind)), None)
        if kind is None:
            raise invalid_field(place, f"must start with one of {', '.join(kinds)}")
        rest = permission.removeprefix(kind)
        if kind.startswith("fs."):
            path = rest.removesuffix("/**")
            if not path.startswith("/") or "*" in path or ".." in path.split("/"):
                raise invalid_field(place, "must name an absolute path, or a folder as PATH/**")
        elif kind == "net.connect:" and not _HOST_PORT.match(rest):
            raise invalid_field(place, "must name a host, and perhaps a port")
        elif not rest:
            raise invalid_field(place, "names nothing")


def _check_values(
    server: McpServer, values: Mapping[str, str], names: re.Pattern[str], field: str
) -> None:
    for key, value in values.items():
        if not names.match(key):
            raise invalid_field(field, f"{key[:80]!r} is not a valid name")
        if not value.isprintable():
            raise invalid_field(f"{field}.{key}", "must be printable")
        for secret in _SECRET.findall(value):
            if f"secret.use:{secret}" not in server.permissions:
                raise invalid_field(f"{field}.{key}", f"needs the permission secret.use:{secret}")
