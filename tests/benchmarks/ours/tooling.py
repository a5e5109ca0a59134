"""Measure the sandbox and the checks of calls in a process of their own."""

from functools import cache

from tests.benchmarks.harness import Measure, Round
from tests.benchmarks.ours.runtimes import run_child

_MODULE = "tests.benchmarks.ours.sandboxed"
COMMANDS = 60


@cache
def figure(what: str, name: str) -> Measure:
    """Return a measure of one of the figures of a program that measures several."""

    async def measure(round: Round) -> float:
        count = str(round.count(COMMANDS))
        return (await run_child(round, what, "--count", count, module=_MODULE))[name]

    return measure
