"""Measure rows in interleaved rounds; it knows nothing of agentd and asserts nothing by time."""

import asyncio
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Protocol

from tests.benchmarks.machine import CpuWindow

FOREIGN_CPU_LIMIT = 0.08
"""The share of the machine that other work may use before a measurement counts as disturbed."""
ATTEMPTS = 3
"""How often a disturbed measurement is made before it is taken as it is, and marked."""
QUIET_PATIENCE_S = 5.0
"""How long a measurement waits for other work to leave the machine alone."""
MEASURE_TIMEOUT_S = 600.0
"""When a measurement is given up; long enough for the peers' environment to be built in it."""


class UnavailableError(Exception):
    """Something to measure against cannot be had here, such as a peer without its packages."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a row must reach, and what it aims for (design §13)."""

    must: float
    aim: float
    against: str | None = None
    """The reference whose ratio is meant; None means our figure itself."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round: what a measurement may know of it."""

    number: int
    quick: bool
    directory: Path
    """Empties itself after the measurement, and lies on a real file system."""
    cache: dict["Measure", float] = field(default_factory=dict)
    """The references of this round, so that rows that share one also share its figure."""

    def seconds(self, full: float) -> float:
        """Return how long a measurement of a rate goes on."""
        return full / 4 if self.quick else full

    def count(self, full: int) -> int:
        """Return how much work a measurement does."""
        return max(1, full // 4) if self.quick else full

    async def once(self, measure: "Measure") -> float:
        """Measure, or return what this round has found already."""
        if measure not in self.cache:
            self.cache[measure] = await measure(self)
        return self.cache[measure]


Measure = Callable[[Round], Awaitable[float]]
"""Measures one side of a row, in the row's unit. Raises UnavailableError when it cannot be had."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one measurement of a row found, in the row's unit."""

    ours: float | None = None
    references: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    """References that could not be measured, and why."""


class Row(Protocol):
    """One row of the table."""

    @property
    def name(self) -> str:
        """`topic.what`, which `--only` selects by."""
        ...

    @property
    def unit(self) -> str:
        """The unit of every figure of the row."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better."""
        ...

    @property
    def targets(self) -> Sequence[Target]:
        """What the row must reach."""
        ...

    async def measure(self, round: Round) -> Figures:
        """Measure ours and what it is held against, one soon after the other."""
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row whose sides are measured by one function each. Rows that the daemon cannot fill yet
    have no `ours`: setting it is all that it takes to add them."""

    name: str
    unit: str
    higher_is_better: bool = True
    references: Mapping[str, Measure] = field(default_factory=dict)
    """By what the table calls them. One function is measured once a round, for all rows."""
    ours: Measure | None = None
    targets: Sequence[Target] = ()

    async def measure(self, round: Round) -> Figures:
        """Measure; in every other round ours comes last, so that a drift favours neither side."""
        ours: float | None = None
        if self.ours is not None and round.number % 2 == 0:
            ours = await self.ours(round)
        found: dict[str, float] = {}
        missing: dict[str, str] = {}
        for name, reference in self.references.items():
            try:
                found[name] = await round.once(reference)
            except UnavailableError as why:
                missing[name] = str(why)
        if self.ours is not None and ours is None:
            ours = await self.ours(round)
        return Figures(ours, found, missing)


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one round, and how quiet the machine was."""

    figures: Figures
    foreign_cpu: float

    @property
    def disturbed(self) -> bool:
        """Whether other work took more of the machine than a figure can bear."""
        return self.foreign_cpu > FOREIGN_CPU_LIMIT


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the ends of some figures."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Return the spread of the values, None when there are none."""
        if not values:
            return None
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Result:
    """A row with what all rounds found."""

    row: Row
    samples: Sequence[Sample]
    failure: str = ""

    @property
    def disturbed_count(self) -> int:
        """How many of the samples are kept although other work disturbed them."""
        return sum(sample.disturbed for sample in self._kept)

    @property
    def _kept(self) -> Sequence[Sample]:
        quiet = [sample for sample in self.samples if not sample.disturbed]
        return quiet or self.samples

    @property
    def ours(self) -> Spread | None:
        """Our figure over the rounds."""
        values = [sample.figures.ours for sample in self._kept]
        return Spread.of([value for value in values if value is not None])

    def reference_names(self) -> Sequence[str]:
        """Return the references that were found or missed, in the row's order."""
        names: dict[str, None] = {}
        for sample in self.samples:
            names |= dict.fromkeys((*sample.figures.references, *sample.figures.missing))
        return tuple(names)

    def reference(self, name: str) -> Spread | None:
        """Return a reference's figure over the rounds."""
        found = (sample.figures.references for sample in self._kept)
        return Spread.of([figures[name] for figures in found if name in figures])

    def ratio(self, name: str) -> Spread | None:
        """Return ours over the reference, each ratio taken inside one round."""
        return Spread.of(
            [
                sample.figures.ours / sample.figures.references[name]
                for sample in self._kept
                if sample.figures.ours is not None and sample.figures.references.get(name)
            ]
        )

    def missing(self, name: str) -> str:
        """Return why a reference has no figure, empty when it has one."""
        for sample in self.samples:
            if name in sample.figures.missing:
                return sample.figures.missing[name]
        return ""

    def verdict(self, target: Target) -> str:
        """Return `aim`, `must` or `missed`; empty when there is nothing to judge."""
        spread = self.ours if target.against is None else self.ratio(target.against)
        if spread is None:
            return ""
        for word, bound in (("aim", target.aim), ("must", target.must)):
            if spread.median >= bound if self.row.higher_is_better else spread.median <= bound:
                return word
        return "missed"


async def measure_rows(
    rows: Sequence[Row], *, rounds: int, quick: bool, progress: Callable[[str], None]
) -> Sequence[Result]:
    """Measure every row once a round, so that a drift of the machine meets all of them alike."""
    samples: dict[str, list[Sample]] = {row.name: [] for row in rows}
    failures: dict[str, str] = {}
    for number in range(rounds):
        cache: dict[Measure, float] = {}
        for row in rows:
            if row.name in failures:
                continue
            progress(f"round {number + 1} of {rounds}: {row.name}")
            try:
                samples[row.name].append(await _sample(row, number, quick, cache))
            except TimeoutError:
                failures[row.name] = "did not end in time"
            except UnavailableError as why:
                failures[row.name] = str(why)
    return [Result(row, samples[row.name], failures.get(row.name, "")) for row in rows]


async def _sample(row: Row, number: int, quick: bool, cache: dict[Measure, float]) -> Sample:
    """Measure a row, again when the machine was not ours, and keep the quietest."""
    best: Sample | None = None
    for _ in range(1 if quick else ATTEMPTS):
        await _quiet(0.0 if quick else QUIET_PATIENCE_S)
        known = dict(cache)
        window = CpuWindow.open()
        with tempfile.TemporaryDirectory(prefix="agentd-benchmark-") as directory:
            async with asyncio.timeout(MEASURE_TIMEOUT_S):
                figures = await row.measure(Round(number, quick, Path(directory), known))
        sample = Sample(figures, window.foreign_share())
        if best is None or sample.foreign_cpu < best.foreign_cpu:
            best = sample
        if not sample.disturbed:
            cache |= known
            break
    assert best is not None
    return best


async def _quiet(patience_s: float) -> None:
    """Wait, not for ever, until other work leaves the machine alone."""
    deadline = monotonic() + patience_s
    while monotonic() < deadline:
        window = CpuWindow.open()
        await asyncio.sleep(0.2)
        if window.foreign_share() <= FOREIGN_CPU_LIMIT:
            return
