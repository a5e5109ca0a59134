"""Plans: how a model's plan is checked, and what becomes of one that is not sound."""

from pathlib import Path
from typing import Any

import pytest

from agentd.agent.budget import Budget
from agentd.agent.events import FailureReason, ModelRequested, RunState
from agentd.agent.lifecycle import TaskState
from agentd.agent.lifecycle_events import PhaseAnswered, PhaseEnded, PhaseStarted, PlanAdopted
from agentd.agent.message import Purpose
from agentd.agent.permission import Decision, Rule
from tests.unit.runtime.lifecycle.world import Box, conversation, home, script, task

SOUND = {"tasks": [task("one")]}


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        ({"tasks": []}, "tasks"),
        ({"tasks": [{"id": "One", "objective": "x", "criterion": "y"}]}, "id"),
        ({"tasks": [task("a", "b")]}, "depends on 'b', which is no task"),
        ({"tasks": [task("a", "b"), task("b", "c"), task("c", "a")]}, "in a circle"),
        ({"tasks": [task("a"), task("a")]}, "used more than once"),
        ({"tasks": [task("a", tools=["saw"])]}, "there is no tool 'saw'"),
        ({"tasks": [task("a", tools=["put"])]}, "'put' is NON_IDEMPOTENT"),
        ({"tasks": [task("a", tools=["burn"], effect="IRREVERSIBLE")]}, "is not permitted"),
        ({"tasks": [task("a", tokens=10_000_000)]}, "tokens, and"),
    ],
)
async def test_faults_go_back_to_the_model(tmp_path: Path, plan: Any, fault: str) -> None:
    own = script(conversation(Purpose.PLANNING, [plan, SOUND]))
    rules = (Rule(Decision.DENY, "tool.use:box/burn"), Rule(Decision.ALLOW, "tool.use:**"))
    budget = Budget(max_turns=99, max_tokens=1_000_000)
    tools = [Box("put"), Box("burn")]
    async with home(tmp_path, own, tools=tools, permissions=rules, budget=budget) as house:
        run = await house.run()
        first, second = (await house.all(run.identity, PhaseAnswered))[:2]
        asked = [each.thread for each in await house.all(run.identity, ModelRequested)][:2]
    assert run.view.state is RunState.SUCCEEDED
    assert first.answer is None
    assert fault in " ".join(first.faults)
    assert second.faults == ()
    assert asked == ["planning-1", "planning-1"]


async def test_a_model_that_never_plans_soundly_fails_its_run(tmp_path: Path) -> None:
    own = script(conversation(Purpose.PLANNING, ["I would rather chat."]))
    async with home(tmp_path, own) as house:
        run = await house.run()
        answers = await house.all(run.identity, PhaseAnswered)
    assert run.view.failure is not None
    assert run.view.failure.reason is FailureReason.ANSWER_INVALID
    assert len(answers) == 3


async def test_an_answer_in_plain_json_is_taken(tmp_path: Path) -> None:
    text = '```json\n{"tasks": [{"id": "a", "objective": "x", "criterion": "y"}]}\n```'
    async with home(tmp_path, script(conversation(Purpose.PLANNING, [text]))) as house:
        run = await house.run()
        (adopted,) = await house.all(run.identity, PlanAdopted)
    assert [each.id for each in adopted.plan.tasks] == ["a"]


async def test_an_agents_own_prompt_is_used(tmp_path: Path) -> None:
    prompts = {Purpose.PLANNING: "Plan {{goal}} like a sailor.\n\n# Remembered\n{{memories}}"}
    async with home(tmp_path, script(), phase_prompts=prompts) as house:
        run = await house.run("the crossing")
        first = (await house.all(run.identity, PhaseStarted))[0]
    assert first.prompt == "Plan the crossing like a sailor."


async def test_a_task_plan_is_listed_with_its_results(tmp_path: Path) -> None:
    async with home(tmp_path, script(plan={"tasks": [task("a"), task("b", "a")]})) as house:
        run = await house.run()
        tasks = await house.runtime.tasks.list(run.identity.namespace, run.identity.id)
        ended = await house.all(run.identity, PhaseEnded)
    assert [(each.spec.id, each.state, each.result) for each in tasks] == [
        ("a", TaskState.SUCCEEDED, "the result"),
        ("b", TaskState.SUCCEEDED, "the result"),
    ]
    assert ended[0].outcome == "planned"


async def test_the_budget_ends_a_run_that_plans_too_long(tmp_path: Path) -> None:
    own = script(conversation(Purpose.PLANNING, [{"tasks": []}]))
    async with home(tmp_path, own, budget=Budget(max_turns=2)) as house:
        run = await house.run()
    assert run.view.failure is not None
    assert run.view.failure.reason is FailureReason.BUDGET_TURNS
