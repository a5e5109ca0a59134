"""The work that agentd and its peers are given alike.

A step is a turn of a scripted model that takes no time and asks for one tool call, and that call,
which adds two integers; both halves are durable. A run ends with one more turn, its answer.
"""

from dataclasses import dataclass

from tests.benchmarks.harness import Round


@dataclass(frozen=True, slots=True)
class Work:
    """So many runs at once, each of so many steps, so many times over."""

    runs: int
    steps: int
    repeats: int = 1

    def in_round(self, round: Round) -> "Work":
        """Return the work of a round: less of it when quick, but as many runs at once."""
        if self.repeats > 1:
            return Work(self.runs, self.steps, round.count(self.repeats))
        return Work(self.runs, round.count(self.steps))


ONE = Work(runs=1, steps=20, repeats=8)
HUNDRED = Work(runs=100, steps=20)
THOUSAND = Work(runs=1000, steps=2)

RECOVERED_RUNS = 10_000
"""How many unfinished runs a recovery is given, or is reckoned for."""
