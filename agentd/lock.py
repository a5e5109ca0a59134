"""Hold a lock, so that there is one daemon for a socket, and a second one says who holds it."""

import contextlib
import errno
import fcntl
import os
import pwd
import socket
import stat
import struct
from pathlib import Path

from agentd.errors import AlreadyExists, Conflict, Reason, Unavailable


class Lock:
    """A file that one process holds locked, with its process id inside.

    The kernel releases it however the process ends. The file is never removed: two processes could
    otherwise lock two files of the same name.
    """

    def __init__(self, path: Path, subject: str) -> None:
        """Take the lock of a file for a subject, such as `the socket /run/agentd/agentd.sock`.

        Raises AlreadyExists (NAME_TAKEN), naming process and user, when another holds it, and
        Unavailable (UNREACHABLE) when the file cannot be opened.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._file = os.open(path, flags, 0o640)
        except OSError as error:
            raise Unavailable(
                Reason.UNREACHABLE, f"cannot lock {subject}: {error}", metadata={"path": str(path)}
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 64).decode("ascii", "replace").split()
            os.close(self._file)
            raise _taken(subject, holder) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()} {os.getuid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have it."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1


def lock_socket(path: Path, *, adopted: bool = False) -> Lock:
    """Take the lock of a Unix socket, and remove what a dead daemon left there; but not what
    systemd listens on for us, which is adopted.

    Raises as Lock does, AlreadyExists too when some process without a lock listens there, and
    Conflict (INVALID_CONFIG) when the path is of something else than a socket.
    """
    lock = Lock(path.with_name(path.name + ".lock"), f"the socket {path}")
    try:
        if not adopted:
            _remove_stale(path)
    except BaseException:
        lock.release()
        raise
    return lock


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Conflict(
            Reason.INVALID_CONFIG,
            f"{path} is not a socket, and is left alone: set another server.socket",
            metadata={"path": str(path)},
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # A full backlog is EAGAIN, and somebody's too.
        if probe.connect_ex(os.fsencode(path)) in (0, errno.EAGAIN):
            holder: list[str] = []
            with contextlib.suppress(OSError):
                data = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                pid, uid, _ = struct.unpack("iII", data)
                holder = [str(pid), str(uid)]
            raise _taken(f"the socket {path}", holder)
    path.unlink()


def _taken(subject: str, holder: list[str]) -> AlreadyExists:
    pid = holder[0] if holder else "unknown"
    user = _user(holder[1]) if len(holder) > 1 else "unknown"
    return AlreadyExists(
        Reason.NAME_TAKEN,
        f"a daemon already holds {subject}: process {pid}, user {user}",
        metadata={"pid": pid, "user": user},
    )


def _user(uid: str) -> str:
    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (KeyError, ValueError):
        return uid
