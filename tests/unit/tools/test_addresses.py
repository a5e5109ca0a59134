"""Addresses that no tool may reach, in every disguise that is known."""

import asyncio
import ipaddress
import socket
from typing import Any

import pytest

from agentd.errors import Denied, Unavailable
from agentd.tools.addresses import check_address, resolve, resolve_public

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001::1",
    "2001:db8::1",
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "3fff::1",
    "5f00::1",
    "4000::1",
    "::8.8.8.8",
]
NOT_NUMERIC = [
    "",
    "localhost",
    "127.1",
    "0x7f.1",
    "2130706433",
    "0177.0.0.1",
    "\uff11.1.1.1",
    "1.1.1.1 ",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert check_address(address) is None
    assert check_address(ipaddress.ip_address(address)) is None


@pytest.mark.parametrize("address", REFUSED + NOT_NUMERIC)
def test_other_addresses_are_refused_with_a_reason(address: str) -> None:
    assert check_address(address)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f000001", "017700000001", "2130706433", "localhost", "0", "::1"],
)
async def test_forms_that_the_resolver_understands_are_judged_by_its_answer(host: str) -> None:
    with pytest.raises(Denied, match=r"not on the public internet"):
        await resolve_public(host, 80)


async def test_a_public_literal_is_its_own_answer() -> None:
    assert await resolve_public("1.1.1.1", 443) == [("1.1.1.1", 443)]


async def test_a_host_that_is_public_and_private_at_once_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(*_: object, **__: object) -> list[Any]:
        await asyncio.sleep(0)
        addresses = ["93.184.216.34", "127.0.0.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 80)) for text in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
    assert await resolve("both.example", 80) == [("93.184.216.34", 80), ("127.0.0.1", 80)]
    with pytest.raises(Denied):
        await resolve_public("both.example", 80)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300, "nul\0byte.example"])
async def test_a_host_without_an_address_is_unreachable(host: str) -> None:
    with pytest.raises(Unavailable):
        await resolve_public(host, 80)
