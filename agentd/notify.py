"""Tell systemd how the daemon is: the sd_notify protocol, a datagram of `NAME=value` lines."""

import asyncio
import socket
import time

from agentd.log import get_logger

log = get_logger()


class Notifier:
    """Speaks to the service manager; says nothing when there is none.

    `address` is what NOTIFY_SOCKET holds: a path, or `@name` in the abstract namespace, or empty.
    `watchdog_s` is how soon the manager gives up a silent daemon; 0 means never.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = watchdog_s
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def close(self) -> None:
        """Release the socket; later messages go nowhere."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ready(self, status: str = "") -> None:
        """Say that requests are served, at the start and after a reload."""
        self._send("READY=1", *_status(status))

    def status(self, text: str) -> None:
        """Say what the daemon does, in one line for people."""
        self._send(*_status(text))

    def reloading(self) -> None:
        """Say that the configuration is read anew; `ready` ends it. The time lets the manager tell
        this reload from an earlier one."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """Say that the daemon goes down."""
        self._send("STOPPING=1", *_status(status))

    async def watch(self) -> None:
        """Show at twice the required rate that the event loop turns, until cancelled."""
        if self._socket is None or not self._watchdog_s:
            return
        while True:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 2)

    def _send(self, *lines: str) -> None:
        if self._socket is None or not lines:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            # The manager may be restarting; what it misses must not end the daemon.
            log.warning("notify_failed", error=str(error))


def _status(text: str) -> tuple[str, ...]:
    """Return the line of a status; a line break would start a message of its own."""
    return (f"STATUS={' '.join(text.split())}",) if text else ()
