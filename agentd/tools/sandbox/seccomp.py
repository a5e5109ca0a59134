"""Assemble the filter of system calls that every sandboxed program runs under.

Classic BPF as in linux/filter.h, over `struct seccomp_data` of linux/seccomp.h: the number of the
call at 0, the architecture at 4, six 64-bit arguments from 16 on. Own assembler, so that nothing
needs to be installed; numbers are those of the kernel's tables (arch/x86/entry/syscalls and
include/uapi/asm-generic/unistd.h).
"""

import errno
import os
import struct
from collections.abc import Sequence

from agentd.errors import Reason, Unsupported

_LOAD, _JEQ, _JGE, _JSET, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_KILL_PROCESS, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_X32 = 0x40000000
"""Set in the numbers of x86's third calling convention, which has its own holes."""

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SOCKET_FAMILIES = (1, 2, 10)
"""UNIX, INET, INET6. A network namespace does not hold VSOCK or NETLINK back."""
_SOCKET_TYPE, _DATAGRAM = 0xF, 2
NEW_NAMESPACES = 0x7E020080
"""CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
TERMINAL_REQUESTS = (0x5412, 0x541C)
"""TIOCSTI types into the terminal of somebody else; TIOCLINUX pastes into a console."""
OWNER_REQUESTS = (0x8901, 0x8902)
"""FIOSETOWN and SIOCSPGRP: who gets a descriptor's signals."""
OWNER_COMMANDS = (8, 10, 15)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX, likewise."""

# name: (x86_64, aarch64); None where an architecture does not have the call.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_mempolicy": (239, 236),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
    "vmsplice": (278, 75),
}
_UNKNOWN: dict[str, tuple[int | None, int | None]] = {"clone3": (435, 435)}
"""Answered as by a kernel that does not have it: its flags are in memory, where no filter sees
them, and libraries fall back to `clone`."""
_SOCKET, _SOCKETPAIR = (41, 198), (53, 199)
_CLONE, _IOCTL, _FCNTL = (56, 220), (16, 29), (72, 25)

# Below, only for programs that share files, processes and users with the daemon.
_SHARED: dict[str, tuple[int | None, int | None]] = {
    # Landlock guards what is opened, and these open nothing.
    "chmod": (90, None),
    "chown": (92, None),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fchownat": (260, 54),
    "lchown": (94, None),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "removexattr": (197, 14),
    "removexattrat": (466, 466),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
    # Ways to others that are not files.
    "bind": (49, 200),
    "connect": (42, 203),
    "inotify_add_watch": (254, 27),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "pidfd_open": (434, 434),
    "semget": (64, 190),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "shmget": (29, 194),
}
_OTHERS: dict[str, tuple[int | None, int | None]] = {
    # Harmless with 0 (the caller itself) as the first argument.
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
}
_SIGNALLING: dict[str, tuple[int | None, int | None]] = {
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tgkill": (234, 131),
    "tkill": (200, 130),
}
_KILL = (62, 129)


Instruction = tuple[int, int, int, int]
"""Operation, jumps if true and if false, constant."""
Piece = list[Instruction]
"""What decides one call: it ends with an answer on every way."""


def build(architecture: str, *, shared: bool = False, signals: bool = True) -> bytes:
    """Return the filter for `x86_64` or `aarch64`, in the form that bubblewrap and the kernel take:
    the `struct sock_filter` array, little-endian as both architectures are.

    `shared` is for programs that see the daemon's processes: no sockets (pairs excepted), no shared
    memory by key, no settings of other processes. Without `signals` they may not send any, except
    to their own process group: kernels before Landlock ABI 6 cannot tell whom they reach.
    Raises Unsupported (NOT_IMPLEMENTED) for another architecture.
    """
    if architecture not in AUDIT_ARCH:
        raise Unsupported(Reason.NOT_IMPLEMENTED, f"no system call filter for {architecture}")
    index = list(AUDIT_ARCH).index(architecture)
    rules = _rules(index)
    if shared:
        rules |= _rules_of_shared(index, signals=signals)
    program: Piece = [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, AUDIT_ARCH[architecture]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if architecture == "x86_64":
        program += [(_JGE, 0, 1, _X32), *_refusal(errno.ENOSYS)]
    program += _search(sorted(rules.items()))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def architecture() -> str:
    """Name the machine as `build` takes it."""
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(os.uname().machine, os.uname().machine)


def _rules(index: int) -> dict[int, Piece]:
    """Return what every program is refused, by the number of the call."""
    return {
        **dict.fromkeys(_numbers(_UNKNOWN, index), _refusal(errno.ENOSYS)),
        **dict.fromkeys(_numbers(_DENIED, index), _refusal(errno.EPERM)),
        _CLONE[index]: [
            (_LOAD, 0, 0, _ARGUMENTS),
            (_JSET, 0, 1, NEW_NAMESPACES),
            *_refusal(errno.EPERM),
            _ALLOWED,
        ],
        _IOCTL[index]: _unless(1, TERMINAL_REQUESTS),
        _SOCKET[index]: _only(0, SOCKET_FAMILIES, errno.EAFNOSUPPORT),
    }


def _rules_of_shared(index: int, *, signals: bool) -> dict[int, Piece]:
    """Return what programs are refused that share processes and users with the daemon."""
    rules = {
        **dict.fromkeys(_numbers(_SHARED, index), _refusal(errno.EPERM)),
        **dict.fromkeys(_numbers(_OTHERS, index), _only(0, (0,), errno.EPERM)),
        _SOCKET[index]: _refusal(errno.EPERM),
        # Even a connected pair of datagram sockets sends to any path it names.
        _SOCKETPAIR[index]: _unless(1, (_DATAGRAM,), mask=_SOCKET_TYPE),
        _IOCTL[index]: _unless(1, (*TERMINAL_REQUESTS, *OWNER_REQUESTS)),
        _FCNTL[index]: _unless(1, OWNER_COMMANDS),
    }
    if not signals:
        rules |= dict.fromkeys(_numbers(_SIGNALLING, index), _refusal(errno.EPERM))
        rules[_KILL[index]] = _only(0, (0,), errno.EPERM)
    return rules


def _numbers(table: dict[str, tuple[int | None, int | None]], index: int) -> list[int]:
    return [number for row in table.values() if (number := row[index]) is not None]


_ALLOWED: Instruction = (_RETURN, 0, 0, _ALLOW)


def _refusal(error: int) -> Piece:
    return [(_RETURN, 0, 0, _ERRNO | error)]


def _unless(argument: int, values: Sequence[int], *, mask: int = 0xFFFFFFFF) -> Piece:
    """Refuse some values of an argument, of which the kernel reads 32 bits."""
    return [
        (_LOAD, 0, 0, _ARGUMENTS + 8 * argument),
        (_AND, 0, 0, mask),
        *((_JEQ, len(values) - at, 0, value) for at, value in enumerate(values)),
        _ALLOWED,
        *_refusal(errno.EPERM),
    ]


def _only(argument: int, values: Sequence[int], error: int) -> Piece:
    """Refuse all but some values of an argument, of which the kernel reads 32 bits."""
    return [
        (_LOAD, 0, 0, _ARGUMENTS + 8 * argument),
        *((_JEQ, len(values) - at, 0, value) for at, value in enumerate(values)),
        *_refusal(error),
        _ALLOWED,
    ]


def _search(rules: Sequence[tuple[int, Piece]]) -> Piece:
    """Find the rule of the loaded number by halves; calls without one are allowed. The kernel
    tries a filter on every number there is when it is installed, so its depth costs time."""
    if len(rules) == 1:
        number, piece = rules[0]
        return [(_JEQ, 1, 0, number), _ALLOWED, *piece]
    middle = len(rules) // 2
    below = _search(rules[:middle])
    return [(_JGE, len(below), 0, rules[middle][0]), *below, *_search(rules[middle:])]
