"""What runs learn, and what later runs make of it."""

from collections.abc import Sequence
from pathlib import Path

from agentd.agent.events import RunState
from agentd.agent.ids import RunIdentity
from agentd.agent.lifecycle import NewMemory, RecalledMemory
from agentd.agent.lifecycle_events import (
    MemoriesKept,
    MemoriesRecalled,
    PhaseEnded,
    PhaseStarted,
)
from agentd.agent.message import Purpose
from agentd.agent.permission import Labels
from agentd.errors import Reason, Unavailable
from tests.unit.runtime.lifecycle.world import DONE, Memory, conversation, home, script

LEARNED = {"episode": "a boat was built", "facts": [{"text": "oak floats"}]}
LESSONS = {**DONE, "lessons": ["measure twice"]}


def learning(learned: object = LEARNED) -> dict[str, object]:
    return script(
        conversation(Purpose.MEMORY, [learned]), conversation(Purpose.REFLECTION, [LESSONS])
    )


async def test_a_second_run_plans_with_the_lessons_of_the_first(tmp_path: Path) -> None:
    memory = Memory()
    async with home(tmp_path, learning(), memory=memory) as house:
        first = await house.run("build a boat")
        second = await house.run("build a raft")
        kept = await house.all(first.identity, MemoriesKept)
        recalls = [(await house.all(run.identity, MemoriesRecalled))[0] for run in (first, second)]
        prompts = [
            (await house.all(run.identity, PhaseStarted))[0].prompt for run in (first, second)
        ]
    assert memory.queries == ["build a boat", "build a raft"]
    assert [(each.phase, len(each.names)) for each in kept] == [
        (Purpose.MEMORY, 2),
        (Purpose.REFLECTION, 1),
    ]
    assert recalls[0].memories == ()
    assert {each.text for each in recalls[1].memories} == {
        "a boat was built",
        "oak floats",
        "measure twice",
    }
    assert all(each.why for each in recalls[1].memories)
    assert "measure twice" not in prompts[0]
    assert "measure twice" in prompts[1]
    assert second.view.labels == Labels(private=True)  # What was recalled is what the run has seen.


async def test_a_fact_that_is_contradicted_is_named(tmp_path: Path) -> None:
    memory = Memory()
    memory.kept["m1"] = NewMemory("fact", "oak sinks")
    learned = {"episode": "", "facts": [{"text": "oak floats", "replaces": "m1"}]}
    async with home(tmp_path, learning(learned), memory=memory) as house:
        run = await house.run()
        asked = [
            each.prompt
            for each in await house.all(run.identity, PhaseStarted)
            if each.phase is Purpose.MEMORY
        ]
    assert "(fact m1) oak sinks" in asked[0]
    assert "m1" not in memory.kept
    assert [each.text for each in memory.kept.values()] == ["oak floats", "measure twice"]


class Broken:
    """A memory that does not work."""

    async def recall(self, run: RunIdentity, query: str) -> Sequence[RecalledMemory]:
        raise Unavailable(Reason.UNREACHABLE, f"{run.id}: the store is gone for {query}")

    async def remember(
        self, run: RunIdentity, key: str, memories: Sequence[NewMemory], labels: Labels
    ) -> Sequence[str]:
        del key, memories, labels
        raise Unavailable(Reason.UNREACHABLE, f"{run.id}: the store is gone")


async def test_runs_go_on_without_a_memory_and_say_so(tmp_path: Path) -> None:
    async with home(tmp_path, learning(), memory=Broken()) as house:
        run = await house.run()
        (recalled,) = await house.all(run.identity, MemoriesRecalled)
        kept = await house.all(run.identity, MemoriesKept)
    assert run.view.state is RunState.SUCCEEDED
    assert "the store is gone" in recalled.error
    assert [each.error.partition(": ")[2] for each in kept] == ["the store is gone"] * 2


async def test_a_run_whose_work_is_done_ends_well_without_looking_back(tmp_path: Path) -> None:
    own = script(
        conversation(Purpose.MEMORY, ["no"]),
        conversation(
            Purpose.REFLECTION, [{"text": "", "faults": [{"kind": "REFUSED", "times": 0}]}]
        ),
    )
    async with home(tmp_path, own) as house:
        run = await house.run()
        ended = [(each.phase, each.outcome) for each in await house.all(run.identity, PhaseEnded)]
    assert (run.view.state, run.view.output) == (RunState.SUCCEEDED, "the result")
    assert ended[-2:] == [(Purpose.MEMORY, "failed"), (Purpose.REFLECTION, "failed")]
