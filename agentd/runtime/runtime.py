"""Join the parts of the runtime around a journal and the models."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from agentd.agent.ids import DEFAULT_AGENT, DEFAULT_NAMESPACE
from agentd.agent.spec import Agent
from agentd.runtime.asking import Asking
from agentd.runtime.claims import RequestClaims
from agentd.runtime.driver import LocalTool, Surroundings
from agentd.runtime.engine import Engine
from agentd.runtime.hosts import Hosts, LeaseLimits
from agentd.runtime.library import Library
from agentd.runtime.ports import Clock, Entropy, Journal, Models
from agentd.runtime.scheduler import Scheduler, SchedulerLimits
from agentd.runtime.sessions import Sessions
from agentd.runtime.starting import RunLimits, Starting
from agentd.runtime.watch import Watches, WatchLimits
from agentd.tools.registry import Registry

_DEFAULT_AGENT = Agent(
    DEFAULT_NAMESPACE,
    DEFAULT_AGENT,
    display_name="Default",
    instructions="You are a helpful assistant. Use the tools you are given when they help.",
)


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """Every bound of the runtime."""

    runs: RunLimits = RunLimits()
    scheduler: SchedulerLimits = SchedulerLimits()
    leases: LeaseLimits = LeaseLimits()
    watches: WatchLimits = WatchLimits()
    model_timeout_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of the runtime that services talk to."""

    engine: Engine
    library: Library
    sessions: Sessions
    registry: Registry
    hosts: Hosts
    watches: Watches
    scheduler: Scheduler
    journal: Journal
    models: Models
    local_tools: dict[str, LocalTool] = field(default_factory=dict)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Recover, and drive runs until the block is left; leaving records nothing."""
        async with asyncio.TaskGroup() as group:
            ready = asyncio.Event()
            tasks = [
                group.create_task(self.scheduler.serve(ready.set)),
                group.create_task(self.hosts.sweep()),
            ]
            try:
                await ready.wait()
                await self.engine.recover()
                yield
            finally:
                for task in tasks:
                    task.cancel()


def build_runtime(
    journal: Journal,
    models: Models,
    clock: Clock,
    entropy: Entropy,
    *,
    limits: RuntimeLimits | None = None,
    local_tools: Mapping[str, LocalTool] | None = None,
    default_agent: Agent = _DEFAULT_AGENT,
    boundary: Callable[[str], None] | None = None,
) -> Runtime:
    """Build the runtime. Nothing starts before `Runtime.serving`.

    `boundary` is called between an effect's record and its dispatch, after its dispatch, and when a
    fact arrives: the points at which the crash tests kill.
    """
    limits = limits or RuntimeLimits()
    registry = Registry()
    claims = RequestClaims(journal, clock)
    library = Library(journal, clock, entropy, claims, default_agent)
    sessions = Sessions(journal, clock, entropy, claims)
    starting = Starting(
        journal=journal,
        library=library,
        models=models,
        registry=registry,
        clock=clock,
        limits=limits.runs,
    )
    engine = Engine(
        journal=journal,
        library=library,
        sessions=sessions,
        claims=claims,
        registry=registry,
        starting=starting,
        clock=clock,
        entropy=entropy,
        limits=limits.runs,
    )
    watches = Watches(journal, limits.watches)
    hosts = Hosts(engine, clock, entropy, limits.leases)
    asking = Asking(
        models=models,
        registry=registry,
        clock=clock,
        entropy=entropy,
        instructions=starting.instructions,
        publish_delta=watches.publish_delta,
        timeout_s=limits.model_timeout_s,
    )
    tools = dict(local_tools or {})
    around = Surroundings(
        journal=journal,
        asking=asking,
        hosts=hosts,
        registry=registry,
        clock=clock,
        local_tools=tools,
        load_transcript=starting.transcript,
        resolve_start=starting.start,
        boundary=boundary,
    )
    scheduler = Scheduler(around, clock, entropy, engine.run_ended, limits.scheduler)
    around.connect(scheduler.wake_at, scheduler.watch_deadline)
    engine.connect(scheduler, hosts, watches.publish_delta)
    return Runtime(
        engine, library, sessions, registry, hosts, watches, scheduler, journal, models, tools
    )
