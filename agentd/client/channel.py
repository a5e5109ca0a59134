"""Where the daemon is and how it is dialled. Reads no environment: every value is given."""

from pathlib import Path

import grpc
import grpc.aio

from agentd.errors import InvalidRequest, Reason, invalid_field

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_NAMESPACE_KEY = "agentd-namespace"
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # gRPC would wait 1 s, and then up to 2 minutes, before it dials a daemon again that restarted.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Two clients of one process are two connections: closing one must not touch the other.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
]
_KEEPALIVE = [
    # A peer that vanished from a network says nothing; a Unix socket's kernel does.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
]

Metadata = tuple[tuple[str, str], ...]


def parse_address(address: str) -> str:
    """Return the address as gRPC dials it: `unix:/path` or `host:port`.

    Accepts `unix:/path`, `unix:///path`, `/path` and `host:port` (`[::1]:50051` for IPv6). Raises
    InvalidRequest for anything else.
    """
    text = address.strip()
    path = text.removeprefix("unix:") if text.startswith("unix:") else text
    if path.startswith("/"):
        return "unix:/" + path.lstrip("/")
    host, separator, port = text.rpartition(":")
    if separator and host and port.isdecimal() and 0 < int(port) < 65536 and "/" not in host:
        return text
    raise invalid_field("address", f"{address!r} is neither unix:/path nor host:port")


def open_channel(address: str) -> grpc.aio.Channel:
    """Return a channel to a parsed address. Nothing is dialled before the first request."""
    options = _OPTIONS if address.startswith("unix:") else _OPTIONS + _KEEPALIVE
    return grpc.aio.insecure_channel(address, options=options)


def credentials(token_file: Path | None, namespace: str) -> Metadata:
    """Return what every request carries: the namespace, and the token of the file if one is given.

    Raises InvalidRequest (INVALID_CONFIG) when the file cannot be read or is empty.
    """
    metadata: Metadata = ((_NAMESPACE_KEY, namespace),) if namespace else ()
    if token_file is None:
        return metadata
    try:
        token = token_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"the token file {token_file} cannot be read: {error}"
        raise InvalidRequest(Reason.INVALID_CONFIG, message) from error
    if not token:
        raise InvalidRequest(Reason.INVALID_CONFIG, f"the token file {token_file} is empty")
    return (*metadata, ("authorization", f"Bearer {token}"))
