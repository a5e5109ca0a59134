"""A person at the office, who allows what the user's task needs, once each, and nothing else.

The person reads the tool and the arguments as the question has them, and no other text.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from agentd.agent.approval import Question
from agentd.agent.events import ApprovalRequested, Entry
from agentd.agent.ids import DEFAULT_NAMESPACE, RunId
from agentd.runtime.approvals import Choice
from agentd.runtime.runtime import Runtime
from tests.puppet.office import canonical

Wanted = Callable[[RunId], Sequence[tuple[str, str]]]
"""The calls that the user of a run wants: tools and canonical arguments."""


class Person:
    """Answers every question of a runtime."""

    def __init__(self, runtime: Runtime, wanted: Wanted) -> None:
        self._runtime = runtime
        self._wanted = wanted
        self._open: dict[RunId, Counter[tuple[str, str]]] = {}
        self._asked: asyncio.Queue[ApprovalRequested] = asyncio.Queue()
        self.allowed = self.refused = 0
        runtime.journal.subscribe(self._note)

    def _note(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if isinstance(entry.event, ApprovalRequested):
                self._asked.put_nowait(entry.event)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Answer for as long as the block lasts."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._work())
            yield
            task.cancel()

    async def _work(self) -> None:
        approvals = self._runtime.approvals
        while True:
            asked = await self._asked.get()
            question = (await approvals.get(DEFAULT_NAMESPACE, asked.approval)).question
            allow = self._is_wanted(question)
            choice = Choice(allow=allow, arguments_sha256=question.arguments_sha256)
            await approvals.decide(DEFAULT_NAMESPACE, asked.approval, choice)
            self.allowed += allow
            self.refused += not allow

    def _is_wanted(self, question: Question) -> bool:
        if question.run not in self._open:
            self._open[question.run] = Counter(self._wanted(question.run))
        remaining = self._open[question.run]
        shown = (question.path, canonical(json.loads(question.arguments_json)))
        if not remaining[shown]:
            return False
        remaining[shown] -= 1
        return True
