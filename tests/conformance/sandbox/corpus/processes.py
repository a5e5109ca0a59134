"""Attacks on other processes, and on what they were told."""

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import signal
import socket
import subprocess
from pathlib import Path

from tests.conformance.sandbox.corpus.common import Prey, add, attack, opened, said, syscall

IPC_RDONLY = 0o10000


@attack
def read_own_environment(prey: Prey) -> "str | None":
    return said(Path("/proc/self/environ").read_bytes() + repr(os.environ).encode(), prey)


for name in ("environ", "cmdline"):

    def read_of_all(prey: Prey, name: str = name) -> "str | None":
        for entry in Path("/proc").glob(f"[0-9]*/{name}"):
            with contextlib.suppress(OSError):
                if found := said(entry.read_bytes(), prey):
                    return f"{found} in {entry}"
        return None

    add(f"read_{name}_of_all", read_of_all)

    def read_of_victim(prey: Prey, name: str = name) -> "str | None":
        return said(Path(f"/proc/{prey.victim_pid}/{name}").read_bytes(), prey)

    add(f"read_{name}_of_victim", read_of_victim)


@attack
def see_processes(_: Prey) -> "str | None":
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"pytest" in entry.read_bytes():
                return f"it sees the process {entry.parent.name}"
    return None


@attack
def see_hostname(prey: Prey) -> "str | None":
    return "it knows the host" if socket.gethostname() == prey.hostname else None


@attack
def signal_victim(prey: Prey) -> "str | None":
    os.kill(prey.victim_pid, 0)
    return "it can signal a process outside"


@attack
def signal_by_descriptor(prey: Prey) -> "str | None":
    fd = os.pidfd_open(prey.victim_pid)
    signal.pidfd_send_signal(fd, 0)
    return "it can signal a process outside by a descriptor"


@attack
def signal_everybody(prey: Prey) -> "str | None":
    os.killpg(os.getpgid(prey.victim_pid), 0)
    return "it can signal a group outside"


@attack
def own_signals_to_victim(prey: Prey) -> "str | None":
    near, _ = socket.socketpair()
    fcntl.fcntl(near, fcntl.F_SETOWN, prey.victim_pid)
    owner = fcntl.fcntl(near, fcntl.F_GETOWN)
    return "a descriptor signals a process outside" if owner == prey.victim_pid else None


@attack
def read_memory_of_victim(prey: Prey) -> "str | None":
    return opened(f"/proc/{prey.victim_pid}/mem", os.O_RDONLY)


@attack
def limit_victim(prey: Prey) -> "str | None":
    resource.prlimit(prey.victim_pid, resource.RLIMIT_CORE)
    return "it reaches the limits of a process outside"


@attack
def slow_victim_down(prey: Prey) -> "str | None":
    os.sched_setaffinity(prey.victim_pid, os.sched_getaffinity(prey.victim_pid))
    return "it chooses the processors of a process outside"


@attack
def make_victim_nice(prey: Prey) -> "str | None":
    os.setpriority(os.PRIO_PROCESS, prey.victim_pid, 0)
    return "it sets the priority of a process outside"


@attack
def attach_shared_memory(prey: Prey) -> "str | None":
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    segment = libc.shmget(prey.shared_memory_key, 0, 0)
    if segment < 0:
        return None
    address = libc.shmat(segment, None, IPC_RDONLY)
    return said(ctypes.string_at(address, 64), prey)


for tracing, number in (("traceme", 0), ("attach", 16), ("seize", 0x4206)):

    def trace(prey: Prey, number: int = number) -> "str | None":
        call = {"x86_64": 101, "aarch64": 117}[os.uname().machine]
        target = 0 if number == 0 else prey.victim_pid
        result = syscall(call, number, target, 0, 0)[0]
        return "it can trace" if result == 0 else None

    add(f"ptrace_{tracing}", trace)


@attack
def read_victim_across(prey: Prey) -> "str | None":
    call = {"x86_64": 310, "aarch64": 270}[os.uname().machine]
    _, error = syscall(call, prey.victim_pid, None, 0, None, 0, 0)
    return None if error == errno.EPERM else "it may read the memory of others"


@attack
def become_root(_: Prey) -> "str | None":
    os.setuid(0)
    return "it is root"


@attack
def become_roots_group(_: Prey) -> "str | None":
    os.setgid(0)
    return "it is of root's group"


@attack
def choose_groups(_: Prey) -> "str | None":
    os.setgroups([0])
    return "it chose its groups"


@attack
def be_root(_: Prey) -> "str | None":
    return "it is root" if 0 in {*os.getresuid(), *os.getresgid()} else None


@attack
def have_capabilities(_: Prey) -> "str | None":
    wanted = ("CapEff", "CapPrm", "CapInh", "CapAmb")
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    some = [name for name in wanted if int(lines[name], 16)]
    return f"it has {some}" if some else None


@attack
def find_process_without_filter(_: Prey) -> "str | None":
    """Whoever is not filtered can be made to call for the others: its memory is a file."""
    for entry in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            if "Seccomp:\t2" not in entry.read_text():
                return f"{entry} is not filtered"
    return None


@attack
def gain_privileges(_: Prey) -> "str | None":
    libc = ctypes.CDLL(None)
    return None if libc.prctl(39, 0, 0, 0, 0) == 1 else "a setuid program would give it privileges"


@attack
def use_setuid_program(_: Prey) -> "str | None":
    done = subprocess.run(
        ["/usr/bin/su", "-c", "id -u"], capture_output=True, timeout=3, check=False
    )
    return "su made it root" if done.stdout.strip() == b"0" else None


LIMITS = ("RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC")
for limit in LIMITS:

    def raise_limit(_: Prey, limit: str = limit) -> "str | None":
        kind = getattr(resource, limit)
        hard = resource.getrlimit(kind)[1]
        if hard == resource.RLIM_INFINITY:
            return "it has no limit"
        resource.setrlimit(kind, (hard + 1, hard + 1))
        return "it raised its limit"

    add(f"raise_{limit}", raise_limit)
