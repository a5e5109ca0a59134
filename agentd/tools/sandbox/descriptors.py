"""Open what a sandbox inherits: granted paths, and small files in memory."""

import errno
import os
import stat
from typing import Self

from agentd.errors import InvalidRequest, invalid_field
from agentd.tools.sandbox.profile import Profile

MAX_LINKS = 40
"""As the kernel allows on one path."""


def open_memory(data: bytes) -> int:
    """Return a file that exists only in memory, at its beginning."""
    fd = os.memfd_create("agentd", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def open_path(path: str) -> int:
    """Open a file or folder to be bound, following no link but root's.

    An earlier command may have put a link where a granted folder was; root's links are how the
    system is laid out. Raises OSError.
    """
    parts = path.split("/")[::-1]
    here = os.open("/", os.O_PATH | os.O_CLOEXEC)
    links = 0
    try:
        while parts:
            part = parts.pop()
            if part in {"", "."}:
                continue
            below = os.open(part, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=here)
            status = os.fstat(below)
            if not stat.S_ISLNK(status.st_mode):
                os.close(here)
                here = below
                continue
            target = os.readlink(b"", dir_fd=below).decode()
            os.close(below)
            links += 1
            _check_link(part, status, links)
            parts += target.split("/")[::-1]
            if target.startswith("/"):
                os.close(here)
                here = os.open("/", os.O_PATH | os.O_CLOEXEC)
    except BaseException:
        os.close(here)
        raise
    return here


def _check_link(name: str, status: os.stat_result, count: int) -> None:
    if status.st_uid != 0 or count > MAX_LINKS:
        raise OSError(errno.ELOOP, f"{name!r} is a symbolic link")


class Opened:
    """The files that one command inherits. Leave it as soon as the command has been started."""

    def __init__(self) -> None:
        self.fds: list[int] = []
        self.ours: list[int] = []
        """Ends of pipes that stay here; closed too, unless `claim` takes them."""
        self.readable: dict[str, int] = {}
        self.writable: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fds in (self.fds, self.ours):
            while fds:
                os.close(fds.pop())

    def grant(self, profile: Profile) -> None:
        """Open every path of a profile. Raises InvalidRequest (INVALID_FIELD)."""
        for index, path in enumerate(profile.readable):
            self.readable[path] = self._open(path, f"readable[{index}]")
        for index, path in enumerate(profile.writable):
            self.writable[path] = self._open(path, f"writable[{index}]")
        self.writable[profile.workspace] = self._open(profile.workspace, "workspace")
        for path in self.readable.keys() & self.writable.keys():
            del self.readable[path]

    def keep(self, fd: int) -> int:
        """Have one more file inherited, and closed here."""
        self.fds.append(fd)
        return fd

    def status(self) -> tuple[int, int]:
        """Return our end of a pipe to read from, and the inherited one."""
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        self.ours.append(ours)
        return ours, self.keep(theirs)

    def gate(self) -> tuple[int, int]:
        """Return our end of a pipe to write to, and the inherited one.

        That one can be written to as well, so that it has no end when we die: bubblewrap would take
        the end for a permission, and start a command that nobody would ever end.
        """
        source, ours = os.pipe()
        self.ours.append(ours)
        try:
            theirs = os.open(f"/proc/self/fd/{source}", os.O_RDWR | os.O_CLOEXEC)
        finally:
            os.close(source)
        return ours, self.keep(theirs)

    def claim(self, fd: int) -> int:
        """Take one of our ends away from here."""
        self.ours.remove(fd)
        return fd

    def _open(self, path: str, field: str) -> int:
        try:
            return self.keep(open_path(path))
        except (OSError, UnicodeError) as error:
            raise _refusal(field, path, error) from error


def _refusal(field: str, path: str, error: Exception) -> InvalidRequest:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return invalid_field(field, f"{path}: {text}")
