"""Start processes that a measurement needs, and see that each of them ends."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

STOP_TIMEOUT_S = 5.0
START_TIMEOUT_S = 30.0


def clean_environment(directory: Path) -> Mapping[str, str]:
    """Return an environment that holds no settings of the person at the keyboard."""
    return {
        "HOME": str(directory),
        "PATH": os.environ.get("PATH", os.defpath),
    }


@asynccontextmanager
async def child(
    command: Sequence[str], *, environment: Mapping[str, str], until_line: bytes = b""
) -> AsyncIterator[Process]:
    """Run a process for as long as the context lasts; with `until_line`, enter the context when its
    output begins with that line. The process holds our end of a pipe as its input: it is to end
    when that ends, however we end ourselves.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment
    )
    try:
        if until_line:
            await _expect(process, until_line)
        yield process
    finally:
        await stop(process)


async def _expect(process: Process, line: bytes) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(START_TIMEOUT_S):
        found = await process.stdout.readline()
    if found.strip() != line:
        raise RuntimeError(f"a child said {found!r} instead of {line!r}")


async def stop(process: Process) -> None:
    """End a process by its id: asked first, killed when it does not listen."""
    if process.returncode is None:
        try:
            process.terminate()
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except ProcessLookupError:
            pass  # it has ended already
        except TimeoutError:
            process.kill()
    await process.wait()


async def run_to_end(
    command: Sequence[str], *, environment: Mapping[str, str], timeout_s: float
) -> tuple[int, str, str]:
    """Run a process to its end; return its code, output and error output."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, errors = await process.communicate()
    finally:
        await stop(process)
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode(errors="replace")


def python() -> str:
    """Return the interpreter that runs us, which is also agentd's."""
    return sys.executable
