"""The filter of system calls, executed as the kernel would, for machines that are not this one."""

import errno
import struct

import pytest

from agentd.errors import Unsupported
from agentd.tools.sandbox.seccomp import AUDIT_ARCH, build

ALLOW, KILL = "allow", "kill"
NEWUSER, VSOCK, TIOCSTI = 0x10000000, 40, 0x5412
NUMBERS = {
    # read, socket, clone, ioctl, clone3, io_uring_setup, mount, kill, connect, prlimit64 and
    # socketpair
    "x86_64": (0, 41, 56, 16, 435, 425, 165, 62, 42, 302, 53),
    "aarch64": (63, 198, 220, 29, 435, 425, 40, 129, 203, 261, 199),
}


def answer(program: bytes, architecture: int, number: int, *arguments: int) -> str:
    """Execute classic BPF over one call; say what becomes of it."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("<HBBI", program))
    value, at = 0, 0
    while True:
        operation, yes, no, constant = code[at]
        at += 1
        match operation:
            case 0x20:
                (value,) = struct.unpack_from("<I", data, constant)
            case 0x54:
                value &= constant
            case 0x15:
                at += yes if value == constant else no
            case 0x35:
                at += yes if value >= constant else no
            case 0x45:
                at += yes if value & constant else no
            case 0x06:
                break
            case _:
                raise AssertionError(hex(operation))
    if constant == 0x7FFF0000:
        return ALLOW
    return KILL if constant == 0x80000000 else errno.errorcode[constant & 0xFFFF]


@pytest.mark.parametrize("name", sorted(AUDIT_ARCH))
def test_calls_are_judged(name: str) -> None:
    read, socket, clone, ioctl, clone3, io_uring, mount, kill, connect, *_ = NUMBERS[name]
    program, machine = build(name), AUDIT_ARCH[name]
    assert answer(program, machine, read) == ALLOW
    assert [answer(program, machine, socket, family) for family in (1, 2, 10)] == [ALLOW] * 3
    for family in (0, 3, 16, 17, VSOCK, 0xFFFFFFFF):
        assert answer(program, machine, socket, family) == "EAFNOSUPPORT"
    assert answer(program, machine, socket, 0x1_0000_0000 + VSOCK) == "EAFNOSUPPORT"
    assert answer(program, machine, clone, 17) == ALLOW
    for flag in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, NEWUSER, 0x20000000, 0x40000000):
        assert answer(program, machine, clone, flag | 17) == "EPERM"
    assert answer(program, machine, ioctl, 0, 0x5401) == ALLOW
    assert answer(program, machine, ioctl, 0, TIOCSTI) == "EPERM"
    assert answer(program, machine, ioctl, 0, 0x1_0000_0000 + TIOCSTI) == "EPERM"
    assert answer(program, machine, clone3) == "ENOSYS"
    assert answer(program, machine, io_uring) == "EPERM"
    assert answer(program, machine, mount) == "EPERM"
    assert answer(program, machine, kill, 77) == ALLOW
    assert answer(program, machine, connect) == ALLOW


@pytest.mark.parametrize("name", sorted(AUDIT_ARCH))
def test_programs_that_share_processes_may_do_less(name: str) -> None:
    *_, kill, connect, prlimit, socketpair = NUMBERS[name]
    socket = NUMBERS[name][1]
    machine = AUDIT_ARCH[name]
    program = build(name, shared=True)
    assert [answer(program, machine, socket, family) for family in (1, 2)] == ["EPERM"] * 2
    assert answer(program, machine, connect) == "EPERM"
    assert answer(program, machine, prlimit, 0) == ALLOW
    assert answer(program, machine, prlimit, 1) == "EPERM"
    assert answer(program, machine, socketpair, 1, 0o2000001) == ALLOW
    assert answer(program, machine, socketpair, 1, 0o2000002) == "EPERM"
    assert answer(program, machine, kill, 77) == ALLOW
    mute = build(name, shared=True, signals=False)
    assert answer(mute, machine, kill, 0, 15) == ALLOW
    assert answer(mute, machine, kill, 77, 15) == "EPERM"
    assert answer(mute, machine, kill, 0xFFFFFFFF, 15) == "EPERM"


def test_other_conventions_are_refused() -> None:
    x86, arm = build("x86_64"), build("aarch64")
    assert answer(x86, AUDIT_ARCH["aarch64"], 63) == KILL
    assert answer(x86, 0x40000003, 3) == KILL
    assert answer(x86, AUDIT_ARCH["x86_64"], 0x40000000) == "ENOSYS"
    assert answer(arm, AUDIT_ARCH["x86_64"], 0) == KILL


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(Unsupported):
        build("riscv64")
