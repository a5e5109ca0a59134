"""Hold on to one started sandbox and everything in it, from the first instant to the last."""

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from agentd.tools.sandbox.cgroup import Cgroup
from agentd.tools.sandbox.limits import set_limits
from agentd.tools.sandbox.profile import Limits

KILL_GRACE_S = 3.0
"""How long a supervisor may take to follow what it supervised; the Landlock helper ends whatever is
left in this time, and is the only one that still knows of it."""
KILL_TIMEOUT_S = 5.0
"""How long to wait for the kernel to end what was killed."""
_STATUS_BYTES = 65_536


class Child:
    """A supervisor (bubblewrap, or the Landlock helper) and the tree of processes below it.

    The supervisor says on its status pipe which process is the first of the tree, and how that one
    ended. For bubblewrap that first process is the init of a process namespace: the kernel ends
    all the others before it ends itself, so that nothing is left once it is gone.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        status_fd: int,
        gate_fd: int,
        cgroup: Cgroup | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Take over a process that leads its own session, and two descriptors: what it says, and
        what it waits for before it starts the command. `limits` are to be set until then. Within a
        running event loop."""
        self._process = process
        self._status_fd = status_fd
        self._gate_fd = gate_fd
        self._cgroup = cgroup
        self._limits = limits
        self._buffer = b""
        self.fault = ""
        """Why the command was not started, if that did not fail in the sandbox itself."""
        self._init_fd: int | None = None
        self._exit: int | None = None
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._process_fd: int | None = os.pidfd_open(process.pid)
        self._loop.add_reader(status_fd, self._read_status)
        self._loop.add_reader(self._process_fd, self._reap)

    @property
    def exit_code(self) -> int | None:
        """How the command ended, 128 + signal included; None when it was never started or had to
        be killed."""
        return self._exit

    @property
    def returncode(self) -> int | None:
        """How the supervisor itself ended, as `subprocess` says it."""
        return self._process.returncode

    async def ended(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing of it is left; False when the time is over first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        return self._ended.is_set()

    def terminate(self) -> None:
        """Ask every process of the tree to end. The init of a process namespace, which has no
        handler, is not reached by this."""
        if not self._ended.is_set():
            _signal(descendants(self._process.pid), signal.SIGTERM)

    def order_kill(self) -> None:
        """End everything, without waiting for it."""
        if self._ended.is_set():
            return
        self._read_status()
        if self._cgroup is not None:
            self._cgroup.kill()
        if self._init_fd is None:
            self._kill_group()
        else:
            self._kill_first()

    async def kill(self) -> None:
        """End everything, and wait until it is gone, even while this task is being cancelled."""
        if self._process_fd is None:
            return
        self.order_kill()
        cancelled: asyncio.CancelledError | None = None
        deadline = self._loop.time() + KILL_TIMEOUT_S
        grace_end = self._loop.time() + KILL_GRACE_S
        while not self._ended.is_set() and self._loop.time() < deadline:
            try:
                if not await self.ended(grace_end - self._loop.time()):
                    self._kill_group()
                    grace_end = deadline
            except asyncio.CancelledError as error:
                cancelled = error
        self.close()
        if cancelled is not None:
            raise cancelled

    def close(self) -> None:
        """Let go of it. What still runs then (nothing, after `ended`) dies with this process."""
        self._close_status()
        for fd in (self._process_fd, self._init_fd):
            if fd is not None:
                self._loop.remove_reader(fd)
                os.close(fd)
        self._process_fd = self._init_fd = None
        if self._gate_fd >= 0:
            os.close(self._gate_fd)
            self._gate_fd = -1
        if self._cgroup is not None:
            self._cgroup.remove()
        self._ended.set()

    def _kill_first(self) -> None:
        """End the first process of the tree; for bubblewrap all others end with it."""
        if self._init_fd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init_fd, signal.SIGKILL)

    def _kill_group(self) -> None:
        """End the supervisor and what has not left its process group yet. It is not reaped, so that
        the number of the group is still its own."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _read_status(self) -> None:
        """Take what the supervisor said, one JSON document a line."""
        if self._status_fd < 0:
            return
        try:
            data = os.read(self._status_fd, _STATUS_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._close_status()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            document = json.loads(line)
            if "child-pid" in document:
                self._start(int(document["child-pid"]))
            if "exit-code" in document:
                self._exit = int(document["exit-code"])

    def _start(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._init_fd = os.pidfd_open(pid)
        try:
            if self._cgroup is not None:
                self._cgroup.add(pid)
            if self._limits is not None:
                set_limits(pid, self._limits)
            os.write(self._gate_fd, b"\n")
        except OSError as error:
            self.fault = f"no limits could be set: {error}"
            self.order_kill()
            return
        os.close(self._gate_fd)
        self._gate_fd = -1

    def _close_status(self) -> None:
        if self._status_fd >= 0:
            self._loop.remove_reader(self._status_fd)
            os.close(self._status_fd)
            self._status_fd = -1

    def _reap(self) -> None:
        """The supervisor ended. Whoever killed it alone left the tree to die a moment later."""
        if self._process.poll() is None or self._process_fd is None:
            return
        self._loop.remove_reader(self._process_fd)
        self._read_status()
        if self._init_fd is None or _is_gone(self._init_fd):
            self._ended.set()
        else:
            self._kill_first()
            self._loop.add_reader(self._init_fd, self._last)

    def _last(self) -> None:
        if self._init_fd is not None:
            self._loop.remove_reader(self._init_fd)
        self._ended.set()


def descendants(pid: int) -> list[int]:
    """Return every process below one, as the kernel lists them now; none where it keeps no lists
    (CONFIG_PROC_CHILDREN)."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                below = [int(word) for word in (thread / "children").read_text().split()]
                found += below
                waiting += below
    return found


def _is_gone(pidfd: int) -> bool:
    """A descriptor of a process is readable once it has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
