"""Say which network addresses a tool may reach, and resolve names to such addresses alone."""

import asyncio
import ipaddress
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from agentd.errors import Denied, Reason, Unavailable

Address = IPv4Address | IPv6Address
Endpoint = tuple[str, int]
"""An address in its shortest form, and a port: what `loop.create_connection` can be pinned to."""

RESOLVE_TIMEOUT_S = 10.0

_REFUSED: tuple[tuple[str, str], ...] = (
    # IANA's special-purpose registries, in words; the first match names the reason. `is_global` of
    # `ipaddress` is asked as well, but lets multicast and several translations through.
    ("0.0.0.0/8", "this host"),
    ("127.0.0.0/8", "loopback"),
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("100.64.0.0/10", "carrier-grade NAT"),
    ("169.254.0.0/16", "link-local"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "this host"),
    ("::1/128", "loopback"),
    ("64:ff9b:1::/48", "translated"),
    ("100::/64", "discarded"),
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "documentation"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
_NETWORKS: tuple[tuple[IPv4Network | IPv6Network, str], ...] = tuple(
    (ipaddress.ip_network(network), reason) for network, reason in _REFUSED
)
_CARRYING: tuple[tuple[IPv6Network, int, str], ...] = (
    # IPv6 ranges whose addresses are reached by way of an IPv4 address that they contain, and how
    # far that address is shifted to the left.
    (IPv6Network("::ffff:0:0/96"), 0, "an IPv4 address in IPv6"),
    (IPv6Network("::ffff:0:0:0/96"), 0, "a translated IPv4 address"),
    (IPv6Network("64:ff9b::/96"), 0, "NAT64"),
    (IPv6Network("2002::/16"), 80, "6to4"),
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that is given out to networks; `is_global` also believes in what was never given out."""


def check_address(ip: str | Address) -> str | None:
    """Say why nobody may connect to an address, or None for an ordinary public one.

    Takes the numeric form alone; a text that is not one is refused too, since only a resolver may
    say what it means (`127.1` and `0x7f.1` are loopback to some of them). IPv6 addresses that stand
    for an IPv4 address (mapped, translated, NAT64, 6to4) are judged by that one.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return "not an address"
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "an address with a scope"
    for network, reason in _NETWORKS:
        if address.version == network.version and address in network:
            return reason
    if isinstance(address, IPv6Address):
        for network, shift, name in _CARRYING:
            if address in network:
                inner = check_address(IPv4Address((int(address) >> shift) & 0xFFFFFFFF))
                return inner and f"{name}: {inner}"
        if address not in _GLOBAL_UNICAST:
            return "reserved"
    return None if address.is_global else "reserved"


async def resolve(host: str, port: int) -> list[Endpoint]:
    """Ask the system's resolver once for every address of a host; a literal is its own answer.

    Raises Unavailable (UNREACHABLE) when there is none, or none within RESOLVE_TIMEOUT_S.
    """
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
    except (OSError, UnicodeError, TimeoutError) as error:
        raise Unavailable(
            Reason.UNREACHABLE, f"{host} has no address: {error}", metadata={"host": host}
        ) from error
    return list(dict.fromkeys((str(sockaddr[0]), int(sockaddr[1])) for *_, sockaddr in found))


async def resolve_public(host: str, port: int) -> list[Endpoint]:
    """Return the addresses to connect to for a host, all of them public.

    One address that is refused refuses the host: a name that is public and private at once is an
    attack or a mistake. Connect to what is returned, never to the name again: its next answer may
    differ. Raises Denied (PERMISSION_DENIED) and Unavailable (UNREACHABLE).
    """
    endpoints = await resolve(host, port)
    for address, _ in endpoints:
        if reason := check_address(address):
            raise Denied(
                Reason.PERMISSION_DENIED,
                f"{host} is at {address}, which is {reason}: not on the public internet",
                metadata={"host": host, "address": address, "why": reason},
            )
    return endpoints
