"""Put each command into a control group of its own, where the system has delegated that."""

import contextlib
import os
import uuid
from pathlib import Path

from agentd.tools.sandbox.profile import Limits

_OWN_LEAF = "daemon"
"""Where this process goes: a group with controllers for its children has no processes itself."""
_CONTROLLERS = ("memory", "pids")


class Cgroup:
    """The group of one command."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, pid: int) -> None:
        """Move a process here, before it has started any other. Raises OSError."""
        _write(self._folder / "cgroup.procs", str(pid))

    def kill(self) -> None:
        """End every process of the group at once."""
        with contextlib.suppress(OSError):
            _write(self._folder / "cgroup.kill", "1")

    def remove(self) -> None:
        """Forget the group, once it is empty."""
        with contextlib.suppress(OSError):
            self._folder.rmdir()


class Cgroups:
    """The part of the tree that was delegated to this daemon."""

    def __init__(self, folder: Path) -> None:
        """Use a folder of a cgroup2 file system. Raises OSError when it cannot be used."""
        self._folder = folder
        self.limited = _enable(folder)
        """Whether memory and processes are limited here, and not only ended together."""
        probe = self.make(Limits())
        probe.remove()

    def make(self, limits: Limits) -> Cgroup:
        """Return a new group with these limits. Raises OSError."""
        folder = self._folder / f"tool-{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            if not (folder / "cgroup.kill").exists():
                raise FileNotFoundError("cgroup.kill needs Linux 5.14")
            if self.limited:
                _write(folder / "memory.max", str(limits.memory_bytes))
                _write(folder / "memory.oom.group", "1")
                _write(folder / "pids.max", str(limits.processes + 2))  # two of the sandbox itself
                with contextlib.suppress(OSError):  # not there without swap accounting
                    _write(folder / "memory.swap.max", "0")
        except OSError:
            folder.rmdir()
            raise
        return Cgroup(folder)


def find_cgroups(process: Path = Path("/proc/self")) -> Cgroups | str:
    """Return what was delegated to this process, or why nothing is."""
    folder = _own_folder(process)
    if folder is None:
        return "this process is in no cgroup2 folder of its own"
    if not _is_delegated(folder):
        return f"{folder} is not delegated (systemd: Delegate=yes)"
    try:
        return Cgroups(folder)
    except OSError as error:
        return f"{folder}: {error}"


def _own_folder(process: Path) -> Path | None:
    """Return this process's folder; None in the root, which is the system's."""
    with contextlib.suppress(OSError):
        for line in (process / "cgroup").read_text().splitlines():
            if line.startswith("0::/") and line != "0::/":
                path = line.removeprefix("0::/").removesuffix(f"/{_OWN_LEAF}")
                return _mount_point(process) / path
    return None


def _mount_point(process: Path) -> Path:
    for line in (process / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    raise FileNotFoundError("cgroup2 is not mounted")


def _is_delegated(folder: Path) -> bool:
    """Root may write everywhere; systemd marks what it has given away."""
    if os.geteuid() != 0:
        return os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _enable(folder: Path) -> bool:
    """Give the children of a folder the controllers, moving this process out of their way."""
    available = (folder / "cgroup.controllers").read_text().split()
    if not set(_CONTROLLERS) <= set(available):
        return False
    leaf = folder / _OWN_LEAF
    leaf.mkdir(exist_ok=True)
    for pid in (folder / "cgroup.procs").read_text().split():
        _write(leaf / "cgroup.procs", pid)
    _write(folder / "cgroup.subtree_control", " ".join(f"+{name}" for name in _CONTROLLERS))
    return True


def _write(path: Path, text: str) -> None:
    """Write to a file of the kernel in one piece, never creating it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
