"""Commands in the sandbox beside plain ones, and the checks of calls; prints figures.

Run as a program, so that what one measurement leaves behind is not another's.
"""

import argparse
import asyncio
import gc
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from agentd.agent.permission import NO_LABELS
from agentd.agent.tool import Tool
from agentd.tools.permissions import default_layer, judge
from agentd.tools.sandbox.drop import Owner, temporary_folder
from agentd.tools.sandbox.profile import Command, Profile, Tier
from agentd.tools.sandbox.sandbox import Sandbox, probe
from agentd.tools.schema import compile_arguments
from tests.benchmarks.machine import resident_bytes

LIFETIME_S = 120
TRUE = "/bin/true"
AT_ONCE = 100
CHECKS = 20_000
WORKSPACE = "/srv/workspaces/default/r1"
NEEDS = ("tool.use:files/edit", f"fs.read:{WORKSPACE}/a/b.txt", f"fs.write:{WORKSPACE}/a/b.txt")
TOOL = Tool(
    "files",
    "edit",
    "",
    '{"type":"object","properties":{"path":{"type":"string"},"old":{"type":"string"},'
    '"new":{"type":"string"}},"required":["path","old","new"],"additionalProperties":false}',
)
ARGUMENTS = '{"path":"a/b.txt","old":"one line of text","new":"another line of text"}'

Once = Callable[[], Awaitable[object]]


async def plain() -> None:
    """Run a command as anybody would."""
    process = await asyncio.create_subprocess_exec(TRUE, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    await process.communicate()


@contextmanager
def workspace(owner: Owner | None) -> Iterator[str]:
    """Make a folder that the user of commands can reach and write to."""
    folder = tempfile.mkdtemp(prefix="agentd-benchmark-", dir=temporary_folder(owner))
    try:
        Path(folder).chmod(0o755)
        if owner is not None:
            os.chown(folder, owner.uid, owner.gid)
        yield folder
    finally:
        shutil.rmtree(folder)


def in_sandbox(sandbox: Sandbox, folder: str) -> Once:
    """Return what runs a command in a sandbox."""
    if sandbox.tier is Tier.NONE:
        raise SystemExit(f"there is no sandbox here: {'; '.join(sandbox.faults)}")

    async def run() -> None:
        finished = await sandbox.run(Command((TRUE,)), Profile(folder))
        assert finished.exit_code == 0

    return run


async def timed_ms(work: Once) -> float:
    """Return how long work takes."""
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) * 1e3


async def command(sandboxed: Once, count: int) -> dict[str, float]:
    """Return the medians of sandboxed and plain commands, which take turns."""
    await sandboxed()
    await plain()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(count):
        times[0].append(await timed_ms(sandboxed))
        times[1].append(await timed_ms(plain))
    ours, theirs = map(statistics.median, times)
    return {"sandboxed_ms": ours, "plain_ms": theirs, "more_ms": ours - theirs}


async def parallel(sandboxed: Once) -> dict[str, float]:
    """Return how long a hundred commands take at once, and what they leave in memory."""

    async def hundred(once: Once) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(_run(once))

    await hundred(sandboxed)
    gc.collect()
    before = resident_bytes(os.getpid())
    took = await timed_ms(lambda: hundred(sandboxed))
    gc.collect()
    grown = resident_bytes(os.getpid()) - before
    theirs = await timed_ms(lambda: hundred(plain))
    return {"sandboxed_ms": took, "plain_ms": theirs, "grown_mb": grown / 1e6}


async def _run(once: Once) -> None:
    await once()


def checks() -> dict[str, float]:
    """Return the mean times of the checks of one call."""
    layers = (default_layer(WORKSPACE),)
    validator = compile_arguments(TOOL)

    def us(check: Callable[[], object]) -> float:
        check()
        began = time.perf_counter()
        for _ in range(CHECKS):
            check()
        return (time.perf_counter() - began) / CHECKS * 1e6

    return {
        "permission_us": us(lambda: judge(layers, NEEDS, NO_LABELS, outward=False)),
        "schema_us": us(lambda: validator.check(ARGUMENTS)),
    }


async def main(arguments: argparse.Namespace) -> dict[str, float]:
    """Do what was asked for and return its figures."""
    if arguments.what == "checks":
        return checks()
    sandbox = await probe()
    with workspace(sandbox.owner) as folder:
        sandboxed = in_sandbox(sandbox, folder)
        if arguments.what == "command":
            return await command(sandboxed, arguments.count)
        return await parallel(sandboxed)


if __name__ == "__main__":
    signal.alarm(LIFETIME_S)
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("command", "parallel", "checks"))
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60)
    sys.stdout.write(json.dumps(uvloop.run(main(parser.parse_args()))) + "\n")
