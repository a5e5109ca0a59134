"""Read what the machine and its processes say of themselves: CPU, memory, versions."""

import os
import platform
import sqlite3
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PROC = Path("/proc")
_IDLE_COLUMNS = (3, 4)
"""idle and iowait, proc(5); steal stays in: then the host was busy with others."""
_GUEST_COLUMN = 8
"""guest and what follows is counted in user and nice already, proc(5)."""
_SHORTEST_TICKS = 10
"""Below this a tick more or less says nothing."""


def _machine_ticks() -> tuple[int, int]:
    """Return the ticks that were not idle, and all ticks, of all processors since boot."""
    with (_PROC / "stat").open() as stat:
        columns = [int(column) for column in stat.readline().split()[1:]]
    counted = columns[:_GUEST_COLUMN]
    idle = sum(counted[column] for column in _IDLE_COLUMNS)
    return sum(counted) - idle, sum(counted)


def _process_ticks() -> int:
    """Return the ticks of this process, of its descendants, and of those that were waited for.

    The fields are those of proc(5): parent 4, then utime, stime, cutime, cstime 14 to 17.
    """
    used: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        used[int(entry.name)] = sum(int(ticks) for ticks in fields[11:15])
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    total, waiting = 0, [os.getpid()]
    while waiting:
        process = waiting.pop()
        total += used.get(process, 0)
        waiting.extend(children.get(process, ()))
    return total


@dataclass(frozen=True, slots=True)
class CpuWindow:
    """A stretch of time, with what the processors did when it began."""

    busy: int
    all: int
    own: int

    @classmethod
    def open(cls) -> "CpuWindow":
        """Begin a window now."""
        busy, everything = _machine_ticks()
        return cls(busy, everything, _process_ticks())

    def foreign_share(self) -> float:
        """Return the share of the machine, 0 to 1, that neither idled nor worked for us."""
        busy, everything = _machine_ticks()
        own = _process_ticks() - self.own
        passed = everything - self.all
        if passed < _SHORTEST_TICKS:
            return 0.0
        return max(0.0, (busy - self.busy - own) / passed)


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process (VmRSS, proc(5))."""
    for line in (_PROC / str(process) / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(process)


def versions() -> dict[str, str]:
    """Return the versions that a figure depends on."""
    found = {
        "cpython": platform.python_version(),
        "kernel": platform.release(),
        "processors": str(os.cpu_count()),
        "sqlite (stdlib)": sqlite3.sqlite_version,
    }
    for package in ("grpcio", "protobuf", "uvloop", "apsw"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
