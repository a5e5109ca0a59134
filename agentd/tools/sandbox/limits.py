"""Set the resource limits of a command, before it starts and for good."""

import resource
from pathlib import Path

from agentd.tools.sandbox.profile import Limits

CAP_SYS_RESOURCE = 24


def bounds(limits: Limits) -> dict[str, int]:
    """Return limits by the names that prlimit(1) has for them, none above what holds already."""
    wanted = {
        "as": (resource.RLIMIT_AS, limits.memory_bytes),
        "fsize": (resource.RLIMIT_FSIZE, limits.file_bytes),
        "nofile": (resource.RLIMIT_NOFILE, limits.open_files),
        "nproc": (resource.RLIMIT_NPROC, limits.processes),
        "core": (resource.RLIMIT_CORE, 0),
    }
    return {name: _clamped(kind, bound) for name, (kind, bound) in wanted.items()}


def set_limits(pid: int, limits: Limits) -> None:
    """Limit another process, and all that it will start. Raises OSError.

    The process must already be in its own user namespace: processes are counted for each user of
    each, and the daemon's own would count otherwise.
    """
    for name, bound in bounds(limits).items():
        resource.prlimit(pid, getattr(resource, f"RLIMIT_{name.upper()}"), (bound, bound))


def limit_words(limits: Limits) -> tuple[str, ...]:
    """Return the words before a command that limit it; they cost the start of one more program."""
    options = (f"--{name}={bound}" for name, bound in bounds(limits).items())
    return ("/usr/bin/prlimit", *options, "--")


def may_limit_others() -> bool:
    """Say whether this process may limit processes of another user."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1)
    return False


def _clamped(kind: int, bound: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return bound if hard == resource.RLIM_INFINITY else min(bound, hard)
