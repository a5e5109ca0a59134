"""A command on a pseudo-terminal."""

import os
import pty
import select
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.unit.cli.conftest import Cli

LIMIT_S = 20.0


class Terminal:
    """Runs one command with a terminal for stdin, stdout and stderr."""

    def __init__(self, cli: Cli, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.shown = ""
        self._end = time.monotonic() + LIMIT_S
        self._code: int | None = None
        terminal = {"TERM": "xterm-256color", "COLUMNS": "120", **(env or {})}
        environment = cli.environment | terminal
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(cli.home)
            command = [sys.executable, "-m", "agentd", *arguments]
            os.execve(sys.executable, command, environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._code is None:
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)

    def read_until(self, text: str) -> None:
        """Read until something is shown after what was read before."""
        start = len(self.shown)
        while text not in self.shown[start:]:
            assert self._read(), f"{text!r} is not in {self.shown!r}"

    def press_ctrl_c(self) -> None:
        os.write(self._fd, b"\x03")

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def finish(self) -> tuple[int, str]:
        """Read to the end; return the exit code and all that was shown."""
        while self._read():
            pass
        _, status = os.waitpid(self._pid, 0)
        self._code = os.waitstatus_to_exitcode(status)
        os.close(self._fd)
        return self._code, self.shown

    def _read(self) -> bool:
        remaining = self._end - time.monotonic()
        ready, _, _ = select.select([self._fd], [], [], max(0.0, remaining))
        assert ready, f"nothing more came after {self.shown!r}"
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # Linux's way to say that the other side is closed.
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)
