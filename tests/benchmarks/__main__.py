"""The command: `python -m tests.benchmarks` prints one table, in one run on one machine."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

import uvloop

from tests.benchmarks import (
    c_abi,
    fanout,
    growth,
    hosts,
    memory,
    recall,
    recovery,
    report,
    rpc,
    start,
    steps,
    tools,
)
from tests.benchmarks.harness import Result, Row, measure_rows
from tests.benchmarks.machine import versions
from tests.benchmarks.peers import limits, runtimes
from tests.benchmarks.peers.environment import PINS

ROWS: Sequence[Row] = (
    *steps.ROWS,
    *rpc.ROWS,
    *fanout.ROWS,
    *hosts.ROWS,
    *c_abi.ROWS,
    *start.ROWS,
    *memory.ROWS,
    *recall.ROWS,
    *recovery.ROWS,
    *growth.ROWS,
    *tools.ROWS,
    *limits.ROWS,
    *runtimes.ROWS,
)


def select(rows: Sequence[Row], name: str) -> Sequence[Row]:
    """Return the row of that name, or the rows of that topic; all for an empty name."""
    return [row for row in rows if not name or row.name == name or row.name.startswith(f"{name}.")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", default="", metavar="NAME", help="one row, or one topic")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a quarter of the work a round, however noisy the machine is",
    )
    parser.add_argument("--json", action="store_true", help="the same figures as JSON")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    arguments = parser.parse_args()
    if not select(ROWS, arguments.only):
        parser.error(f"no row or topic is named {arguments.only}; --list shows them")
    if arguments.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return arguments


async def _measure(rows: Sequence[Row], rounds: int, *, quick: bool) -> Sequence[Result]:
    """Measure; asked to end, end what was started and leave nothing behind."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await measure_rows(rows, rounds=rounds, quick=quick, progress=_progress)


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()


def main() -> int:
    """Measure what was asked for and print it; 1 when that did not go to the end."""
    arguments = _arguments()
    rows = select(ROWS, arguments.only)
    if arguments.list:
        sys.stdout.write("".join(f"{row.name}\n" for row in rows))
        return 0
    try:
        results = uvloop.run(_measure(rows, arguments.rounds, quick=arguments.quick))
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 1
    if sys.stderr.isatty():
        _progress("")
    render = report.as_json if arguments.json else report.table
    sys.stdout.write(render(results, {**versions(), "peers": " ".join(PINS)}) + "\n")
    return 1 if any(result.failure for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
