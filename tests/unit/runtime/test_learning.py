"""What a run has learned is recalled by the next run of its agent, and is stored once."""

from pathlib import Path

from agentd.agent.ids import DEFAULT_NAMESPACE, AgentId, RunId, RunIdentity, RunKey
from agentd.agent.lifecycle import NewMemory
from agentd.agent.permission import NO_LABELS, Labels
from agentd.runtime.learning import Learning
from tests.unit.services.house import house

CLERK = RunIdentity(RunKey(1), DEFAULT_NAMESPACE, RunId("r-1"), AgentId("clerk"))
LATER = RunIdentity(RunKey(2), DEFAULT_NAMESPACE, RunId("r-2"), AgentId("clerk"))
OTHER = RunIdentity(RunKey(3), DEFAULT_NAMESPACE, RunId("r-3"), AgentId("cook"))
LESSON = NewMemory("lesson", "Invoices are paid on the last Friday of the month.")


async def test_a_later_run_of_the_agent_recalls_it(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        assert home.runtime.memories
        learning = Learning(home.runtime.memories)
        [name] = await learning.remember(CLERK, "reflect", [LESSON], Labels(untrusted=True))
        [found] = await learning.recall(LATER, "when are invoices paid?")
        assert (found.name, found.kind, found.text) == (name, "lesson", LESSON.text)
        assert found.labels == Labels(untrusted=True)
        assert found.why
        assert await learning.recall(OTHER, "when are invoices paid?") == []


async def test_what_is_stored_again_after_a_crash_is_one(tmp_path: Path) -> None:
    episode = NewMemory("episode", "Paid three invoices.")
    async with house(tmp_path) as home:
        assert home.runtime.memories
        learning = Learning(home.runtime.memories)
        first = await learning.remember(CLERK, "reflect", [LESSON, episode], NO_LABELS)
        again = await learning.remember(CLERK, "reflect", [LESSON, episode], NO_LABELS)
        assert first == again
        assert len(await learning.recall(LATER, "invoices")) == 2


async def test_a_contradiction_supersedes(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        assert home.runtime.memories
        learning = Learning(home.runtime.memories)
        [old] = await learning.remember(
            CLERK, "a", [NewMemory("fact", "The till is red.")], NO_LABELS
        )
        blue = NewMemory("fact", "The till is blue.", replaces=old)
        [new] = await learning.remember(LATER, "b", [blue], NO_LABELS)
        assert [found.name for found in await learning.recall(LATER, "which till?")] == [new]
        gone = NewMemory("fact", "The till is green.", replaces="memories/none")
        [kept] = await learning.remember(LATER, "c", [gone], NO_LABELS)
        assert {found.name for found in await learning.recall(LATER, "which till?")} == {new, kept}
