"""Attacks by way of sockets: out of the network namespace, and around it."""

import contextlib
import os
import socket

from tests.conformance.sandbox.corpus.common import Prey, add, attack, opened

TIMEOUT_S = 0.5
FAMILIES = {
    "KEY": 15,
    "NETLINK": 16,
    "PACKET": 17,
    "RDS": 21,
    "PPPOX": 24,
    "CAN": 29,
    "TIPC": 30,
    "BLUETOOTH": 31,
    "ALG": 38,
    "VSOCK": 40,
    "QIPCRTR": 42,
    "SMC": 43,
    "XDP": 44,
    "MCTP": 45,
}
for name, family in FAMILIES.items():
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):

        def make_socket(_: Prey, family: int = family, kind: int = kind) -> "str | None":
            socket.socket(family, kind, 0)
            return "it made a socket"

        add(f"socket_{name}_{kind.name}", make_socket)


def connected(family: int, address: object) -> "str | None":
    """An attack that is answered escaped."""
    with socket.socket(family, socket.SOCK_STREAM) as near:
        near.settimeout(TIMEOUT_S)
        near.connect(address)  # type: ignore[arg-type]
    return f"it connected to {address!r}"


@attack
def connect_to_loopback(prey: Prey) -> "str | None":
    return connected(socket.AF_INET, ("127.0.0.1", prey.tcp_port))


@attack
def connect_to_mapped_loopback(prey: Prey) -> "str | None":
    return connected(socket.AF_INET6, ("::ffff:127.0.0.1", prey.tcp_port))


@attack
def connect_to_any(prey: Prey) -> "str | None":
    return connected(socket.AF_INET, ("0.0.0.0", prey.tcp_port))


@attack
def connect_by_multipath(prey: Prey) -> "str | None":
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as near:
        near.settimeout(TIMEOUT_S)
        near.connect(("127.0.0.1", prey.tcp_port))
    return "it connected by MPTCP"


@attack
def connect_to_metadata(_: Prey) -> "str | None":
    return connected(socket.AF_INET, ("169.254.169.254", 80))


@attack
def send_datagram(prey: Prey) -> "str | None":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
        near.settimeout(TIMEOUT_S)
        near.connect(("127.0.0.1", prey.udp_port))
        near.send(b"")
        near.send(b"")  # refused if the first one found nobody
    return "somebody takes its datagrams"


@attack
def reach_the_outside(_: Prey) -> "str | None":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
        near.connect(("192.0.2.1", 9))
    return "it has a route to the world"


@attack
def ping(_: Prey) -> "str | None":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as near:
        near.connect(("192.0.2.1", 9))
    return "it can ping the world"


@attack
def raw_socket(_: Prey) -> "str | None":
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    return "it made a raw socket"


@attack
def connect_to_abstract_socket(prey: Prey) -> "str | None":
    return connected(socket.AF_UNIX, "\0" + prey.abstract_name)


@attack
def connect_to_socket_file(prey: Prey) -> "str | None":
    return connected(socket.AF_UNIX, prey.socket_path)


@attack
def send_from_pair(prey: Prey) -> "str | None":
    near, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.sendto(b"", prey.socket_path + ".datagram")
    return "a pair of sockets sent to a third one"


for path in ("/run/systemd/notify", "/run/docker.sock", "/run/dbus/system_bus_socket", "/dev/log"):

    def connect_to_service(_: Prey, path: str = path) -> "str | None":
        return connected(socket.AF_UNIX, path)

    add(f"connect_{path}", connect_to_service)


@attack
def see_interfaces(_: Prey) -> "str | None":
    names = {name for _, name in socket.if_nameindex()} - {"lo"}
    return f"it has {names}" if names else None


@attack
def see_resolvers(_: Prey) -> "str | None":
    return opened("/etc/resolv.conf", os.O_RDONLY)


@attack
def resolve_name(_: Prey) -> "str | None":
    with contextlib.suppress(OSError):
        return f"it resolved {socket.getaddrinfo('example.com', 80)}"
    return None
