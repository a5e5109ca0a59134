"""Choose whom commands run as, and become that before anything else: never uid 0."""

import os
import pwd
import shutil
import tempfile

import msgspec

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
"""Where helpers are looked for; the daemon's own PATH may lead anywhere."""
ACCOUNT = "agentd-tools"
"""The account that commands of a daemon started by root run as, if the system has it."""
NOBODY = 65534


class Owner(msgspec.Struct, frozen=True):
    """Whom a command runs as outside its sandbox; a workspace must be writable by it."""

    uid: int
    gid: int


def choose_owner() -> Owner | None:
    """Return whom a daemon started by root runs commands as; None keeps an unprivileged one's."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        return Owner(NOBODY, NOBODY)
    return Owner(entry.pw_uid, entry.pw_gid)


def temporary_folder(owner: Owner | None) -> str:
    """Return where to put what another user has to reach: TMPDIR may be the daemon's alone."""
    return tempfile.gettempdir() if owner is None else "/tmp"  # noqa: S108


def find_program(name: str) -> str | None:
    """Return the absolute path of a system program."""
    return shutil.which(name, path=SYSTEM_PATH)


def drop_prefix(owner: Owner | None) -> tuple[str, ...]:
    """Return the words before a command that give all privileges up for good.

    From real root, bubblewrap lets a command write kernel settings, whatever its options say: so it
    must not be root that starts it. An unprivileged daemon has nothing to give up; bubblewrap and
    the Landlock helper set no_new_privs themselves. Raises FileNotFoundError without setpriv(1).
    """
    if owner is None:
        return ()
    if owner.uid == 0 or owner.gid == 0:
        raise PermissionError("commands never run as root")
    setpriv = find_program("setpriv")
    if setpriv is None:
        raise FileNotFoundError("setpriv (of util-linux) is not installed")
    return (
        setpriv,
        f"--reuid={owner.uid}",
        f"--regid={owner.gid}",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
        "--no-new-privs",
        "--",
    )
