"""What every run of a daemon shares."""

from collections.abc import Callable, Sequence

import msgspec

from agentd.agent.events import GrantedTool
from agentd.agent.ids import RunIdentity
from agentd.runtime.asking import Asking
from agentd.runtime.hosts import Hosts
from agentd.runtime.kept import Kept
from agentd.runtime.local import LocalTools
from agentd.runtime.minding import Minding
from agentd.runtime.ports import Clock, Journal
from agentd.runtime.redacting import Redact
from agentd.runtime.starting import Starting
from agentd.tools.registry import Registry
from agentd.tools.toolkit import Toolkit, build_toolkit

TOOLKITS = 256
"""Toolkits that are kept for the next run."""


class Surroundings(msgspec.Struct):
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
    local_tools: LocalTools
    minding: Minding
    redact: Redact | None = None
    """Takes secrets out of a text; None when there are none."""
    boundary: Callable[[str], None] | None = None
    """Called at the points where a crash is tested."""
    draining: bool = False
    """Whether nothing new may start."""
    _toolkits: Kept[tuple[str, ...], Toolkit] = msgspec.field(
        default_factory=lambda: Kept(TOOLKITS)
    )

    def pass_on(self, run: RunIdentity) -> None:
        """Offer others the room that a run was woken for and does not want, at hosts and here."""
        self.hosts.pass_on(run)
        self.local_tools.pass_on(run)

    def forget(self, run: RunIdentity) -> None:
        """Stop waking a run that has ended."""
        self.hosts.forget(run)
        self.local_tools.forget(run)

    def toolkit(self, granted: Sequence[GrantedTool]) -> Toolkit:
        """Return the toolkit of runs that were granted these tools. Most runs share theirs."""
        key = tuple(f"{tool.alias} {tool.digest}" for tool in granted)
        toolkit = self._toolkits.get(key)
        if toolkit is None:
            toolkit = self._toolkits.keep(key, build_toolkit(self.registry, granted))
        return toolkit
