"""What outlives the daemon: time, chance, the journal's disk, and what really happened outside."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from agentd.agent.approval import Approval
from agentd.agent.events import Entry
from agentd.agent.hosting import Completion
from agentd.agent.ids import DEFAULT_NAMESPACE, Namespace, RunId, RunIdentity
from agentd.agent.message import ModelRequest
from agentd.agent.permission import NO_LABELS, Labels
from agentd.agent.state import State
from agentd.agent.tool import EffectClass, Tool
from tests.fakes.journal import STORED, Commit, Outcome
from tests.invariants import Broken, Execution, ProviderCheck, replay
from tests.simulation.journal import SlowJournal

NAMESPACE: Namespace = DEFAULT_NAMESPACE
EPOCH_MS = 1_700_000_000_000
_SCHEMA = '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'


def toolset(name: str, timeout_ms: int, labels: Labels = NO_LABELS) -> tuple[Tool, ...]:
    """Return one tool of each effect class, some of which can say what became of a call."""
    return tuple(
        Tool(
            name,
            effect.name.lower(),
            "does one thing",
            _SCHEMA,
            effect=effect,
            timeout_ms=timeout_ms,
            reconcile=effect in (EffectClass.IDEMPOTENT, EffectClass.IRREVERSIBLE),
            simulate=effect in (EffectClass.READ_ONLY, EffectClass.IRREVERSIBLE),
            labels=labels,
        )
        for effect in EffectClass
    )


LOCAL = toolset("local", 8_000)
HOSTED = {
    "alpha": toolset("alpha", 15_000, Labels(private=True)),
    "beta": toolset("beta", 40_000, Labels(untrusted=True)),
}


class SimClock:
    """The wall clock: the loop's virtual time, from a fixed day on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return EPOCH_MS + int(self._loop.time() * 1000)


class SimEntropy:
    """Chance from a seed."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._count = 0

    def id(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count:08x}"

    def token(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def fraction(self) -> float:
        return self._random.random()


class Ledger:
    """What tools did, whoever ran them. Nobody in the simulation lies about it."""

    def __init__(self) -> None:
        self._executions: dict[str, list[Execution]] = {}

    def start(self, key: str, attempt: int, effect: EffectClass) -> Execution:
        """Note that a tool's code starts to run."""
        execution = Execution(key, attempt, effect)
        self._executions.setdefault(key, []).append(execution)
        return execution

    @property
    def count(self) -> int:
        """How many executions there were."""
        return sum(map(len, self._executions.values()))

    def of(self, key: str) -> Sequence[Execution]:
        """Return every execution of a call."""
        return self._executions.get(key, ())

    def of_run(self, run: RunId) -> Iterator[Execution]:
        """Return every execution of a run's calls."""
        for key, executions in self._executions.items():
            if key.startswith(f"runs/{run}/"):
                yield from executions


@dataclass(slots=True)
class Acknowledged:
    """What callers were told is durable."""

    runs: list[RunId] = field(default_factory=list)
    messages: list[tuple[RunId, int, str]] = field(default_factory=list)
    """Run, revision and text."""
    completions: list[Completion] = field(default_factory=list)
    cancels: list[RunId] = field(default_factory=list)
    decisions: list[Approval] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Blow:
    """One fault of the disk, at one commit, in a world where nothing else goes wrong."""

    commit: int
    outcome: Outcome


class World:
    """Everything outside the daemon. `faults` is the part of things that go wrong, 0 to 1."""

    def __init__(
        self, seed: int, loop: asyncio.AbstractEventLoop, blow: Blow | None = None
    ) -> None:
        self.seed = seed
        self.loop = loop
        self.clock = SimClock(loop)
        self.entropy = SimEntropy(self.chance("entropy"))
        self.faults = 0.0 if blow else self.chance("faults").choice((0.0, 0.3, 1.0, 1.0))
        self._blow = blow
        self._commits = 0
        self.ledger = Ledger()
        self.acknowledged = Acknowledged()
        self.violations: list[Broken] = []
        self.calm = False
        """Whether nothing goes wrong any more, and everybody brings things to an end."""
        self.requests = 0
        self.remembered: dict[str, tuple[str, str]] = {}
        """Kind and text of what runs have learned, by name."""
        self.steps = 0
        self._providers = ProviderCheck()
        self._disk_chance = self.chance("disk")
        self._full_until = 0.0
        self.journal = SlowJournal(self.clock, self._plan, self._lag)

    def chance(self, name: str) -> Random:
        """Return a stream of chance that no other part of the world draws from."""
        digest = hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=8).digest()
        return Random(int.from_bytes(digest))

    def goes_wrong(self, random: Random, probability: float) -> bool:
        """Whether a fault of some probability happens now."""
        return not self.calm and random.random() < probability * self.faults

    def check_request(self, request: ModelRequest) -> None:
        """Hold a model request to what its providers accept."""
        self.requests += 1
        try:
            self._providers.check(request)
        except (AssertionError, ValueError) as error:
            self.violation(f"{request.run} {request.key}: the transcript is not valid: {error}")

    def violation(self, message: str) -> None:
        """Note that an invariant does not hold."""
        self.violations.append(Broken(message))

    def history(self, run: RunIdentity) -> list[Entry]:
        """Read what is durable of a run, whatever the journal's faults."""
        return [row.entry() for row in self.journal._disk.chains.get(run.key, ())]

    def state_of(self, run: RunIdentity) -> State:
        """Fold what is durable of a run."""
        return replay(self.history(run))

    def _lag(self) -> float:
        random = self._disk_chance
        if self.goes_wrong(random, 0.01):
            return random.uniform(0, 2)
        return 0.0 if random.random() < 0.5 else random.uniform(0, 0.01)

    def _plan(self) -> Commit:
        self._commits += 1
        if self._blow and self._blow.commit == self._commits:
            return Commit(self._blow.outcome)
        random = self._disk_chance
        if self.goes_wrong(random, 0.001):
            self._full_until = self.loop.time() + random.uniform(0.5, 5)
        if not self.calm and self.loop.time() < self._full_until:
            return Commit(Outcome.FULL)
        if self.goes_wrong(random, 0.01):
            return Commit(random.choice((Outcome.LOST, Outcome.KEPT)), random.uniform(0, 0.2))
        if self.goes_wrong(random, 0.02):
            return Commit(delay_s=random.uniform(0, 3))
        return STORED if random.random() < 0.5 else Commit(delay_s=random.uniform(0, 0.02))
