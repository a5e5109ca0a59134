"""What every run of a daemon shares."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from agentd.agent.hosting import Invocation, Outcome
from agentd.agent.ids import RunIdentity
from agentd.runtime.asking import Asking
from agentd.runtime.hosts import Hosts
from agentd.runtime.ports import Clock, Journal
from agentd.runtime.starting import Starting
from agentd.tools.registry import Registry

LocalTool = Callable[[Invocation], Awaitable[Outcome]]
"""A tool that runs in the daemon's own process."""


@dataclass(slots=True)
class Surroundings:
    """The parts of the runtime that a run's driver uses."""

    journal: Journal
    starting: Starting
    asking: Asking
    hosts: Hosts
    registry: Registry
    clock: Clock
    delay_wake: Callable[[RunIdentity, int], None]
    """Has a run woken at a time in milliseconds since the epoch."""
    watch_deadline: Callable[[RunIdentity, int], None]
    """Has a run stopped at a time in milliseconds since the epoch."""
    local_tools: dict[str, LocalTool] = field(default_factory=dict)
    """By `toolset/tool`."""
    boundary: Callable[[str], None] | None = None
    """Called at the points where a crash is tested."""
    draining: bool = False
    """Whether nothing new may start."""
