"""What every attack has: a place in the list, a process of its own, and what it is after.

An attack returns a sentence when it escaped, and None when it was held. It never does harm where it
succeeds: it opens for writing and writes nothing, and signals with 0. Runs inside the sandbox.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass

TIMEOUT_S = 5
Attack = Callable[["Prey"], "str | None"]
ATTACKS: dict[str, Attack] = {}


@dataclass(frozen=True)
class Prey:
    """What lies outside of the sandbox."""

    canary: str
    """A text in files and environments; whoever can say it has read them."""
    secret_path: str
    open_path: str
    """A file that everybody may write to."""
    open_folder: str
    link_path: str
    """A link in the workspace to the secret."""
    fifo_path: str
    socket_path: str
    abstract_name: str
    tcp_port: int
    udp_port: int
    victim_pid: int
    """A process of the same user."""
    shared_memory_key: int
    shared_memory_path: str
    hostname: str


def attack(function: Attack) -> Attack:
    """Put a function on the list."""
    ATTACKS[function.__name__] = function
    return function


def add(name: str, function: Attack) -> None:
    """Put one of a family on the list."""
    ATTACKS[name] = function


def said(text: "str | bytes", prey: Prey) -> "str | None":
    """An attack that has read something escaped if it can say the canary."""
    data = text.encode() if isinstance(text, str) else text
    return "it read the canary" if prey.canary.encode() in data else None


def opened(path: str, flags: int) -> "str | None":
    """An attack that could open something escaped; nothing is read or written."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
        return f"it opened {path}"
    return None


def syscall(number: int, *arguments: "int | bytes | None") -> tuple[int, int]:
    """Make a system call; return its result and the error number."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *words)
    return int(result), ctypes.get_errno()


def run_all(prey: Prey) -> "dict[str, str | None]":
    """Run every attack in a process of its own, which may die of it."""
    return {name: run_one(function, prey) for name, function in sorted(ATTACKS.items())}


def run_one(function: Attack, prey: Prey) -> "str | None":
    """Run one attack; it was held if the system refused it, or ended it."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(TIMEOUT_S)
        try:
            verdict = function(prey)
        except (OSError, ValueError):
            verdict = None
        except Exception as error:  # noqa: BLE001 - what cannot attack proves nothing
            verdict = f"the attack is broken: {error!r}"
        os.write(sink, json.dumps(verdict).encode())
        os._exit(0)
    os.close(sink)
    ready, _, _ = select.select([source], [], [], TIMEOUT_S + 1)
    data = os.read(source, 4096) if ready else b""
    os.close(source)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return json.loads(data) if data else None
