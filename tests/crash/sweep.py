"""Sweeps: a scenario played without a crash, then with one at every boundary or at some."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from agentd.agent.ids import RunId
from agentd.errors import AgentdError
from tests.crash.daemon import BOUNDARIES
from tests.crash.scenario import Scenario
from tests.crash.trial import COMMAND, Crash, Played, Trial
from tests.crash.verdict import RunResult, check_trial, compare, read_journal, results_of
from tests.e2e.daemon import Home
from tests.invariants import Broken


@dataclass(frozen=True, slots=True)
class Reference:
    """How a scenario goes without a crash."""

    scenario: Scenario
    results: Mapping[RunId, RunResult]
    boundaries: Mapping[str, int]
    """How many of each kind there were. Group commit makes it a few more or less each time."""


async def play(
    scenario: Scenario, crashes: Sequence[Crash], command: Sequence[str] = COMMAND
) -> tuple[Played, Mapping[RunId, RunResult]]:
    """Play a scenario once and judge it. Raises Broken."""
    with Home() as home:
        trial = Trial(scenario, home, command)
        try:
            played = await trial.play(crashes)
        except Exception as error:
            cause = _deepest(error)
            if not isinstance(cause, TimeoutError | AgentdError | AssertionError):
                raise
            raise Broken(f"{cause!r} while {trial.unfinished()}") from error
        histories = await read_journal(home.state)
        check_trial(played, histories)
        return played, results_of(histories)


def _deepest(error: BaseException) -> BaseException:
    """Return the first error of a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def reference(scenario: Scenario) -> Reference:
    """Play a scenario without a crash."""
    played, results = await play(scenario, ())
    return Reference(scenario, results, played.boundaries)


async def crash(
    known: Reference, crashes: Sequence[Crash], command: Sequence[str] = COMMAND
) -> int:
    """Play a scenario with crashes and compare; return how many of them it came to.

    Raises Broken.
    """
    played, results = await play(known.scenario, crashes, command)
    compare(known.scenario, known.results, results)
    return played.crashes


def every(known: Reference) -> Iterator[Sequence[Crash]]:
    """Yield a crash at each boundary of each kind."""
    for kind in BOUNDARIES:
        for number in range(1, known.boundaries[kind] + 1):
            yield (Crash(number, kind),)


def sample(known: Reference, random: Random) -> Iterator[Sequence[Crash]]:
    """Yield crashes at boundaries of each kind in turn, some with a second soon after the first,
    without end."""
    while True:
        for kind in BOUNDARIES:
            crashes = [Crash(random.randint(1, known.boundaries[kind]), kind)]
            if random.random() < 0.3:
                crashes.append(Crash(random.randint(1, 30)))
            yield crashes
