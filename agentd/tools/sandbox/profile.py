"""What a command may reach, what it may use up, and how it ended. Pure data."""

import posixpath
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

import msgspec

from agentd.errors import invalid_field

MIB = 1024 * 1024
KERNEL_TREES = ("/proc", "/sys", "/dev")
"""Never granted: what is written there reaches the kernel and not a file."""
NO_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})


class Tier(Enum):
    """How commands are confined, the weakest first."""

    NONE = 1
    """Not at all: no command is run."""
    LANDLOCK = 2
    """Files, sockets and system calls are guarded; names of files and other processes are seen."""
    BUBBLEWRAP = 3
    """The command has files, processes, network and users of its own."""


class Limits(msgspec.Struct, frozen=True):
    """What a command may use up."""

    soft_timeout_s: float = 60.0
    """After this every process gets SIGTERM."""
    hard_timeout_s: float = 65.0
    """After this every process is killed."""
    memory_bytes: int = 1024 * MIB
    """Of address space for one process; of the whole command where cgroups are delegated."""
    processes: int = 64
    """Processes and threads at once, those of the sandbox included."""
    file_bytes: int = 256 * MIB
    """The size of one file, and of everything in the command's own temporary folder."""
    open_files: int = 256
    output_bytes: int = 256 * 1024
    """Kept of standard output, and of standard error: half from the head, half from the tail."""


class Profile(msgspec.Struct, frozen=True):
    """What was granted to a command, and nothing else."""

    workspace: str
    """An absolute path; writable, and the working directory."""
    readable: tuple[str, ...] = ()
    """Absolute paths that may be read beside the system's own programs."""
    writable: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    """`host:port` patterns that may be connected to through the proxy; empty for no network."""
    environment: Mapping[str, str] = NO_ENVIRONMENT
    limits: Limits = Limits()
    terminal: bool = False
    """Standard input, output and error are a terminal, and output and error are one."""


class Command(msgspec.Struct, frozen=True):
    """A program, its arguments, and what it reads."""

    argv: tuple[str, ...]
    stdin: bytes = b""


class Finished(msgspec.Struct, frozen=True):
    """How a command ended, and what it wrote, made harmless to show."""

    exit_code: int
    """128 + the signal when one ended it, as shells say it."""
    signal: int
    """0 when none ended it."""
    stdout: str
    stderr: str
    omitted_bytes: int
    """Left out between head and tail of both."""
    timed_out: bool
    duration_ms: int
    tier: str
    """`bubblewrap` or `landlock`."""


def check_profile(profile: Profile) -> None:
    """Refuse paths, names and limits that no sandbox can be made of.

    Raises InvalidRequest (INVALID_FIELD).
    """
    check_path(profile.workspace, "workspace")
    for index, path in enumerate(profile.readable):
        check_path(path, f"readable[{index}]")
    for index, path in enumerate(profile.writable):
        check_path(path, f"writable[{index}]")
    for name, value in profile.environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise invalid_field("environment", f"{name!r} cannot be a variable")
    limits = profile.limits
    if not 0 < limits.soft_timeout_s <= limits.hard_timeout_s:
        raise invalid_field("limits.soft_timeout_s", "is not between 0 and hard_timeout_s")
    for field in ("memory_bytes", "processes", "file_bytes", "open_files", "output_bytes"):
        if getattr(limits, field) < 1:
            raise invalid_field(f"limits.{field}", "is not positive")


def check_command(command: Command) -> None:
    """Refuse a command that no kernel would start. Raises InvalidRequest (INVALID_FIELD)."""
    if not command.argv or not command.argv[0]:
        raise invalid_field("argv", "names no program")
    if any("\0" in argument for argument in command.argv):
        raise invalid_field("argv", "has a NUL")


def check_path(path: str, field: str) -> None:
    """Refuse what is not the plain absolute path of something that may be granted."""
    if not path.startswith("/") or "\0" in path or posixpath.normpath(path) != path:
        raise invalid_field(field, f"{path!r} is not a plain absolute path")
    if path == "/" or any(path == tree or path.startswith(f"{tree}/") for tree in KERNEL_TREES):
        raise invalid_field(field, f"{path!r} cannot be granted")


def split_pattern(pattern: str) -> tuple[str, str]:
    """Split `host:port`, `[v6]:port` or a bare host into host and port pattern."""
    host, colon, port = pattern.lower().rpartition(":")
    if not colon or port.endswith("]") or (":" in host and not host.endswith("]")):
        host, port = pattern.lower(), "*"
    return host.removeprefix("[").removesuffix("]"), port
