"""Measure agentd's runtime in a process of its own, with no daemon around it."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from tests.benchmarks.harness import Measure, Round, UnavailableError
from tests.benchmarks.ours.daemon import environment
from tests.benchmarks.process import python, run_to_end
from tests.benchmarks.work import RECOVERED_RUNS, Work

TIMEOUT_S = 150.0
LONG_STEPS, SHORT_STEPS, SHORT_RUNS = 2_000, 20, 100
SHORT_HISTORY = 10
"""The steps that a run of 20 has behind it in the middle."""
KILLED = -9

RUNTIME = "tests.benchmarks.ours.in_process"


async def run_child(
    round: Round,
    *arguments: str,
    directory: Path | None = None,
    code: int = 0,
    module: str = RUNTIME,
) -> Mapping[str, float]:
    """Run a child on a directory, a new one unless one is given; return the figures it prints.

    Raises UnavailableError when it does not end with the code, with the last line that it said.
    """
    place = directory or Path(mkdtemp(dir=round.directory))
    command = (python(), "-m", module, *arguments, "--directory", str(place))
    ended, output, errors = await run_to_end(
        command, environment=environment(place), timeout_s=TIMEOUT_S
    )
    if ended != code:
        last = errors.strip().splitlines()[-1:] or [f"exit code {ended}"]
        raise UnavailableError(f"{module} failed: {last[0]}")
    figures: Mapping[str, float] = json.loads(output.strip().splitlines()[-1])
    return figures


def _sizes(work: Work) -> Sequence[str]:
    return (
        *("--runs", str(work.runs)),
        *("--steps", str(work.steps)),
        *("--repeats", str(work.repeats)),
    )


@cache
def rate(work: Work) -> Measure:
    """Return a measure of durable steps a second, one subscriber for each run."""

    async def measure(round: Round) -> float:
        figures = await run_child(round, "rate", *_sizes(work.in_round(round)))
        return figures["steps_per_s"]

    return measure


async def parked_bytes(round: Round) -> float:
    """Return the resident bytes of a run that waits for a host, one of 10,000."""
    runs = str(round.count(RECOVERED_RUNS))
    return (await run_child(round, "park", "--runs", runs))["bytes_per_run"]


@cache
def cpu_us_at(history: int) -> Measure:
    """Return a measure of the CPU time of a step behind which so many lie, of all threads."""

    async def measure(round: Round) -> float:
        return (await run_child(round, "grow", "--steps", str(history)))["cpu_us_per_step"]

    return measure


async def cpu_growth(round: Round) -> float:
    """Return the CPU time of a step behind 2,000 over that of a step in the middle of 20."""
    long = await cpu_us_at(LONG_STEPS)(round)
    return long / await cpu_us_at(SHORT_HISTORY)(round)


async def disk_growth(round: Round) -> float:
    """Return the database's bytes for each step of a run of 2,000 over those in runs of 20."""
    long = await run_child(round, "store", *_sizes(Work(1, LONG_STEPS)))
    short = await run_child(round, "store", *_sizes(Work(SHORT_RUNS, SHORT_STEPS)))
    return long["disk_bytes_per_step"] / short["disk_bytes_per_step"]
