"""The folder of each run: made by the daemon, or named by a client."""

import os
from contextlib import suppress
from pathlib import Path

from agentd.agent.ids import Namespace, RunId
from agentd.errors import InvalidRequest, invalid_field
from agentd.tools.builtin.beneath import KERNEL_TREES, is_beneath, open_beneath, open_root
from agentd.tools.builtin.frame import Refused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def make_workspace(root: str, namespace: Namespace, run: RunId, owner: int | None = None) -> str:
    """Make a run's own folder, or find it where it was made before; return its absolute path.

    It is `root/namespace/run`, with mode 0700, and belongs to the user with the id `owner`: the one
    that commands run as, where that is not the daemon's own. The folders above it can be passed
    through by everybody, but not listed. Raises OSError.
    """
    real = os.path.realpath(root)
    Path(real).mkdir(mode=0o711, parents=True, exist_ok=True)
    with open_root(real) as base:
        shelf = _open_or_make(base, namespace, 0o711)
        try:
            folder = _open_or_make(shelf, run, 0o700)
        finally:
            os.close(shelf)
    try:
        if owner is not None and os.fstat(folder).st_uid != owner:
            os.fchown(folder, owner, -1)
    finally:
        os.close(folder)
    return f"{real.rstrip('/')}/{namespace}/{run}"


def check_workspace(path: str, field: str) -> str:
    """Return the path of an existing folder that a client wants a run to work in.

    Raises InvalidRequest (INVALID_FIELD) naming the field unless it is the absolute, normalised
    path of a folder, no part of it is a symbolic link, and it is neither `/` nor of the kernel.
    Who may name which folder is for permissions to say. Each call opens the folder anew in the same
    way, so one that becomes a link later is refused then.
    """
    if not path.startswith("/") or path != os.path.normpath(path) or "\0" in path:
        raise invalid_field(field, "must be an absolute path without '.', '..' and '//'")
    if path.startswith("//") or path == "/" or any(is_beneath(path, top) for top in KERNEL_TREES):
        raise invalid_field(field, f"{path!r} cannot be the folder of a run")
    if "*" in path:
        raise invalid_field(field, "must not have '*' in it: permissions would mean other folders")
    try:
        with open_root(path) as folder:
            os.fstat(folder)
    except (OSError, Refused) as error:
        raise _unusable(path, field, error) from None
    return path


def _unusable(path: str, field: str, error: OSError | Refused) -> InvalidRequest:
    real = os.path.realpath(path)
    if real != path:
        return invalid_field(field, f"goes through a symbolic link: it leads to {real!r}")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return invalid_field(field, f"{path!r} cannot be opened as a folder: {reason}")


def _open_or_make(folder: int, name: str, mode: int) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=folder)
        # The daemon's umask may have taken bits away.
        os.chmod(name, mode, dir_fd=folder, follow_symlinks=True)
    return open_beneath(folder, name, _FOLDER)
