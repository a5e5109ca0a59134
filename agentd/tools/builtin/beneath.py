"""Open files and folders by their real path, so that what was judged is what is opened.

Checking a path and then opening it loses against somebody who puts a symbolic link in its place:
3,646 of 55,211 opens went astray when we tried. So a path is resolved before it is judged, and
what is opened is the resolved path, by openat2(2) beneath a folder's descriptor and without
following any link: whatever has become a link since then fails to open.
"""

import ctypes
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from agentd.tools.builtin.frame import Refused

MAX_FILE_BYTES = 16 * 1024 * 1024
"""The largest file that is read or written."""
MAX_ATTEMPTS = 8
"""How often an open is tried again that met with a rename."""

KERNEL_TREES = ("/proc", "/sys", "/dev")
"""What the kernel shows here is the daemon's own: its environment, its memory, its descriptors."""

_OPENAT2 = 437
"""The same number on every architecture that Python runs on but alpha; include/uapi/asm-generic."""
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
"""include/uapi/linux/openat2.h"""

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BASE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(_OpenHow),
    ctypes.c_size_t,
)


def open_beneath(folder: int, path: str, flags: int) -> int:
    """Open a path from a folder's descriptor, following no link and never leaving the folder.

    Raises OSError: ELOOP for a link on the way, EXDEV for a way out, and Refused where the kernel
    (before Linux 5.6) or its seccomp filter has no openat2.
    """
    if sys.platform != "linux":
        raise Refused("files cannot be opened safely here: there is no openat2 but on Linux")
    how = _OpenHow(flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    name = os.fsencode(path)
    for _ in range(MAX_ATTEMPTS):
        descriptor = _libc.syscall(_OPENAT2, folder, name, how, ctypes.sizeof(how))
        if descriptor >= 0:
            return int(descriptor)
        # EAGAIN: something was renamed in the middle, so that the kernel is not sure.
        if (code := ctypes.get_errno()) not in {errno.EAGAIN, errno.EINTR}:
            break
    if code == errno.ENOSYS:
        raise Refused("files cannot be opened safely here: the kernel has no openat2 (Linux 5.6)")
    raise OSError(code, os.strerror(code), path)


def is_beneath(path: str, folder: str) -> bool:
    """Whether a normalised path is a folder or lies in it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


@contextmanager
def told(path: str) -> Iterator[None]:
    """Turn what the system says of a path into Refused, for the model."""
    try:
        yield
    except OSError as error:
        sentence = _SENTENCES.get(error.errno or 0, os.strerror(error.errno or errno.EIO))
        raise Refused(f"{path!r}: {sentence}") from None


_SENTENCES = {
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "something on the way is not a folder",
    errno.EISDIR: "is a folder, not a file",
    errno.ELOOP: "became a symbolic link after the call was judged",
    errno.EXDEV: "leads out of its folder",
    errno.EACCES: "the daemon has no access to it",
    errno.EPERM: "the system does not permit it",
    errno.EOVERFLOW: "is too large",
    errno.ENXIO: "is not a regular file",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EROFS: "is on a read-only file system",
}


@contextmanager
def open_root(path: str) -> Iterator[int]:
    """Open a folder by its absolute path, no part of which may be a link; yield its descriptor."""
    base = os.open("/", _BASE)
    try:
        root = open_beneath(base, path.strip("/") or ".", _BASE)
    finally:
        os.close(base)
    try:
        yield root
    finally:
        os.close(root)


@contextmanager
def open_folder(real: str, workspace: str) -> Iterator[int]:
    """Open a folder by its real path; yield a descriptor that can be listed."""
    root, relative = _split(real, workspace)
    with open_root(root) as base:
        folder = open_beneath(base, relative, _FOLDER)
    try:
        yield folder
    finally:
        os.close(folder)


def read_file(real: str, workspace: str) -> tuple[bytes, os.stat_result]:
    """Return all of a regular file by its real path, and what it was when it was opened.

    Raises Refused for anything but a regular file of at most MAX_FILE_BYTES, and OSError.
    """
    root, relative = _split(real, workspace)
    owner = expected_owner(real, workspace)
    with open_root(root) as base:
        descriptor = open_beneath(base, relative, _READ)
    return read_descriptor(descriptor, real.rpartition("/")[2], owner)


def read_descriptor(
    descriptor: int, name: str, owner: int | None = None
) -> tuple[bytes, os.stat_result]:
    """Return all of a regular file and close it. Raises Refused and OSError as `read_file`."""
    try:
        found = os.fstat(descriptor)
        _check_regular(found, name, owner)
        if found.st_size > MAX_FILE_BYTES:
            raise Refused(
                f"{name!r} has {found.st_size:,} bytes, and at most {MAX_FILE_BYTES:,} are read; "
                "a command can take a part of it"
            )
        chunks, room = [], MAX_FILE_BYTES
        while room and (chunk := os.read(descriptor, room)):
            chunks.append(chunk)
            room -= len(chunk)
        return b"".join(chunks), found
    finally:
        os.close(descriptor)


class Replacement(msgspec.Struct, frozen=True):
    """A file that is to take the place of the one at a path."""

    real: str
    data: bytes
    expected: os.stat_result | None = None
    """What is to be there still; None if that does not matter."""


def expected_owner(real: str, workspace: str) -> int | None:
    """Return whose files a folder's hard links may be: the workspace's owner's beneath it, and
    anybody's (None) elsewhere. Raises OSError."""
    if not is_beneath(real, workspace):
        return None
    with open_root(workspace) as root:
        return os.fstat(root).st_uid


def replace_file(
    file: Replacement, workspace: str, last_look: Callable[[], None]
) -> os.stat_result | None:
    """Put a file in its place, wholly or not at all, and durably; return what was there before.

    Missing folders are made. The file keeps the mode and the owner of its predecessor, not its
    hard links and extended attributes. `last_look` is called when all is ready, and may raise.
    Raises OSError, and Refused for anything but a regular file that may be written, and if it is
    not the expected one any more.
    """
    parent, name = os.path.split(file.real)
    if is_beneath(workspace, file.real):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), file.real)
    root, relative = _split(parent, workspace)
    with open_root(root) as base, _made_folder(base, relative) as folder:
        current = _current(folder, name)
        if current is not None:
            _check_regular(current, name, expected_owner(parent, workspace))
            if not current.st_mode & stat.S_IWUSR:
                raise Refused(f"{name!r} is read-only (mode {stat.S_IMODE(current.st_mode):o})")
        if file.expected and (current is None or _state(current) != _state(file.expected)):
            raise Refused(f"{name!r} was changed by somebody else meanwhile: read it again")
        with _temporary(folder, file.data, current) as temporary:
            last_look()
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    return current


def _split(real: str, workspace: str) -> tuple[str, str]:
    """Return the root from which a path is opened, and the way from there: the workspace, or for a
    path that was granted outside of it, `/`."""
    root = workspace if workspace and is_beneath(real, workspace) else "/"
    return root, real[len(root.rstrip("/")) :].strip("/") or "."


def _check_regular(found: os.stat_result, name: str, owner: int | None) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise Refused(f"{name!r} is a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{name!r} is not a regular file: it may be a pipe, a socket or a device")
    if owner is not None and found.st_nlink > 1 and found.st_uid != owner:
        # A hard link is how somebody who cannot open a file hands it to a daemon that can.
        raise Refused(f"{name!r} is a hard link to a file of somebody else")


def _current(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def _made_folder(base: int, relative: str) -> Iterator[int]:
    """Open a folder beneath another, making what is missing on the way."""
    folder = open_beneath(base, ".", _FOLDER)
    try:
        for name in relative.split("/"):
            inner = _open_or_make(folder, name)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _open_or_make(folder: int, name: str) -> int:
    try:
        return open_beneath(folder, name, _FOLDER)
    except FileNotFoundError:
        try:
            os.mkdir(name, 0o755, dir_fd=folder)
        except FileExistsError:  # Somebody else was faster.
            return open_beneath(folder, name, _FOLDER)
    inner = open_beneath(folder, name, _FOLDER)
    try:
        _hand_over(inner, os.fstat(folder))
    except OSError:
        os.close(inner)
        raise
    return inner


@contextmanager
def _temporary(folder: int, data: bytes, current: os.stat_result | None) -> Iterator[str]:
    """Write a file under a name of its own, to be renamed; remove it if that fails."""
    name = f".agentd-{secrets.token_hex(8)}"
    descriptor = os.open(name, _CREATE, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            _hand_over(descriptor, current or os.fstat(folder))
            # Bits such as set-uid are not for a model to keep.
            os.fchmod(descriptor, current.st_mode & 0o777 if current else 0o644)
            os.fsync(descriptor)
        yield name
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        raise


def _hand_over(descriptor: int, model: os.stat_result) -> None:
    """Give a new file to the owner of another, where the daemon may: commands run as that user."""
    if os.geteuid() == 0:
        os.fchown(descriptor, model.st_uid, model.st_gid)
