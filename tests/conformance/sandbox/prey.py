"""What the corpus is after: canaries of every kind, outside of the sandbox."""

import contextlib
import ctypes
import json
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from agentd.tools.sandbox.drop import Owner, drop_prefix
from tests.conformance.sandbox.corpus.common import Prey

IPC_CREAT, IPC_RMID = 0o1000, 0
SEGMENT_BYTES = 4096


@contextlib.contextmanager
def laid_out(folder: Path, workspace: Path, owner: Owner | None) -> Iterator[Prey]:
    """Lay the prey out in a folder that everybody may look into, as the user of commands may."""
    canary = f"canary-{secrets.token_hex(16)}"
    with contextlib.ExitStack() as stack:
        secret = folder / "secret"
        secret.write_text(canary)
        link = workspace / "link"
        link.symlink_to(secret)
        mailbox = folder / "open"
        mailbox.mkdir()
        mailbox.chmod(0o777)
        for name in ("file", "prize"):
            (mailbox / name).write_text(canary)
            (mailbox / name).chmod(0o666)
        os.mkfifo(mailbox / "fifo")
        (mailbox / "fifo").chmod(0o666)
        stack.callback(os.close, os.open(mailbox / "fifo", os.O_RDONLY | os.O_NONBLOCK))
        shared = Path("/dev/shm", canary[:20])
        shared.write_text(canary)
        stack.callback(shared.unlink)
        ports = listeners(stack, mailbox, canary[:20])
        yield Prey(
            canary=canary,
            secret_path=str(secret),
            open_path=str(mailbox / "file"),
            open_folder=str(mailbox),
            link_path=str(link),
            fifo_path=str(mailbox / "fifo"),
            victim_pid=stack.enter_context(victim(canary, owner)),
            shared_memory_key=stack.enter_context(segment(canary)),
            shared_memory_path=str(shared),
            hostname=socket.gethostname(),
            socket_path=str(mailbox / "socket"),
            abstract_name=canary[:20],
            tcp_port=ports[0],
            udp_port=ports[1],
        )


def listeners(stack: contextlib.ExitStack, folder: Path, name: str) -> tuple[int, int]:
    """Listen on every kind of socket that a command might find; return the TCP and UDP ports."""
    tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("127.0.0.1", 0))
    for address, kind in (
        ("\0" + name, socket.SOCK_STREAM),
        (str(folder / "socket"), socket.SOCK_STREAM),
        (str(folder / "socket.datagram"), socket.SOCK_DGRAM),
    ):
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
        listener.bind(address)
        if kind is socket.SOCK_STREAM:
            listener.listen(100)
        if address[0] != "\0":
            Path(address).chmod(0o777)
    return tcp.getsockname()[1], udp.getsockname()[1]


@contextlib.contextmanager
def victim(canary: str, owner: Owner | None) -> Iterator[int]:
    """Run another process of the user that commands run as, with a secret in its environment."""
    words = [*drop_prefix(owner), "/bin/sh", "-c", "echo; read -r _", canary]
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, env={"SECRET": canary}, stdin=pipe, stdout=pipe, cwd="/")
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.kill()  # an attack may have stopped it
        process.communicate()


@contextlib.contextmanager
def segment(canary: str) -> Iterator[int]:
    """Keep a shared memory segment that everybody may attach; yield its key."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    key = int(canary[-7:], 16)
    number = libc.shmget(key, SEGMENT_BYTES, IPC_CREAT | 0o666)
    assert number >= 0
    try:
        address = ctypes.c_void_p(libc.shmat(number, None, 0))
        ctypes.memmove(address, canary.encode(), len(canary))
        libc.shmdt(address)
        yield key
    finally:
        libc.shmctl(number, IPC_RMID, None)


def alive(marker: str) -> dict[int, str]:
    """Return the processes that have a marker in their command line."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if marker in text:
                found[int(entry.parent.name)] = text
    return found


def as_json(prey: Prey) -> bytes:
    """Return the prey as the corpus reads it."""
    return json.dumps({field: getattr(prey, field) for field in Prey.__dataclass_fields__}).encode()
