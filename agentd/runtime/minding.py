"""Recall and remember on behalf of runs, and turn whatever comes of it into one fact."""

import asyncio
from collections.abc import Sequence

from agentd.agent.effects import Recall, Remember
from agentd.agent.ids import RunIdentity
from agentd.agent.lifecycle import NewMemory, RecalledMemory
from agentd.agent.lifecycle_events import MemoriesKept, MemoriesRecalled
from agentd.agent.permission import Labels
from agentd.errors import AgentdError
from agentd.runtime.ports import Remembering

TIMEOUT_S = 30.0
"""How long a run waits for its memory; then it goes on without."""


class NoMemory:
    """The port `Remembering` of a daemon that remembers nothing."""

    async def recall(self, run: RunIdentity, query: str) -> Sequence[RecalledMemory]:
        """Return nothing."""
        del run, query
        return ()

    async def remember(
        self, run: RunIdentity, key: str, memories: Sequence[NewMemory], labels: Labels
    ) -> Sequence[str]:
        """Store nothing."""
        del run, key, memories, labels
        return ()


class Minding:
    """The memory of every run."""

    def __init__(self, memory: Remembering) -> None:
        self._memory = memory

    async def recall(self, run: RunIdentity, effect: Recall) -> MemoriesRecalled:
        """Return what was found for a run as a fact, or why nothing could be."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                found = await self._memory.recall(run, effect.query)
        except AgentdError as error:
            return MemoriesRecalled(effect.query, error=error.message)
        except TimeoutError:
            return MemoriesRecalled(effect.query, error=f"no answer within {TIMEOUT_S:g} s")
        return MemoriesRecalled(effect.query, tuple(found))

    async def remember(self, run: RunIdentity, effect: Remember, labels: Labels) -> MemoriesKept:
        """Store what a run has learned, and return that as a fact, or why it could not be."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                names = await self._memory.remember(run, effect.key, effect.memories, labels)
        except AgentdError as error:
            return MemoriesKept(effect.phase, error=error.message)
        except TimeoutError:
            return MemoriesKept(effect.phase, error=f"no answer within {TIMEOUT_S:g} s")
        return MemoriesKept(effect.phase, tuple(names))
