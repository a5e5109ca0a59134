"""Attacks on the kernel: calls, settings and tricks that no command has business with.

Every call has arguments with which it does nothing where it is permitted; what counts is that it is
refused before they are looked at.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import platform
from pathlib import Path

from tests.conformance.sandbox.corpus.common import Prey, add, attack, opened, syscall

MACHINE = platform.machine()
COLUMN = {"x86_64": 0, "aarch64": 1}[MACHINE]
BAD = -1
CALLS: "dict[str, tuple[tuple[int, int], tuple[int | None, ...]]]" = {
    "add_key": ((248, 217), (None, None, None, 0, 0)),
    "bpf": ((321, 280), (BAD, None, 0)),
    "fanotify_init": ((300, 262), (BAD, BAD)),
    "finit_module": ((313, 273), (BAD, None, BAD)),
    "fsopen": ((430, 430), (None, BAD)),
    "fspick": ((433, 433), (BAD, None, BAD)),
    "init_module": ((175, 105), (None, 0, None)),
    "io_uring_enter": ((426, 426), (BAD, 0, 0, 0, None, 0)),
    "io_uring_register": ((427, 427), (BAD, 0, None, 0)),
    "io_uring_setup": ((425, 425), (0, None)),
    "kcmp": ((312, 272), (BAD, BAD, BAD, 0, 0)),
    "kexec_file_load": ((320, 294), (BAD, BAD, 0, None, BAD)),
    "keyctl": ((250, 219), (BAD, 0, 0, 0, 0)),
    "mount": ((165, 40), (None, None, None, 0, None)),
    "mount_setattr": ((442, 442), (BAD, None, BAD, None, 0)),
    "move_mount": ((429, 429), (BAD, None, BAD, None, BAD)),
    "open_by_handle_at": ((304, 265), (BAD, None, 0)),
    "open_tree": ((428, 428), (BAD, None, BAD)),
    "perf_event_open": ((298, 241), (None, BAD, BAD, BAD, BAD)),
    "pidfd_getfd": ((438, 438), (BAD, BAD, BAD)),
    "pivot_root": ((155, 41), (None, None)),
    "process_madvise": ((440, 440), (BAD, None, 0, BAD, BAD)),
    "process_vm_writev": ((311, 271), (BAD, None, 0, None, 0, 0)),
    "request_key": ((249, 218), (None, None, None, 0)),
    "setns": ((308, 268), (BAD, BAD)),
    "syslog": ((103, 116), (BAD, None, 0)),
    "umount2": ((166, 39), (None, BAD)),
    "userfaultfd": ((323, 282), (BAD,)),
}
for name, (numbers, arguments) in CALLS.items():

    def call(
        _: Prey,
        number: int = numbers[COLUMN],
        arguments: "tuple[int | None, ...]" = arguments,
    ) -> "str | None":
        error = syscall(number, *arguments)[1]
        return None if error == errno.EPERM else f"the call was looked at: {errno.errorcode[error]}"

    add(f"call_{name}", call)

NAMESPACES = {
    "user": 0x10000000,
    "mount": 0x00020000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "cgroup": 0x02000000,
    "time": 0x00000080,
}
for name, flag in NAMESPACES.items():

    def unshare(_: Prey, flag: int = flag) -> "str | None":
        result = syscall((272, 97)[COLUMN], flag)[0]
        return "it has a new namespace" if result == 0 else None

    add(f"unshare_{name}", unshare)

    def clone(_: Prey, flag: int = flag) -> "str | None":
        user = NAMESPACES["user"]
        result = syscall((56, 220)[COLUMN], flag | user | 17, None, None, None, None)[0]
        if result == 0:
            os._exit(0)
        return "its child has a new namespace" if result > 0 else None

    add(f"clone_{name}", clone)


@attack
def clone3(_: Prey) -> "str | None":
    result, error = syscall(435, None, 0)
    return None if (result, error) == (-1, errno.ENOSYS) else "clone3 hides its flags in memory"


@attack
def call_as_x32(_: Prey) -> "str | None":
    result = syscall(0x40000000 + 39)[0]
    return "it made a call by the x32 table" if result > 0 else None


@attack
def call_as_i386(_: Prey) -> "str | None":
    """Ask for the process id by the 32-bit entry: `mov eax, 20; int 0x80; ret`."""
    if MACHINE != "x86_64":
        return None
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    return "it made a call by the i386 table" if result == os.getpid() else None


def terminal() -> int:
    """Return a terminal, or what was given as standard input where none can be had."""
    with contextlib.suppress(OSError):
        return os.openpty()[1]
    return 0


for name, request in (("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541C)):

    def push(_: Prey, request: int = request) -> "str | None":
        try:
            fcntl.ioctl(terminal(), request, b"\0")
        except OSError as error:
            return None if error.errno == errno.EPERM else "the request was looked at"
        return "it typed into a terminal"

    add(f"ioctl_{name}", push)


@attack
def push_by_wide_request(_: Prey) -> "str | None":
    """The kernel reads 32 bits of a request; a filter that compares 64 is passed by."""
    error = syscall((16, 29)[COLUMN], terminal(), 0x1_0000_5412, b"\0")[1]
    return None if error == errno.EPERM else "the request was looked at"


@attack
def make_socket_by_wide_family(_: Prey) -> "str | None":
    result = syscall((41, 198)[COLUMN], 0x1_0000_0028, 1, 0)[0]
    return "it made a VSOCK socket" if result >= 0 else None


SETTINGS = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/fs/protected_symlinks",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sysrq-trigger",
    "/proc/acpi/wakeup",
    "/proc/irq/default_smp_affinity",
    "/sys/kernel/uevent_helper",
    "/sys/power/state",
    "/sys/fs/cgroup/release_agent",
    "/sys/kernel/mm/ksm/run",
    "/sys/kernel/debug/tracing/trace",
)
for path in SETTINGS:

    def open_setting(_: Prey, path: str = path) -> "str | None":
        return opened(path, os.O_WRONLY)

    add(f"open_setting_{path}", open_setting)

for path in ("/proc/kcore", "/proc/kmsg", "/proc/vmallocinfo"):

    def open_kernel(_: Prey, path: str = path) -> "str | None":
        return opened(path, os.O_RDONLY)

    add(f"open_kernel_{path}", open_kernel)


@attack
def read_addresses(_: Prey) -> "str | None":
    with Path("/proc/kallsyms").open() as file:
        address = file.readline().split()[0]
    return f"it knows where the kernel is: {address}" if int(address, 16) else None


@attack
def write_cgroup(_: Prey) -> "str | None":
    for path in Path("/sys/fs/cgroup").rglob("release_agent"):
        if found := opened(str(path), os.O_WRONLY):
            return found
    return None
