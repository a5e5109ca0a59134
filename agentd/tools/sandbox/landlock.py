"""Confine a program with Landlock and seccomp where bubblewrap cannot be had: weaker, since it sees
other processes and the names of files.

The daemon reads this file and starts it as a program of its own, under any Python from 3.9 on and
without the rest of agentd: so it imports the standard library alone. Calls and structures are
those of linux/landlock.h and linux/prctl.h.
"""
# ruff: noqa: PTH116, PTH123, PTH208 - importing pathlib takes longer than all that is done here

import ctypes
import json
import os
import resource
import signal
import stat
import struct
import sys
from typing import Any, NoReturn

MINIMUM_ABI = 3
"""Before it (Linux 6.2) any file could be truncated."""
SIGNALS_ABI = 6
"""From it on (Linux 6.12) signals and abstract sockets can be scoped."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION, _PATH_BENEATH = 1, 1
_SET_PDEATHSIG, _SET_SECCOMP, _SET_NO_NEW_PRIVS, _SET_CHILD_SUBREAPER = 1, 22, 38, 36
_SECCOMP_FILTER = 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE = 1 << 14
_ALL_FILE_RIGHTS = {3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""By ABI; newer ones know no more of them."""
_ALL_NET_RIGHTS, _ALL_SCOPES = 0b11, 0b11
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_READING = _EXECUTE | _READ_FILE | _READ_DIR
_DEVICES = ("/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero")
_STOP_ROUNDS = 50


class KilledByOrder(Exception):
    """The daemon asked for everything to end, or is gone."""


def landlock_abi() -> int:
    """Return the version of Landlock that this kernel offers; 0 when it has none."""
    return max(int(_libc().syscall(_CREATE_RULESET, None, 0, _GET_VERSION)), 0)


def restrict(abi: int, readable: "list[int]", writable: "list[int]") -> None:
    """Leave this process, and all that it starts, only these open folders and files, and a few
    harmless devices. Raises OSError."""
    every = _ALL_FILE_RIGHTS[min(abi, max(_ALL_FILE_RIGHTS))]
    attributes = struct.pack("<Q", every)
    if abi >= 4:
        attributes += struct.pack("<Q", _ALL_NET_RIGHTS)
    if abi >= SIGNALS_ABI:
        attributes += struct.pack("<Q", _ALL_SCOPES)
    ruleset = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    for fd in readable:
        _allow(ruleset, fd, _READING)
    for fd in writable:
        _allow(ruleset, fd, every & ~(_MAKE_CHAR | _MAKE_BLOCK))
    for path in _DEVICES:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        _allow(ruleset, fd, _READ_FILE | _WRITE_FILE)
        os.close(fd)
    _prctl(_SET_NO_NEW_PRIVS, 1)
    _call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def install_filter(program: bytes) -> None:
    """Put a filter of system calls on this process, and all that it starts. Raises OSError."""

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))

    _prctl(_SET_NO_NEW_PRIVS, 1)
    pointer = ctypes.byref(Filter(len(program) // 8, program))
    if _libc().prctl(_SET_SECCOMP, _SECCOMP_FILTER, pointer, 0, 0):
        raise OSError(ctypes.get_errno(), "the filter of system calls was refused")


def main() -> None:
    """Run one command as asked for on the descriptor that is named by the first argument, and
    leave nothing of it behind. Speaks bubblewrap's language on the status descriptor."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        request = json.load(file)
    _prctl(_SET_CHILD_SUBREAPER, 1)
    _prctl(_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, _on_order)
    started, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(request, told)
    os.close(told)
    status = 0
    try:
        os.write(request["status"], b'{"child-pid": %d}\n' % pid)
        os.close(request["gate"])
        for stream in (0, 1, 2):
            os.close(stream)
        refused = os.read(started, 1)
        status = _wait_for(pid)
        _sweep()
    except KilledByOrder:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _sweep()
        os._exit(128 + signal.SIGTERM)
    if not refused:
        os.write(request["status"], b'{"exit-code": %d}\n' % status)
    os._exit(status)


def _become(request: "dict[str, Any]", told: int) -> NoReturn:
    """Turn the forked process into the command. Failing before that is told by one byte."""
    try:
        for number in (signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # the last two Python ignores
        os.read(request["gate"], 1)
        os.setsid()
        os.chdir(request["workspace"])
        _limit(request["limits"])
        readable = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in request["system"]]
        readable += request["readable"]
        restrict(landlock_abi(), readable, request["writable"])
        os.closerange(3, told)
        os.closerange(told + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] + 1024)
        install_filter(bytes.fromhex(request["filter"]))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the command must not start
        os.write(2, f"landlock: {error}\n".encode())
        os.write(told, b"!")
        os._exit(126)
    try:
        os.execvpe(request["argv"][0], request["argv"], request["environment"])  # noqa: S606
    except OSError as error:
        os.write(2, f"{request['argv'][0]}: {error.strerror}\n".encode())
        os._exit(127)


def _limit(limits: "dict[str, int]") -> None:
    """Set the resource limits. The number of processes is counted for the user, who has others."""
    bounds = {
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_NPROC: limits["processes"] + _threads_of_user(),
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        hard = resource.getrlimit(kind)[1]
        value = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (value, value))


def _threads_of_user() -> int:
    count = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue
    return count


def _wait_for(pid: int) -> int:
    """Reap whatever ends until this one does; return its exit code, 128 + signal included."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _sweep() -> None:
    """End every process below this one. They are stopped first, lest they fork away from it."""
    seen: set[int] = set()
    for _ in range(_STOP_ROUNDS):
        new = _below(os.getpid()) - seen
        if not new:
            break
        _signal(new, signal.SIGSTOP)
        seen |= new
    while True:
        _signal(_below(os.getpid()), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _below(pid: int) -> "set[int]":
    found: set[int] = set()
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found.update(int(word) for word in file.read().split())
    except OSError:
        return found
    return found.union(*(_below(child) for child in tuple(found)))


def _signal(pids: "set[int]", number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            continue


def _on_order(*_: object) -> None:
    raise KilledByOrder


def _allow(ruleset: int, fd: int, rights: int) -> None:
    """Permit rights beneath an open folder, or on an open file."""
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        rights &= _OF_FILES
    _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("<Qi", rights, fd), 0)


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _call(number: int, *arguments: "int | bytes") -> int:
    words = [
        ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments
    ]
    result = _libc().syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock refused call {number}")
    return int(result)


def _prctl(option: int, value: int) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), 0):
        raise OSError(ctypes.get_errno(), f"prctl {option} was refused")


if __name__ == "__main__":
    main()
