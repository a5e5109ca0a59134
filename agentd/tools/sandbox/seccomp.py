"""Assemble the filter of system calls that every sandboxed program runs under.

Classic BPF as in linux/filter.h, over `struct seccomp_data` of linux/seccomp.h: the number of the
call at 0, the architecture at 4, six 64-bit arguments from 16 on. Own assembler, so that nothing
needs to be installed; numbers are those of the kernel's tables (arch/x86/entry/syscalls and
include/uapi/asm-generic/unistd.h).
"""

import errno
import os
import struct
from collections.abc import Iterable, Sequence

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


class Program:
    """Classic BPF under construction. A test either jumps over what follows it or falls into it,
    so that every piece can be read by itself."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []

    def load(self, offset: int) -> None:
        """Load 32 bits of `struct seccomp_data`."""
        self._code.append((_LOAD, 0, 0, offset))

    def mask(self, bits: int) -> None:
        """Keep only these bits of what was loaded."""
        self._code.append((_AND, 0, 0, bits))

    def answer(self, action: int) -> None:
        """Leave the filter."""
        self._code.append((_RETURN, 0, 0, action))

    def unless_equal(self, value: int, *, skip: int) -> None:
        """Jump over `skip` instructions unless the loaded value is this one."""
        self._code.append((_JEQ, 0, skip, value))

    def if_equal(self, value: int, *, skip: int) -> None:
        """Jump over `skip` instructions when the loaded value is this one."""
        self._code.append((_JEQ, skip, 0, value))

    def unless_at_least(self, value: int, *, skip: int) -> None:
        """Jump over `skip` instructions unless the loaded value is this one or more."""
        self._code.append((_JGE, 0, skip, value))

    def unless_any(self, bits: int, *, skip: int) -> None:
        """Jump over `skip` instructions unless one of the bits is set."""
        self._code.append((_JSET, 0, skip, bits))

    def assembled(self) -> bytes:
        """Return the `struct sock_filter` array, little-endian as both architectures are."""
        return b"".join(struct.pack("<HBBI", *instruction) for instruction in self._code)


def build(architecture: str, *, shared: bool = False, signals: bool = True) -> bytes:
    """Return the filter for `x86_64` or `aarch64`, in the form that bubblewrap and the kernel take.

    `shared` is for programs that see the daemon's processes: no sockets (pairs excepted), no shared
    memory by key, no settings of other processes. Without `signals` they may not send any, except
    to their own process group: kernels before Landlock ABI 6 cannot tell whom they reach.
    Raises Unsupported (NOT_IMPLEMENTED) for another architecture.
    """
    if architecture not in AUDIT_ARCH:
        raise Unsupported(Reason.NOT_IMPLEMENTED, f"no system call filter for {architecture}")
    index = list(AUDIT_ARCH).index(architecture)
    program = Program()
    program.load(_ARCH)
    program.if_equal(AUDIT_ARCH[architecture], skip=1)
    program.answer(_KILL_PROCESS)
    program.load(_NUMBER)
    if architecture == "x86_64":
        program.unless_at_least(_X32, skip=1)
        program.answer(_ERRNO | errno.ENOSYS)
    _refuse(program, _numbers(_UNKNOWN, index), errno.ENOSYS)
    _refuse(program, _numbers(_DENIED, index), errno.EPERM)
    _refuse_flags(program, _CLONE[index], NEW_NAMESPACES)
    _refuse_values(program, _IOCTL[index], 1, TERMINAL_REQUESTS)
    if shared:
        _refuse(program, _numbers(_SHARED, index), errno.EPERM)
        _refuse(program, [_SOCKET[index]], errno.EPERM)
        _refuse_datagrams(program, _SOCKETPAIR[index])
        for number in _numbers(_OTHERS, index):
            _allow_only(program, number, 0, (0,))
        if not signals:
            _refuse_signals(program, index)
    else:
        _allow_only(program, _SOCKET[index], 0, SOCKET_FAMILIES, errno.EAFNOSUPPORT)
    program.answer(_ALLOW)
    return program.assembled()


def architecture() -> str:
    """Name the machine as `build` takes it."""
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(os.uname().machine, os.uname().machine)


def _refuse_signals(program: Program, index: int) -> None:
    """Refuse every way to send a signal except to one's own group, and to have one sent."""
    _refuse(program, _numbers(_SIGNALLING, index), errno.EPERM)
    _allow_only(program, _KILL[index], 0, (0,))
    _refuse_values(program, _IOCTL[index], 1, OWNER_REQUESTS)
    _refuse_values(program, _FCNTL[index], 1, OWNER_COMMANDS)


def _refuse_datagrams(program: Program, number: int) -> None:
    """Refuse pairs of datagram sockets: even a connected one sends to any path it names."""
    program.unless_equal(number, skip=5)
    program.load(_ARGUMENTS + 8)
    program.mask(_SOCKET_TYPE)
    program.unless_equal(_DATAGRAM, skip=1)
    program.answer(_ERRNO | errno.EPERM)
    program.load(_NUMBER)


def _numbers(table: dict[str, tuple[int | None, int | None]], index: int) -> list[int]:
    return sorted(number for row in table.values() if (number := row[index]) is not None)


def _refuse(program: Program, numbers: Iterable[int], error: int) -> None:
    """Answer these calls with an error. The number is loaded before, and after."""
    for number in numbers:
        program.unless_equal(number, skip=1)
        program.answer(_ERRNO | error)


def _refuse_flags(program: Program, number: int, bits: int) -> None:
    """Refuse a call whose first argument has any of the bits."""
    program.unless_equal(number, skip=4)
    program.load(_ARGUMENTS)
    program.unless_any(bits, skip=1)
    program.answer(_ERRNO | errno.EPERM)
    program.load(_NUMBER)


def _refuse_values(program: Program, number: int, argument: int, values: Sequence[int]) -> None:
    """Refuse a call for some values of an argument, of which the kernel reads 32 bits."""
    program.unless_equal(number, skip=2 + 2 * len(values))
    program.load(_ARGUMENTS + 8 * argument)
    for value in values:
        program.unless_equal(value, skip=1)
        program.answer(_ERRNO | errno.EPERM)
    program.load(_NUMBER)


def _allow_only(
    program: Program,
    number: int,
    argument: int,
    values: Sequence[int],
    error: int = errno.EPERM,
) -> None:
    """Refuse a call for all but some values of an argument, of which the kernel reads 32 bits."""
    program.unless_equal(number, skip=3 + len(values))
    program.load(_ARGUMENTS + 8 * argument)
    for position, value in enumerate(values):
        program.if_equal(value, skip=len(values) - position)
    program.answer(_ERRNO | error)
    program.load(_NUMBER)
