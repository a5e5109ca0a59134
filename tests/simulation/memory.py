"""A memory that outlives the daemon, is slow, and does not always work."""

import asyncio
from collections.abc import Sequence

from agentd.agent.ids import RunIdentity
from agentd.agent.lifecycle import NewMemory, RecalledMemory
from agentd.agent.permission import Labels
from agentd.errors import Reason, Unavailable
from tests.simulation.world import World


class SimMemory:
    """The port `Remembering` over what the world keeps."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.chance("memory")

    async def recall(self, run: RunIdentity, query: str) -> Sequence[RecalledMemory]:
        """Return some of what is known, or fail."""
        del run, query
        await self._work()
        known = list(self._world.remembered.items())[-3:]
        return [RecalledMemory(name, kind, text, "it is new") for name, (kind, text) in known]

    async def remember(
        self, run: RunIdentity, key: str, memories: Sequence[NewMemory], labels: Labels
    ) -> Sequence[str]:
        """Keep what was learned once, or fail, before or after that."""
        del labels
        await self._work()
        names = [f"{run.id}-{key}-{index}" for index in range(len(memories))]
        for name, memory in zip(names, memories, strict=True):
            before = self._world.remembered.setdefault(name, (memory.kind, memory.text))
            if before != (memory.kind, memory.text):
                self._world.violation(f"{name} was {before}, and is now {memory}")
        await self._work()
        return names

    async def _work(self) -> None:
        await asyncio.sleep(self._random.choice((0.0, 0.1, 2.0)))
        if self._world.goes_wrong(self._random, 0.1):
            await asyncio.sleep(self._random.choice((0.0, 100.0)))
            raise Unavailable(Reason.UNREACHABLE, "the memory is gone")
