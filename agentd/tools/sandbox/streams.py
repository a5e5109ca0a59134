"""The pipes or the terminal between the daemon and a command."""

import asyncio
import os
import termios

from agentd.tools.sandbox.output import Capture

_CHUNK_BYTES = 65_536
_END_OF_INPUT = b"\x04"
"""What a terminal takes for the end, at the beginning of a line."""


class Ends:
    """Both ends of a command's standard streams. Each is closed by whoever takes it, or here."""

    def __init__(self, *, terminal: bool) -> None:
        if terminal:
            self.stdin, inner = os.openpty()
            _silence(inner)
            self.stdout, self.stderr = os.dup(self.stdin), -1
            self.inner = (inner, inner, inner)
        else:
            read_in, self.stdin = os.pipe()
            self.stdout, write_out = os.pipe()
            self.stderr, write_err = os.pipe()
            self.inner = (read_in, write_out, write_err)
        self.terminal = terminal

    def close_inner(self) -> None:
        """Close the command's ends, once it has them."""
        for fd in set(self.inner):
            os.close(fd)
        self.inner = (-1, -1, -1)

    def close(self) -> None:
        """Close whatever nobody has taken."""
        taken = {self.stdin, self.stdout, self.stderr, *self.inner} - {-1}
        self.stdin = self.stdout = self.stderr = -1
        self.inner = (-1, -1, -1)
        for fd in taken:
            os.close(fd)

    def take_stdin(self) -> int:
        """Give our end of standard input away."""
        fd, self.stdin = self.stdin, -1
        return fd

    def take_stdout(self) -> int:
        """Give our end of standard output away."""
        fd, self.stdout = self.stdout, -1
        return fd

    def take_stderr(self) -> int:
        """Give our end of standard error away; -1 with a terminal, where it is standard output."""
        fd, self.stderr = self.stderr, -1
        return fd


class Drain:
    """Reads a descriptor to its end, whatever comes, and closes it."""

    def __init__(self, fd: int, capture: Capture) -> None:
        self._fd = fd
        self._capture = capture
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if fd < 0:
            self._ended.set()
            return
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    async def ended(self) -> None:
        """Wait until every writer is gone."""
        await self._ended.wait()

    def close(self) -> None:
        """Read no more."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._ended.set()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # a terminal that nobody has open any more
            data = b""
        if data:
            self._capture.feed(data)
        else:
            self.close()


class Feed:
    """Writes what a command reads, as fast as it does, and closes the descriptor."""

    def __init__(self, fd: int, data: bytes, *, terminal: bool) -> None:
        self._fd = fd
        self._rest = memoryview(data + _END_OF_INPUT if terminal else data)
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._loop.add_writer(fd, self._write)
        if not self._rest:
            self.close()

    def close(self) -> None:
        """Write no more."""
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _write(self) -> None:
        try:
            self._rest = self._rest[os.write(self._fd, self._rest[:_CHUNK_BYTES]) :]
        except BlockingIOError:
            return
        except OSError:  # the command reads no more
            self._rest = memoryview(b"")
        if not self._rest:
            self.close()


def _silence(fd: int) -> None:
    """Let a terminal not repeat its input as output."""
    modes = termios.tcgetattr(fd)
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(fd, termios.TCSANOW, modes)
