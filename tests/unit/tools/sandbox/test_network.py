"""What a sandbox's proxy lets pass."""

import asyncio

import pytest

from agentd.errors import Denied, Unavailable
from agentd.tools.addresses import Endpoint
from agentd.tools.sandbox.network import Network, matches, parse_head
from agentd.tools.sandbox.profile import split_pattern


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("example.com:443", ("example.com", "443")),
        ("Example.COM", ("example.com", "*")),
        ("*.example.com:*", ("*.example.com", "*")),
        ("[::1]:80", ("::1", "80")),
        ("[::1]", ("::1", "*")),
        ("::1", ("::1", "*")),
        ("127.0.0.1:8080", ("127.0.0.1", "8080")),
    ],
)
def test_patterns_are_split(pattern: str, parts: tuple[str, str]) -> None:
    assert split_pattern(pattern) == parts


def test_patterns_match_whole_names_and_ports() -> None:
    assert matches("example.com:443", "example.com", 443)
    assert matches("*.example.com", "a.b.example.com", 1)
    for host, port in (("example.com", 80), ("xexample.com", 443), ("example.com.evil.org", 443)):
        assert not matches("example.com:443", host, port)
    assert not matches("*.example.com", "example.com", 443)


@pytest.mark.parametrize(
    ("patterns", "host"),
    [
        (("1.1.1.1:80",), "1.1.1.1"),
        (("*:80",), "1.1.1.1"),
        (("127.0.0.1:80",), "127.0.0.1"),
        (("[::1]:80",), "::1"),
        (("localhost:80",), "localhost"),
        (("169.254.169.254:80",), "169.254.169.254"),
    ],
)
async def test_public_addresses_and_those_named_are_permitted(
    patterns: tuple[str, ...], host: str
) -> None:
    assert await Network(patterns, None).permit(host, 80)


@pytest.mark.parametrize(
    ("patterns", "host"),
    [
        ((), "1.1.1.1"),
        (("1.1.1.1:443",), "1.1.1.1"),
        (("*:80",), "127.0.0.1"),
        (("*",), "localhost"),
        (("local*:80",), "localhost"),
        (("127.*:80",), "127.0.0.1"),
        (("127.1:80",), "127.1"),
        (("localhost:80",), "127.0.0.1"),
        (("127.0.0.1:80",), "localhost"),
        (("0x7f000001:80",), "0x7f000001"),
        (("*:80",), "::ffff:10.0.0.1"),
    ],
)
async def test_others_are_denied(patterns: tuple[str, ...], host: str) -> None:
    with pytest.raises(Denied):
        await Network(patterns, None).permit(host, 80)


async def test_a_granted_name_that_leads_inside_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second answer of a rebinding server is never asked for."""
    answers = [[("93.184.216.34", 80)], [("10.0.0.1", 80)]]
    asked = []

    async def resolve(host: str, port: int) -> list[Endpoint]:
        await asyncio.sleep(0)
        asked.append((host, port))
        return answers[len(asked) - 1]

    monkeypatch.setattr("agentd.tools.sandbox.network.resolve", resolve)
    network = Network(("rebind.example:80",), None)
    assert await network.permit("rebind.example", 80) == [("93.184.216.34", 80)]
    assert len(asked) == 1
    with pytest.raises(Denied, match="private"):
        await network.permit("rebind.example", 80)


async def test_an_unknown_name_is_unreachable() -> None:
    with pytest.raises(Unavailable):
        await Network(("*",), None).permit("no-such-host.invalid", 80)


def test_heads_are_rewritten_for_the_server() -> None:
    target = parse_head(
        b"POST http://Example.com:8080/a?b=c HTTP/1.1\r\nHost: x\r\nProxy-Authorization: y\r\n"
        b"Proxy-Connection: keep-alive\r\nContent-Length: 1\r\n\r\n"
    )
    assert (target.host, target.port) == ("example.com", 8080)
    assert target.head == (
        b"POST /a?b=c HTTP/1.1\r\nHost: Example.com:8080\r\nConnection: close\r\n"
        b"Content-Length: 1\r\n\r\n"
    )
    assert parse_head(b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n") == ("::1", 443, b"")


async def test_without_patterns_there_is_no_way_out() -> None:
    network = Network((), None)
    assert await network.start() is None
    await network.aclose()
