"""DBOS workflows doing the benchmark's work; run in the peers' environment only.

A step is a DBOS step that plays the model's turn and one that is the tool, each recorded. The
database is switched to WAL, which serves DBOS better than the journal mode it starts with.
"""

# mypy: disable-error-code="import-not-found, misc, untyped-decorator, no-any-unimported"

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pysqlite3
import pysqlite3.dbapi2

sys.modules["sqlite3"] = pysqlite3  # DBOS needs 3.42 or newer
sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2
LIFETIME_S = 150
RECOVERY_TIMEOUT_S = 120.0

from dbos import DBOS, SetWorkflowID  # noqa: E402


class Progress:
    """How many runs have come to the place where they are held, or past it."""

    def __init__(self) -> None:
        self.hold_at = -1
        self.count_at = -1
        self.wanted = 0
        self.reached = threading.Event()
        self._count = 0
        self._lock = threading.Lock()

    def mark(self) -> None:
        """Count one run; workflows may be on different threads."""
        with self._lock:
            self._count += 1
            if self._count == self.wanted:
                self.reached.set()


PROGRESS = Progress()


@DBOS.step()
async def model(turn: int) -> str:
    """Ask for the tool."""
    return json.dumps({"name": "add", "arguments": {"a": turn, "b": 1}})


@DBOS.step()
async def add(call: str) -> int:
    """Add two integers."""
    arguments = json.loads(call)["arguments"]
    return int(arguments["a"]) + int(arguments["b"])


@DBOS.workflow()
async def run(steps: int) -> int:
    """Take that many steps."""
    total = 0
    for turn in range(steps):
        if turn == PROGRESS.hold_at:
            PROGRESS.mark()
            await asyncio.Event().wait()
        total += await add(await model(turn))
        if turn == PROGRESS.count_at:
            PROGRESS.mark()
    return total


async def run_all(runs: int, steps: int) -> None:
    """Pursue that many runs at once."""
    async with asyncio.TaskGroup() as group:
        for _ in range(runs):
            group.create_task(run(steps))


async def rate(runs: int, steps: int, repeats: int) -> dict[str, float]:
    """Return steps a second, and CPU a step."""
    await run_all(1, 2)
    began, cpu = time.monotonic(), time.process_time()
    for _ in range(repeats):
        await run_all(runs, steps)
    done = runs * steps * repeats
    return {
        "steps_per_s": done / (time.monotonic() - began),
        "cpu_us_per_step": (time.process_time() - cpu) / done * 1e6,
        "steps": done,
    }


async def leave(runs: int, steps: int) -> None:
    """Bring runs to their last step, then die without a word."""
    PROGRESS.hold_at, PROGRESS.wanted = steps - 1, runs
    async with asyncio.TaskGroup() as group:
        for number in range(runs):
            with SetWorkflowID(f"run-{number}"):
                group.create_task(run(steps))
        await asyncio.to_thread(PROGRESS.reached.wait, RECOVERY_TIMEOUT_S)
        os.kill(os.getpid(), signal.SIGKILL)


def recover(runs: int, steps: int) -> dict[str, float]:
    """Launch on what a killed process left; return the seconds until all runs took a step."""
    PROGRESS.count_at, PROGRESS.wanted = steps - 1, runs
    began = time.monotonic()
    DBOS.launch()
    if not PROGRESS.reached.wait(RECOVERY_TIMEOUT_S):
        raise TimeoutError
    return {"seconds": time.monotonic() - began}


def ready() -> None:
    """Say that the first step is done."""
    sys.stdout.write("READY\n")
    sys.stdout.flush()


def main(arguments: argparse.Namespace) -> dict[str, float]:
    """Do what was asked for and return its figures."""
    database = arguments.directory / "dbos.db"
    connection = pysqlite3.connect(str(database))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    url = f"sqlite:///{database}"
    DBOS(config={"name": "steps", "system_database_url": url, "log_level": "CRITICAL"})
    try:
        if arguments.what == "recover":
            return recover(arguments.runs, arguments.steps)
        DBOS.launch()
        if arguments.what == "leave":
            asyncio.run(leave(arguments.runs, arguments.steps))
        if arguments.what == "start":
            asyncio.run(run_all(1, 1))
            ready()
            return {}
        return asyncio.run(rate(arguments.runs, arguments.steps, arguments.repeats))
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    signal.alarm(LIFETIME_S)
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("rate", "start", "leave", "recover"))
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=1)
    sys.stdout.write(json.dumps(main(parser.parse_args())) + "\n")
