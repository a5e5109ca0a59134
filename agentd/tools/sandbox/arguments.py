"""Build the argument vector of bubblewrap. The vector is the policy: it is made here alone."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from agentd.tools.sandbox.limits import limit_words
from agentd.tools.sandbox.profile import MIB, Command, Limits, Profile, split_pattern

ACCOUNT_FILES: Mapping[str, bytes] = {
    "/etc/group": b"tool:x:65534:\n",
    "/etc/hosts": b"127.0.0.1 localhost\n::1 localhost\n",
    "/etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files\n",
    "/etc/passwd": b"tool:x:65534:65534::/tmp:/bin/sh\n",
}
"""What takes the place of the system's own: who else is there is nobody's business."""
PROXY_PATH = "/run/agentd/proxy"
BRIDGE_PATH = "/run/agentd/bridge.py"
BRIDGE = ("/usr/bin/python3", "-I", "-S", BRIDGE_PATH)
PROXY_URL = "http://127.0.0.1:3128"
"""Where the bridge listens, in a network namespace that has nothing else."""

SCRATCH_BYTES = 256 * MIB
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The sandbox's own, which no proxy leads to; the host's only when that was granted by name."""
_NOBODY = "65534"
_ROOT_FOLDERS = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")
_SETTINGS = ("/etc/alternatives", "/etc/ld.so.cache")
"""What programs need to find each other and their libraries. Every mount costs time."""
_CERTIFICATES = ("/etc/ca-certificates", "/etc/pki", "/etc/ssl")


class System(msgspec.Struct, frozen=True):
    """What commands see of the system, always read-only."""

    folders: tuple[str, ...] = ("/usr",)
    """Bound at their own paths."""
    links: tuple[tuple[str, str], ...] = ()
    """(path, target)."""
    certificates: tuple[str, ...] = ()
    """Bound for commands that have a network."""


class Descriptors(msgspec.Struct, frozen=True):
    """Numbers of the open files that bubblewrap inherits; it closes them before the command."""

    status: int
    seccomp: int
    gate: int
    files: Mapping[str, int]
    """What to copy to each path."""
    readable: Mapping[str, int]
    writable: Mapping[str, int]
    """What to bind at each path. It was opened without following a link, and cannot be exchanged
    for another between that check and its use."""
    proxy: int | None = None
    limited: bool = False
    """Whether the command will be limited from outside, while it waits at the gate."""


class Vector(msgspec.Struct, frozen=True):
    """Bubblewrap's options, for its `--args`, and the program that it runs."""

    options: tuple[str, ...]
    program: tuple[str, ...]


def find_system(root: Path = Path("/")) -> System:
    """Look at how the host is laid out: with merged /usr its other folders are links."""
    folders, links = ["/usr"], []
    for path in _ROOT_FOLDERS:
        here = root / path[1:]
        if here.is_symlink():
            links.append((path, str(here.readlink())))
        elif here.is_dir():
            folders.append(path)
    folders += [path for path in _SETTINGS if (root / path[1:]).exists()]
    certificates = [path for path in _CERTIFICATES if (root / path[1:]).exists()]
    return System(tuple(folders), tuple(links), tuple(certificates))


def build_arguments(
    profile: Profile, command: Command, system: System, descriptors: Descriptors
) -> Vector:
    """Return the words that confine a command to its profile.

    The order matters: what comes later lies on top. Limits that are not set from outside are set
    by the last program before the command, within its user namespace.
    """
    return Vector(
        options=(
            *_isolation(descriptors),
            *_system(system, networked=descriptors.proxy is not None),
            *_own_folders(profile.limits, descriptors),
            *_granted(descriptors),
            *("--remount-ro", "/dev", "--remount-ro", "/"),
            *("--chdir", profile.workspace, "--clearenv"),
            *_environment(profile, proxied=descriptors.proxy is not None),
        ),
        program=(
            *(() if descriptors.limited else limit_words(profile.limits)),
            *(BRIDGE if descriptors.proxy is not None else ()),
            *command.argv,
        ),
    )


def environment_of(profile: Profile) -> dict[str, str]:
    """Return the variables of a command: a few of ours, then the profile's."""
    return {
        "HOME": profile.workspace,
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        **({"TERM": "xterm"} if profile.terminal else {}),
        **profile.environment,
    }


def _isolation(descriptors: Descriptors) -> Iterator[str]:
    """Leave every namespace of the host, and all privileges."""
    yield from (
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
        *("--unshare-cgroup-try", "--hostname", "sandbox", "--uid", _NOBODY, "--gid", _NOBODY),
        *("--disable-userns", "--assert-userns-disabled", "--cap-drop", "ALL"),
        *("--new-session", "--die-with-parent"),
        *("--seccomp", str(descriptors.seccomp), "--json-status-fd", str(descriptors.status)),
        *("--block-fd", str(descriptors.gate)),
    )


def _system(system: System, *, networked: bool) -> Iterator[str]:
    for path in (*system.folders, *(system.certificates if networked else ())):
        yield from ("--ro-bind", path, path)
    for path, target in system.links:
        yield from ("--symlink", target, path)
    yield from ("--proc", "/proc", "--dev", "/dev")


def _own_folders(limits: Limits, descriptors: Descriptors) -> Iterator[str]:
    """Give temporary folders of their own, in memory and therefore bounded, and our own files."""
    size = str(min(limits.file_bytes, SCRATCH_BYTES))
    for path in ("/tmp", "/dev/shm"):  # noqa: S108 - not the host's
        yield from ("--perms", "1777", "--size", size, "--tmpfs", path)
    for path, fd in sorted(descriptors.files.items()):
        yield from ("--perms", "0444", "--file", str(fd), path)


def _granted(descriptors: Descriptors) -> Iterator[str]:
    """Bind what was granted: shorter paths first, so that none hides another."""
    binds = [(path, "--ro-bind-fd", fd) for path, fd in descriptors.readable.items()]
    binds += [(path, "--bind-fd", fd) for path, fd in descriptors.writable.items()]
    for path, option, fd in sorted(binds):
        yield from (option, str(fd), path)
    if descriptors.proxy is not None:
        yield from ("--bind-fd", str(descriptors.proxy), PROXY_PATH)


def _environment(profile: Profile, *, proxied: bool) -> Iterator[str]:
    """Set the command's variables. They travel with the options and not as bubblewrap's own, which
    would let LD_PRELOAD run outside of the sandbox."""
    variables = environment_of(profile)
    if proxied:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            variables[name] = variables[name.lower()] = PROXY_URL
        granted = {split_pattern(pattern)[0] for pattern in profile.network}
        own = ",".join(host for host in _LOOPBACK if host not in granted)
        variables["NO_PROXY"] = variables["no_proxy"] = own
    for name, value in sorted(variables.items()):
        yield from ("--setenv", name, value)
