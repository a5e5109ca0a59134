"""What systemd tells the process by its environment, which no key sets."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Supervisor:
    """What systemd says."""

    notify_socket: str = ""
    """Where to say that the daemon is ready. Empty means that nobody listens."""
    watchdog_s: float = 0.0
    """How soon a silent daemon is given up. 0 means never."""
    socket_count: int = 0
    """How many listening sockets were passed, from file descriptor 3 on."""
    credentials: str = ""
    """The folder of the unit's credentials. Empty means that it has none."""


def read_supervisor(environ: Mapping[str, str]) -> Supervisor:
    """Return what is meant for this process, and not for one that it descends from."""
    own = str(os.getpid())
    watched = environ.get("WATCHDOG_PID", own) == own
    return Supervisor(
        notify_socket=environ.get("NOTIFY_SOCKET", ""),
        watchdog_s=int(environ.get("WATCHDOG_USEC", "0")) / 1e6 if watched else 0.0,
        credentials=environ.get("CREDENTIALS_DIRECTORY", ""),
        socket_count=int(environ.get("LISTEN_FDS", "0")) if environ.get("LISTEN_PID") == own else 0,
    )
