"""A program that lives in a sandbox and is talked to, such as an MCP server."""

import asyncio
import contextlib
import os
from typing import Protocol

from agentd.tools.sandbox.child import Child
from agentd.tools.sandbox.output import Capture
from agentd.tools.sandbox.streams import Drain, Ends

LINE_BYTES = 16 * 1024 * 1024
"""The longest line that can be read from a process."""


class Closing(Protocol):
    """Something that lives as long as the process: its way to the network."""

    async def aclose(self) -> None:
        """End it."""


class Process:
    """A started program. Whoever started it calls `kill` at last, also when it ended by itself."""

    def __init__(
        self,
        child: Child,
        stdin: asyncio.StreamWriter,
        stdout: asyncio.StreamReader,
        errors: Capture,
        held: tuple[Drain, asyncio.ReadTransport, Closing],
    ) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self._child = child
        self._errors = errors
        self._drain, self._transport, self._network = held

    @property
    def stderr(self) -> str:
        """What it has written to standard error so far: head and tail, harmless to show."""
        return self._errors.text()

    async def wait(self) -> int:
        """Wait until it has ended, with everything that it started; 128 + signal when one ended
        it."""
        await self._child.ended()
        code = self._child.exit_code
        return 137 if code is None else code

    async def kill(self) -> None:
        """End it and everything that it started, and wait until that is gone."""
        try:
            await self._child.kill()
        finally:
            self._drain.close()
            self._transport.close()
            self.stdin.close()
            await self._network.aclose()


async def attach(child: Child, ends: Ends, errors: Capture, network: Closing) -> Process:
    """Make streams of a started program's ends."""
    loop = asyncio.get_running_loop()
    drain = Drain(ends.take_stderr(), errors)
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    with contextlib.ExitStack() as undo:
        undo.callback(drain.close)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ends.take_stdout(), "rb", 0)
        )
        undo.callback(transport.close)
        write_transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()),
            os.fdopen(ends.take_stdin(), "wb", 0),
        )
        undo.pop_all()
    writer = asyncio.StreamWriter(write_transport, protocol, None, loop)
    return Process(child, writer, reader, errors, (drain, transport, network))
