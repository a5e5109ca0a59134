"""The tools that run in the daemon's own process: which there are, and how many calls at a time."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping

import msgspec

from agentd.agent.ids import RunIdentity, RunKey
from agentd.runtime.ports import LocalTool

OPENING_S = 10.0
"""How long a request waits for the tools of a daemon that has just started."""


class LocalLimits(msgspec.Struct, frozen=True):
    """How many calls run in this process."""

    max_calls: int = 10_000
    max_calls_per_tool: int = 10_000


class LocalTools(Mapping[str, LocalTool]):
    """The tools by `toolset/tool`, and the room for their calls. Lives on the event loop.

    A run that finds no room waits in the line of its tool. Room that becomes free is kept for the
    first in a line, which is woken; what it does not take goes to the next.
    """

    def __init__(self, tools: Mapping[str, LocalTool] | None, limits: LocalLimits) -> None:
        self._tools = dict(tools or {})
        self._limits = limits
        self._in_use: Counter[str] = Counter()
        self._total = 0
        self._lines: dict[str, OrderedDict[RunKey, RunIdentity]] = {}
        self._kept: dict[RunKey, list[str]] = {}
        """The tools for which room is kept for a run that was woken."""
        self._open = asyncio.Event()
        self._open.set()
        self.wake: Callable[[RunIdentity], None]
        """Has a run look again for room; set by the composition of the runtime."""

    def __getitem__(self, path: str) -> LocalTool:
        return self._tools[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, path: object) -> bool:
        return path in self._tools

    # Which tools there are.

    def expect(self) -> None:
        """Have `settled` wait until `settle` was called."""
        self._open.clear()

    async def settled(self) -> None:
        """Wait until the tools of this process are known, or seem not to come."""
        if not self._open.is_set():
            try:
                async with asyncio.timeout(OPENING_S):
                    await self._open.wait()
            except TimeoutError:
                self._open.set()

    def replace(self, old: Mapping[str, LocalTool], new: Mapping[str, LocalTool]) -> None:
        """Offer other tools instead of some. Calls of a tool that is gone wait for a host."""
        for path in old.keys() - new.keys():
            self._tools.pop(path, None)
        self._tools.update(new)

    def settle(self) -> None:
        """Say that the tools are known, as far as they will soon be."""
        self._open.set()

    # Room.

    def acquire(self, run: RunIdentity, path: str) -> bool:
        """Take room for a call, or have the run woken when there is some."""
        kept = self._kept.get(run.key)
        if kept and path in kept:
            kept.remove(path)
            return True
        if self._room(path) > 0:  # Then nobody waits: what is returned goes to the lines first.
            self._take(path)
            return True
        self._lines.setdefault(path, OrderedDict())[run.key] = run
        return False

    def release(self, path: str) -> None:
        """Return the room of a call."""
        self._in_use[path] -= 1
        self._total -= 1
        if not self._in_use[path]:
            del self._in_use[path]
        if self._lines:
            self._offer()

    def pass_on(self, run: RunIdentity) -> None:
        """Return what is left of the room that was kept for a run, once it has asked for all it
        wants."""
        for path in self._kept.pop(run.key, ()):
            self.release(path)

    def forget(self, run: RunIdentity) -> None:
        """Stop waking a run that has ended."""
        for path, line in tuple(self._lines.items()):
            self._leave(path, line, run.key)
        self.pass_on(run)

    def _room(self, path: str) -> int:
        own = self._limits.max_calls_per_tool - self._in_use[path]
        return min(own, self._limits.max_calls - self._total)

    def _take(self, path: str) -> None:
        self._in_use[path] += 1
        self._total += 1

    def _offer(self) -> None:
        for path, line in tuple(self._lines.items()):
            while line and self._room(path) > 0:
                run = next(iter(line.values()))
                self._leave(path, line, run.key)
                self._take(path)
                self._kept.setdefault(run.key, []).append(path)
                self.wake(run)

    def _leave(self, path: str, line: OrderedDict[RunKey, RunIdentity], key: RunKey) -> None:
        line.pop(key, None)
        if not line:
            self._lines.pop(path, None)
