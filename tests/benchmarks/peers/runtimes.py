"""Measure other runtimes at the work that agentd is given."""

import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic

from tests.benchmarks.harness import Comparison, Measure, Round
from tests.benchmarks.peers.environment import interpreter, peer_environment, run_script
from tests.benchmarks.process import child
from tests.benchmarks.work import HUNDRED, ONE, RECOVERED_RUNS, THOUSAND, Work

LANGGRAPH = Path(__file__).with_name("langgraph_steps.py")
DBOS = Path(__file__).with_name("dbos_steps.py")
PARKED_RUNS = 500
LANGGRAPH_WAITING = 500
DBOS_WAITING = 300
DBOS_STEPS_BEFORE = 6
"""The steps of a run whose last is the one that recovery takes; DBOS replays those before."""
LONG_STEPS, SHORT_STEPS = 300, 20
COLD_STARTS = 3
KILLED = -9


async def _run(
    script: Path, round: Round, *arguments: str, directory: Path | None = None, code: int = 0
) -> Mapping[str, float]:
    """Run a peer's script, with a directory of its own unless one is given."""
    place = directory or Path(mkdtemp(dir=round.directory))
    return await run_script(script, (*arguments, "--directory", str(place)), place, code=code)


def _sizes(work: Work) -> Sequence[str]:
    return (
        *("--runs", str(work.runs)),
        *("--steps", str(work.steps)),
        *("--repeats", str(work.repeats)),
    )


@cache
def rate(script: Path, work: Work) -> Measure:
    """Return a measure of a peer's durable steps a second."""

    async def measure(round: Round) -> float:
        figures = await _run(script, round, "rate", *_sizes(work.in_round(round)))
        return figures["steps_per_s"]

    return measure


@cache
def start_ms(script: Path) -> Measure:
    """Return a measure of the time from starting a peer's process to its first durable step."""

    async def measure(round: Round) -> float:
        python, times = str(await interpreter()), []
        for _ in range(COLD_STARTS):
            place = Path(mkdtemp(dir=round.directory))
            command = (python, str(script), "start", "--directory", str(place))
            began = monotonic()
            async with child(command, environment=peer_environment(place), until_line=b"READY"):
                times.append(monotonic() - began)
        return statistics.median(times) * 1e3

    return measure


async def langgraph_parked_bytes(round: Round) -> float:
    """Return the resident bytes of a LangGraph run that waits, kept by its InMemorySaver."""
    runs = str(round.count(PARKED_RUNS))
    figures = await _run(LANGGRAPH, round, "interrupt", "--memory", "--runs", runs)
    return figures["bytes_per_run"]


async def langgraph_resume_s(round: Round) -> float:
    """Return the seconds for a new process to take 10,000 waiting LangGraph runs one step on,
    reckoned linearly from fewer; never from less than that, since the start is in it."""
    runs = LANGGRAPH_WAITING
    place = Path(mkdtemp(dir=round.directory))
    await _run(LANGGRAPH, round, "interrupt", "--runs", str(runs), directory=place)
    figures = await _run(LANGGRAPH, round, "resume", "--runs", str(runs), directory=place)
    return figures["seconds"] / runs * RECOVERED_RUNS


async def dbos_recover_s(round: Round) -> float:
    """Return the seconds for a new process to take 10,000 runs of a killed DBOS one step on,
    reckoned linearly from fewer; never from less than that, since the start is in it."""
    runs = DBOS_WAITING
    place = Path(mkdtemp(dir=round.directory))
    sizes = _sizes(Work(runs, DBOS_STEPS_BEFORE))
    await _run(DBOS, round, "leave", *sizes, directory=place, code=KILLED)
    figures = await _run(DBOS, round, "recover", *sizes, directory=place)
    return figures["seconds"] / runs * RECOVERED_RUNS


@cache
def langgraph_growth(figure: str) -> Measure:
    """Return a measure of what a LangGraph step costs in runs of 300 steps against runs of 20."""

    async def measure(round: Round) -> float:
        long = await _run(LANGGRAPH, round, "rate", *_sizes(Work(1, LONG_STEPS)))
        short = await _run(LANGGRAPH, round, "rate", *_sizes(Work(1, SHORT_STEPS, repeats=8)))
        return long[figure] / short[figure]

    return measure


def _peer(name: str, unit: str, measures: Mapping[Path, Measure], *, higher: bool) -> Comparison:
    names = {LANGGRAPH: "LangGraph, SQLite", DBOS: "DBOS, SQLite"}
    references = {names[script]: measure for script, measure in measures.items()}
    return Comparison(f"peers.{name}", unit, higher, references)


def _both(name: str, work: Work) -> Comparison:
    measures = {script: rate(script, work) for script in (LANGGRAPH, DBOS)}
    return _peer(name, "steps/s", measures, higher=True)


ROWS = (
    _both("steps-1", ONE),
    _both("steps-100", HUNDRED),
    _both("steps-1000", THOUSAND),
    _peer("start", "ms", {script: start_ms(script) for script in (LANGGRAPH, DBOS)}, higher=False),
    _peer("recovery", "s", {LANGGRAPH: langgraph_resume_s, DBOS: dbos_recover_s}, higher=False),
    Comparison(
        "peers.parked", "bytes", False, {"LangGraph, InMemorySaver": langgraph_parked_bytes}
    ),
    _peer("growth-cpu", "times", {LANGGRAPH: langgraph_growth("cpu_us_per_step")}, higher=False),
    _peer(
        "growth-disk", "times", {LANGGRAPH: langgraph_growth("disk_bytes_per_step")}, higher=False
    ),
)
