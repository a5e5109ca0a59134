"""Attacks on files: what was not granted, by every road there."""

import contextlib
import ctypes
import mmap
import os
import stat
from pathlib import Path

from tests.conformance.sandbox.corpus.common import Prey, add, attack, opened, said


@attack
def read_secret(prey: Prey) -> "str | None":
    return said(Path(prey.secret_path).read_bytes(), prey)


@attack
def read_by_dots(prey: Prey) -> "str | None":
    return said(Path("../../../../../../../.." + prey.secret_path).read_bytes(), prey)


@attack
def read_by_link(prey: Prey) -> "str | None":
    return said(Path(prey.link_path).read_bytes(), prey)


@attack
def read_by_own_link(prey: Prey) -> "str | None":
    Path("own-link").symlink_to(prey.secret_path)
    return said(Path("own-link").read_bytes(), prey)


@attack
def read_by_link_chain(prey: Prey) -> "str | None":
    Path("up").symlink_to("..")
    Path("higher").symlink_to("up/../../../../../../..")
    return said(Path("higher" + prey.secret_path).read_bytes(), prey)


@attack
def hard_link_to_secret(prey: Prey) -> "str | None":
    Path("hard").hardlink_to(prey.secret_path)
    return said(Path("hard").read_bytes(), prey)


@attack
def rename_secret(prey: Prey) -> "str | None":
    Path(prey.open_folder, "prize").rename("prize")
    return "it moved a file in from outside"


ROOTS = ("self/root", "1/root", "1/cwd/../../../..", "self/task/1/root", "self/cwd/../../../..")
for root in ROOTS:

    def read_by_proc(prey: Prey, root: str = root) -> "str | None":
        return said(Path(f"/proc/{root}{prey.secret_path}").read_bytes(), prey)

    add(f"read_by_proc_{root}", read_by_proc)


@attack
def read_by_victims_root(prey: Prey) -> "str | None":
    root = Path("/proc", str(prey.victim_pid), "root")
    return said((root / prey.secret_path[1:]).read_bytes(), prey)


@attack
def read_by_inherited_descriptor(prey: Prey) -> "str | None":
    for fd in range(3, 256):
        with contextlib.suppress(OSError):
            if found := said(os.pread(fd, 4096, 0), prey):
                return found
            inside = os.open(prey.secret_path, os.O_RDONLY, dir_fd=fd)
            return said(os.read(inside, 4096), prey)
    return None


@attack
def read_by_descriptor_of_others(prey: Prey) -> "str | None":
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if entry.is_file() and (found := said(entry.read_bytes()[:65536], prey)):
                return found
            if entry.is_dir() and (entry / prey.secret_path[1:]).exists():
                return f"{entry} leads outside"
    return None


@attack
def read_by_chroot(prey: Prey) -> "str | None":
    Path("jail").mkdir()
    here = os.open(".", os.O_RDONLY)
    os.chroot("jail")
    os.fchdir(here)
    return said(Path("../../../../../.." + prey.secret_path).read_bytes(), prey)


@attack
def read_shared_memory_file(prey: Prey) -> "str | None":
    return said(Path(prey.shared_memory_path).read_bytes(), prey)


@attack
def map_secret(prey: Prey) -> "str | None":
    fd = os.open(prey.secret_path, os.O_RDONLY)
    return said(mmap.mmap(fd, 0, prot=mmap.PROT_READ)[:], prey)


@attack
def open_secret_as_path(prey: Prey) -> "str | None":
    fd = os.open(prey.secret_path, os.O_PATH)
    return said(Path(f"/proc/self/fd/{fd}").read_bytes(), prey)


@attack
def see_secret(prey: Prey) -> "str | None":
    return f"it saw the secret: {Path(prey.secret_path).stat().st_size} bytes"


@attack
def list_outside(prey: Prey) -> "str | None":
    return f"it saw {os.listdir(prey.open_folder)}"  # noqa: PTH208


@attack
def watch_outside(prey: Prey) -> "str | None":
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_add_watch(libc.inotify_init(), prey.open_folder.encode(), 0x100)
    return "it watches a folder outside" if watch >= 0 else None


@attack
def open_outside_for_writing(prey: Prey) -> "str | None":
    return opened(prey.open_path, os.O_WRONLY)


@attack
def open_outside_for_appending(prey: Prey) -> "str | None":
    return opened(prey.open_path, os.O_RDWR | os.O_APPEND)


@attack
def create_outside(prey: Prey) -> "str | None":
    return opened(f"{prey.open_folder}/created", os.O_WRONLY | os.O_CREAT)


@attack
def create_unnamed_outside(prey: Prey) -> "str | None":
    return opened(prey.open_folder, os.O_WRONLY | os.O_TMPFILE)


@attack
def open_fifo_outside(prey: Prey) -> "str | None":
    return opened(prey.fifo_path, os.O_WRONLY)


@attack
def change_mode_outside(prey: Prey) -> "str | None":
    Path(prey.open_path).chmod(0o666)
    return "it changed a mode outside"


SYSTEM = ("/usr", "/usr/bin", "/usr/lib", "/etc", "/etc/ssl", "/etc/alternatives", "/", "/dev")
for folder in SYSTEM:

    def create_in_system(_: Prey, folder: str = folder) -> "str | None":
        return opened(f"{folder}/created-by-corpus", os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    add(f"create_in_{folder}", create_in_system)


@attack
def open_program_for_writing(_: Prey) -> "str | None":
    return opened("/usr/bin/env", os.O_WRONLY)


PRIVATE = ("/etc/shadow", "/etc/sudoers", "/etc/machine-id", "/etc/hostname", "/var/log", "/run")
for path in (*PRIVATE, "/home", "/sys", "/boot", "/opt", "/srv", "/mnt", "/var/lib"):

    def open_private(_: Prey, path: str = path) -> "str | None":
        return opened(path, os.O_RDONLY)

    add(f"open_{path}", open_private)

DEVICES = ("mem", "kmem", "kmsg", "port", "vda", "sda", "nvme0n1", "loop-control", "fuse", "kvm")
for device in (
    *DEVICES,
    "net/tun",
    "vsock",
    "vhost-vsock",
    "uinput",
    "tty0",
    "ttyS0",
    "mapper/control",
):

    def open_device(_: Prey, device: str = device) -> "str | None":
        return opened(f"/dev/{device}", os.O_RDONLY)

    add(f"open_device_{device}", open_device)


@attack
def make_block_device(_: Prey) -> "str | None":
    os.mknod("block", stat.S_IFBLK | 0o600, os.makedev(254, 0))
    return "it made a block device"


@attack
def make_character_device(_: Prey) -> "str | None":
    os.mknod("character", stat.S_IFCHR | 0o600, os.makedev(1, 1))
    return "it made a character device"


@attack
def see_names_of_users(_: Prey) -> "str | None":
    names = Path("/etc/passwd").read_text().splitlines()
    return f"it saw {len(names)} users" if len(names) > 1 else None
