"""What may be declared, and what a declaration grants."""

from pathlib import Path
from typing import Any

import pytest

from agentd.errors import Denied, InvalidRequest, Reason
from agentd.tools.mcp.launch import profile_of
from agentd.tools.mcp.server import McpServer, check_server, filled
from agentd.tools.mcp.servers import McpServers
from tests.unit.tools.mcp.world import Pins, Scene

COMMAND = {"command": ("serve",)}
URL = {"url": "https://example.com/mcp"}


@pytest.mark.parametrize(
    "declared",
    [
        COMMAND,
        URL,
        {"url": "http://127.0.0.1:8000/mcp"},
        {"url": "http://[::1]:8000/mcp"},
        {"url": "http://localhost/mcp"},
        COMMAND | {"permissions": ("fs.read:/a", "fs.write:/b/**", "net.connect:*.example.com")},
        URL | {"headers": {"X-Key": "${secret:k}"}, "permissions": ("secret.use:k",)},
    ],
)
def test_what_is_sound_is_accepted(declared: dict[str, Any]) -> None:
    check_server(McpServer("ok", **declared), "it")


@pytest.mark.parametrize(
    ("field", "declared"),
    [
        ("it", {}),
        ("it", COMMAND | URL),
        ("it.timeout_ms", COMMAND | {"timeout_ms": 0}),
        ("it.url", {"url": "ftp://example.com"}),
        ("it.url", {"url": "http://example.com/mcp"}),
        ("it.url", {"url": "http://localhost.example.com/mcp"}),
        ("it.url", {"url": "https://user:password@example.com/mcp"}),
        ("it.url", {"url": "https://example.com/mcp#x"}),
        ("it.url", {"url": "https:///mcp"}),
        ("it.url", {"url": "https://example.com:99999/"}),
        ("it.url", {"url": "https://[::1/"}),
        ("it.headers", COMMAND | {"headers": {"A": "b"}}),
        ("it.environment", URL | {"environment": {"A": "b"}}),
        ("it.headers", URL | {"headers": {"A b": "c"}}),
        ("it.headers.A", URL | {"headers": {"A": "b\r\nC: d"}}),
        ("it.headers.A", URL | {"headers": {"A": "${secret:k}"}}),
        ("it.environment", COMMAND | {"environment": {"A=B": "c"}}),
        ("it.environment.A", COMMAND | {"environment": {"A": "b\0"}}),
        ("it.environment.A", COMMAND | {"environment": {"A": "${secret:k}"}}),
        ("it.permissions[0]", COMMAND | {"permissions": ("process.exec:sh",)}),
        ("it.permissions[0]", COMMAND | {"permissions": ("fs.read:relative",)}),
        ("it.permissions[0]", COMMAND | {"permissions": ("fs.read:/a/*",)}),
        ("it.permissions[0]", COMMAND | {"permissions": ("fs.read:/a/../b",)}),
        ("it.permissions[0]", COMMAND | {"permissions": ("net.connect:",)}),
        ("it.permissions[0]", COMMAND | {"permissions": ("net.connect:a:b",)}),
        ("it.permissions[0]", COMMAND | {"permissions": ("secret.use:",)}),
        ("it.permissions[0]", URL | {"permissions": ("fs.read:/a",)}),
    ],
)
def test_what_is_not_is_refused_by_its_field(field: str, declared: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_server(McpServer("ok", **declared), "it")
    assert [fault.field for fault in caught.value.faults] == [field]


@pytest.mark.parametrize("name", ["", "Upper", "a_b", "a/b", "-", "x" * 60])
def test_a_name_must_make_a_toolset(name: str) -> None:
    with pytest.raises(InvalidRequest):
        check_server(McpServer(name, command=("x",)), "it")


def test_two_servers_have_two_names(tmp_path: Path) -> None:
    twice = [McpServer("a", command=("x",)), McpServer("a", url="https://example.com")]
    with pytest.raises(InvalidRequest) as caught:
        McpServers(twice, Scene(tmp_path).sandbox, Pins(), str(tmp_path))
    assert caught.value.faults[0].field == "mcp_servers[1].name"


def test_a_secret_is_given_only_where_it_may_be_used() -> None:
    server = McpServer("s", command=("x",), permissions=("secret.use:k",))
    secrets = {"k": "${secret:other}", "other": "o"}.__getitem__
    assert filled(server, {"A": "<${secret:k}>"}, secrets) == {"A": "<${secret:other}>"}
    with pytest.raises(Denied) as caught:
        filled(server, {"A": "${secret:other}"}, secrets)
    assert caught.value.reason is Reason.PERMISSION_DENIED


def test_the_sandbox_gets_exactly_what_was_declared() -> None:
    server = McpServer(
        "s",
        command=("x",),
        permissions=(
            "fs.read:/r/**",
            "fs.read:/r.txt",
            "fs.write:/w/**",
            "net.connect:example.com:443",
            "net.connect:[::1]",
            "secret.use:k",
        ),
    )
    profile = profile_of(server, {"A": "b"}, Path("/state/s"))
    assert profile.workspace == "/state/s"
    assert profile.readable == ("/r", "/r.txt")
    assert profile.writable == ("/w",)
    assert profile.network == ("example.com:443", "[::1]")
    assert profile.environment == {"A": "b"}


def test_what_a_call_needs_is_where_the_daemon_connects_to() -> None:
    assert McpServer("s", url="https://example.com/mcp").needs == ("net.connect:example.com:443",)
    assert McpServer("s", url="http://[::1]:80/").needs == ("net.connect:[::1]:80",)
    assert McpServer("s", command=("x",)).needs == ()
