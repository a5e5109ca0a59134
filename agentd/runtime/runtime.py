"""Join the parts of the runtime around a journal and the models."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import msgspec

from agentd.agent.ids import DEFAULT_AGENT, DEFAULT_NAMESPACE, RunIdentity
from agentd.agent.spec import Agent
from agentd.errors import invalid_field
from agentd.runtime.approvals import Approvals
from agentd.runtime.asking import Asking
from agentd.runtime.claims import RequestClaims
from agentd.runtime.driver import Driver
from agentd.runtime.engine import Engine
from agentd.runtime.expiry import Expiry
from agentd.runtime.hosting import Hosting
from agentd.runtime.hosts import Hosts
from agentd.runtime.judging import Judging
from agentd.runtime.learning import Learning
from agentd.runtime.leases import LeaseLimits, Leases
from agentd.runtime.library import Library
from agentd.runtime.local import LocalLimits, LocalTools
from agentd.runtime.manifests import Manifests
from agentd.runtime.memories import Memories, MemoryParts
from agentd.runtime.minding import Minding, NoMemory
from agentd.runtime.ports import (
    Clock,
    Entropy,
    Journal,
    LocalTool,
    Models,
    Remembering,
    Workspaces,
)
from agentd.runtime.reading import Reading
from agentd.runtime.recovery import Recovery
from agentd.runtime.redacting import Redact, Unsettled, none_unsettled
from agentd.runtime.scheduler import Scheduler, SchedulerLimits
from agentd.runtime.sessions import Sessions
from agentd.runtime.starting import RunLimits, Starting
from agentd.runtime.surroundings import Surroundings
from agentd.runtime.tasking import Tasks
from agentd.runtime.timers import Timers
from agentd.runtime.watch import Watches, WatchLimits
from agentd.tools.permissions import judge
from agentd.tools.registry import SHARED, Registry

_DEFAULT_AGENT = Agent(
    DEFAULT_NAMESPACE,
    DEFAULT_AGENT,
    display_name="Default",
    instructions="You are a helpful assistant.",
)


class RuntimeLimits(msgspec.Struct, frozen=True):
    """Every bound of the runtime."""

    runs: RunLimits = RunLimits()
    scheduler: SchedulerLimits = SchedulerLimits()
    leases: LeaseLimits = LeaseLimits()
    watches: WatchLimits = WatchLimits()
    local: LocalLimits = LocalLimits()
    model_timeout_s: float = 900.0


class NoWorkspaces:
    """The port `Workspaces` of a runtime whose tools need no folder."""

    def own(self, _: RunIdentity) -> str:
        """Give a run no folder."""
        return ""

    def named(self, path: str) -> str:
        """Refuse every folder."""
        raise invalid_field("run.workspace", f"{path!r} is of no use here: no tool needs a folder")


class Outside(msgspec.Struct, frozen=True):
    """What the runtime is built around."""

    journal: Journal
    models: Models
    clock: Clock
    entropy: Entropy
    local_tools: Mapping[str, LocalTool] | None = None
    """Tools that run in this process, by `toolset/tool`."""
    redact: Redact | None = None
    """Takes secrets out of a text; None when there are none."""
    unsettled: Unsettled = none_unsettled
    """Says how much of the end of a text that goes on cannot be redacted yet."""
    boundary: Callable[[str], None] | None = None
    """Called between an effect's record and its dispatch, after its dispatch, and when a fact
    arrives: the points at which the crash tests kill."""
    workspaces: Workspaces = msgspec.field(default_factory=NoWorkspaces)
    memory: MemoryParts | None = None
    """What memories are found with; without it there are none."""
    remembering: Remembering | None = None
    """What runs know of earlier work; None for what the memories say, if there are any."""


class Runtime:
    """The parts of the runtime, joined. Nothing starts before `serving`."""

    def __init__(self, outside: Outside, limits: RuntimeLimits | None = None) -> None:
        limits = limits or RuntimeLimits()
        journal, clock, entropy = outside.journal, outside.clock, outside.entropy
        self.journal = journal
        claims = RequestClaims(journal, clock)
        leases, timers = Leases(), Timers(clock)
        self.registry = Registry()
        self.manifests = Manifests(journal, self.registry, clock)
        self.library = Library(journal, clock, entropy, claims, _DEFAULT_AGENT)
        self.sessions = Sessions(journal, clock, entropy, claims)
        self.memories = _memories(outside, claims)
        self.watches = Watches(journal, limits.watches, outside.redact)
        self.hosts = Hosts(leases, clock, entropy, limits.leases)
        self.local_tools = LocalTools(outside.local_tools, limits.local)
        self._starting = self._build_starting(outside, limits)
        judging = Judging(judge, self.local_tools)
        around = self._surroundings(outside, timers, limits, judging)
        self.scheduler = Scheduler(around, timers, clock, entropy, limits.scheduler)
        self.reading = Reading(journal, self.scheduler, leases)
        self.hosting = Hosting(
            manifests=self.manifests,
            scheduler=self.scheduler,
            reading=self.reading,
            watches=self.watches,
            hosts=self.hosts,
            leases=leases,
        )
        self._expiry = Expiry(self.scheduler, self.hosts, leases, clock, limits.leases)
        self.engine = self._engine(journal, claims, entropy, limits.runs)
        self.approvals = Approvals(
            around=around,
            library=self.library,
            claims=claims,
            judging=judging,
            scheduler=self.scheduler,
            reading=self.reading,
        )
        self.tasks = Tasks(journal, self.reading, self.scheduler)
        self._recovery = Recovery(self.scheduler, timers)
        self.hosts.wake = self.scheduler.wake
        self.local_tools.wake = self.scheduler.wake
        self.scheduler.on_ended = self._run_ended

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Recover, and drive runs until the block is left; leaving records nothing."""
        async with asyncio.TaskGroup() as group:
            ready = asyncio.Event()
            tasks = [
                group.create_task(self.scheduler.serve(ready.set)),
                group.create_task(self._expiry.keep()),
            ]
            try:
                await ready.wait()
                await self.manifests.restore()
                self._recovery.take_over(await self.journal.unfinished_runs())
                tasks.append(group.create_task(self._recovery.resume()))
                if self.memories is not None:
                    tasks.append(group.create_task(self.memories.keep()))
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def offer_local(self, old: Mapping[str, LocalTool], new: Mapping[str, LocalTool]) -> None:
        """Offer other tools of this process instead of some, in every namespace."""
        await self.manifests.register(SHARED, [tool.manifest for tool in new.values()])
        self.local_tools.replace(old, new)
        self.hosts.recall(new.keys())

    def _engine(
        self, journal: Journal, claims: RequestClaims, entropy: Entropy, limits: RunLimits
    ) -> Engine:
        return Engine(
            journal=journal,
            sessions=self.sessions,
            claims=claims,
            starting=self._starting,
            scheduler=self.scheduler,
            reading=self.reading,
            entropy=entropy,
            limits=limits,
        )

    def _build_starting(self, outside: Outside, limits: RuntimeLimits) -> Starting:
        return Starting(
            journal=outside.journal,
            library=self.library,
            models=outside.models,
            registry=self.registry,
            clock=outside.clock,
            limits=limits.runs,
            manifests=self.manifests,
            workspaces=outside.workspaces,
            settled=self.local_tools.settled,
            redact=outside.redact,
        )

    def _surroundings(
        self, outside: Outside, timers: Timers, limits: RuntimeLimits, judging: Judging
    ) -> Surroundings:
        asking = Asking(
            models=outside.models,
            clock=outside.clock,
            entropy=outside.entropy,
            instructions=self._starting.instructions,
            publish_delta=self.watches.publish_delta,
            judging=judging,
            timeout_s=limits.model_timeout_s,
            unsettled=outside.unsettled,
        )
        return Surroundings(
            outside.journal,
            self._starting,
            asking,
            self.hosts,
            self.registry,
            outside.clock,
            timers.wake_at,
            timers.stop_at,
            self.local_tools,
            Minding(outside.remembering or self._learning()),
            outside.redact,
            outside.boundary,
        )

    def _learning(self) -> Remembering:
        return Learning(self.memories) if self.memories else NoMemory()

    def _run_ended(self, driver: Driver) -> None:
        # A run that never started has no more than its goal: what came before it is not there yet.
        if driver.identity.session and driver.transcript and driver.state.started:
            self._starting.remember(driver.identity, driver.transcript.closing())
        self.reading.run_ended(driver)


def _memories(outside: Outside, claims: RequestClaims) -> Memories | None:
    if outside.memory is None:
        return None
    journal, clock, entropy = outside.journal, outside.clock, outside.entropy
    return Memories(journal, clock, entropy, claims, outside.memory, redact=outside.redact)
