"""What follows from the judgement of a task's result."""

from pathlib import Path

from agentd.agent.events import (
    FailureReason,
    RunState,
    RunWaiting,
    WaitReason,
)
from agentd.agent.lifecycle import TaskState
from agentd.agent.lifecycle_events import (
    PhaseAnswered,
    PhaseStarted,
    PlanAdopted,
    TaskEnded,
    TaskRetried,
    TaskSkipped,
    TaskStarted,
)
from agentd.agent.message import Purpose
from tests.unit.runtime.lifecycle.world import ACCEPT, conversation, home, script, task

CHAIN = {"tasks": [task("one"), task("two", "one"), task("three", "two")]}


def judged(task: str, *choices: object) -> dict[str, object]:
    return conversation(Purpose.FEEDBACK, choices, goal=f"# The task\ndo {task}\n")


async def states(house: object, run: object) -> dict[str, TaskState]:
    tasks = await house.runtime.tasks.list(run.identity.namespace, run.identity.id)  # type: ignore[attr-defined]
    return {each.spec.id: each.state for each in tasks}


async def test_results_flow_along_the_edges(tmp_path: Path) -> None:
    own = script(
        conversation(Purpose.EXECUTION, ["one says forty"], goal="# The task\ndo one\n"),
        conversation(Purpose.EXECUTION, ["two says two"], goal="# The task\ndo two\n"),
        plan=CHAIN,
    )
    async with home(tmp_path, own) as house:
        run = await house.run()
        started = {each.task: each.prompt for each in await house.all(run.identity, TaskStarted)}
    assert "one says forty" in started["two"]
    assert "two says two" in started["three"]
    assert "one says forty" not in started["three"]


async def test_a_retry_is_told_what_to_heed(tmp_path: Path) -> None:
    retry = {"choice": "RETRY", "reason": "it is thin", "guidance": "make it thick"}
    own = script(
        conversation(Purpose.FEEDBACK, [ACCEPT], goal="of attempt 2"),
        conversation(Purpose.FEEDBACK, [retry]),
    )
    async with home(tmp_path, own) as house:
        run = await house.run()
        first, second = await house.all(run.identity, TaskStarted)
        ended = await house.all(run.identity, TaskEnded)
        (retried,) = await house.all(run.identity, TaskRetried)
    assert run.view.state is RunState.SUCCEEDED
    assert (first.attempt, second.attempt) == (1, 2)
    assert "make it thick" in second.prompt
    assert [each.state for each in ended] == [TaskState.FAILED, TaskState.SUCCEEDED]
    assert (retried.attempt, retried.reason) == (2, "it is thin")


async def test_the_last_attempt_cannot_be_retried(tmp_path: Path) -> None:
    retry = {"choice": "RETRY", "reason": "again"}
    abandon = {"choice": "ABANDON", "reason": "enough"}
    own = script(
        conversation(Purpose.FEEDBACK, [retry, abandon], goal="of attempt 3 of at most 3"),
        conversation(Purpose.FEEDBACK, [retry]),
    )
    async with home(tmp_path, own) as house:
        run = await house.run()
        answers = await house.all(run.identity, PhaseAnswered)
        ended = await house.all(run.identity, TaskEnded)
    refused = [each.faults for each in answers if each.faults]
    assert len(refused) == 1
    assert "attempt 3 was the last one" in refused[0][0]
    assert ended[-1].state is TaskState.ABANDONED


async def test_a_dead_branch_is_skipped_and_says_why(tmp_path: Path) -> None:
    abandon = {"choice": "ABANDON", "reason": "the mill is gone"}
    failed = {"achieved": False, "answer": "There is no flour."}
    plan = {"tasks": [*CHAIN["tasks"], task("other")]}
    own = script(judged("one", abandon), conversation(Purpose.REFLECTION, [failed]), plan=plan)
    async with home(tmp_path, own) as house:
        run = await house.run()
        skipped = {each.task: each.reason for each in await house.all(run.identity, TaskSkipped)}
        found = await states(house, run)
    assert found == {
        "one": TaskState.ABANDONED,
        "two": TaskState.SKIPPED,
        "three": TaskState.SKIPPED,
        "other": TaskState.SUCCEEDED,
    }
    assert "the mill is gone" in skipped["two"]
    assert "'two'" in skipped["three"]
    assert run.view.failure is not None
    assert run.view.failure.reason is FailureReason.GOAL_NOT_REACHED


async def test_another_plan_keeps_what_has_succeeded(tmp_path: Path) -> None:
    replan = {"choice": "REPLAN", "reason": "the road is closed"}
    second = {"tasks": [task("detour", "one")]}
    own = script(
        conversation(Purpose.PLANNING, [second], goal="the road is closed"),
        judged("two", replan),
        plan=CHAIN,
    )
    async with home(tmp_path, own) as house:
        run = await house.run()
        plans = await house.all(run.identity, PlanAdopted)
        skipped = [each.task for each in await house.all(run.identity, TaskSkipped)]
        prompts = [each.prompt for each in await house.all(run.identity, PhaseStarted)]
        found = await states(house, run)
    assert run.view.state is RunState.SUCCEEDED
    assert [each.number for each in plans] == [1, 2]
    assert skipped == ["three"]
    assert found["two"] is TaskState.FAILED
    assert found["detour"] is TaskState.SUCCEEDED
    assert any("## one (SUCCEEDED)" in prompt for prompt in prompts)


async def test_a_person_is_asked_and_heard(tmp_path: Path) -> None:
    ask = {"choice": "ASK", "reason": "unclear", "guidance": "red or blue?"}
    own = script(
        conversation(Purpose.FEEDBACK, [ACCEPT], goal="take blue"),
        conversation(Purpose.FEEDBACK, [ask]),
    )
    async with home(tmp_path, own) as house:
        identity = await house.start()
        waiting = await house.until(identity, RunWaiting)
        await house.runtime.engine.send_message(identity.namespace, identity.id, "take blue")
        run = await house.ended(identity)
        feedback = [
            each
            for each in await house.all(identity, PhaseStarted)
            if each.phase is Purpose.FEEDBACK
        ]
    assert (waiting.reason, "red or blue?" in waiting.detail) == (WaitReason.INPUT, True)
    assert run.view.state is RunState.SUCCEEDED
    assert len(feedback) == 2


async def test_a_failed_attempt_is_judged_too(tmp_path: Path) -> None:
    fault = {"text": "", "faults": [{"kind": "REFUSED", "message": "not that", "times": 0}]}
    abandon = {"choice": "ABANDON", "reason": "the model will not"}
    own = script(
        conversation(Purpose.EXECUTION, [fault]), conversation(Purpose.FEEDBACK, [ACCEPT, abandon])
    )
    async with home(tmp_path, own) as house:
        run = await house.run()
        answers = await house.all(run.identity, PhaseAnswered)
        prompts = [each.prompt for each in await house.all(run.identity, PhaseStarted)]
        (ended,) = await house.all(run.identity, TaskEnded)
    assert any("The attempt failed: not that" in prompt for prompt in prompts)
    assert any("nothing to accept" in " ".join(each.faults) for each in answers)
    assert ended.state is TaskState.ABANDONED
