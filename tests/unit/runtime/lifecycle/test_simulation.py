"""Plans before anything happens: judged, simulated, approved, and departed from."""

import json
from pathlib import Path

import pytest

from agentd.agent.approval import ApprovalState
from agentd.agent.events import (
    CallLeased,
    FailureReason,
    ModelReplied,
    RunPaused,
    RunState,
    RunWaiting,
    WaitReason,
)
from agentd.agent.ids import DEFAULT_NAMESPACE
from agentd.agent.lifecycle_events import (
    PhaseAnswered,
    PhaseEnded,
    PhaseStarted,
    PlanAdopted,
    PlanApprovalDecided,
    PlanApprovalRequested,
)
from agentd.agent.message import Purpose
from agentd.agent.permission import Decision, Rule
from agentd.errors import Conflict, InvalidRequest, Reason
from agentd.runtime.approvals import ApprovalQuery, Choice
from tests.unit.runtime.lifecycle.world import (
    AGENT,
    PROCEED,
    Box,
    conversation,
    home,
    script,
    task,
)

PUT = {"calls": [{"tool": "put", "arguments": {"item": "x"}}]}
USES = {"tools": ["put"], "effect": "NON_IDEMPOTENT"}
PLAN = {"tasks": [task("one", **USES)]}
WORKS = conversation(Purpose.EXECUTION, [PUT, "done"])


async def test_the_critic_asks_tools_what_they_would_do(tmp_path: Path) -> None:
    box = Box("put")
    own = script(conversation(Purpose.SIMULATION, [PUT, PROCEED]), WORKS, plan=PLAN)
    rules = (Rule(Decision.ASK, "tool.use:box/put"),)
    async with home(tmp_path, own, tools=[box], permissions=rules) as house:
        identity = await house.start()
        waiting = await house.until(identity, RunWaiting)
        replied = (await house.all(identity, ModelReplied))[0]
        simulated, put = list(box.simulated), list(box.items)
        await house.runtime.engine.cancel_run(
            identity.namespace, identity.id, reason="", timeout_ms=1_000
        )
        await house.ended(identity)
    assert (simulated, put) == (["x"], [])
    assert replied.calls[0].simulate
    assert (
        waiting.reason is WaitReason.APPROVAL
    )  # It is the execution that a person is asked about.


async def test_the_critic_can_call_nothing_that_acts(tmp_path: Path) -> None:
    box = Box("put")
    acting = Box("act", simulate=False)
    call = {"calls": [{"tool": "act", "arguments": {"item": "x"}}]}
    own = script(conversation(Purpose.SIMULATION, [call, PROCEED]), plan=PLAN)
    async with home(tmp_path, own, tools=[box, acting]) as house:
        run = await house.run()
        replied = (await house.all(run.identity, ModelReplied))[0]
    assert replied.calls[0].refusal is not None
    assert (acting.items, acting.simulated) == ([], [])


async def test_a_plan_is_revised_for_the_reasons_given(tmp_path: Path) -> None:
    revise = {"verdict": "REVISE", "reason": "the roof comes last"}
    own = script(
        conversation(Purpose.PLANNING, [{"tasks": [task("better")]}], goal="the roof comes last"),
        conversation(Purpose.SIMULATION, [PROCEED], goal='"id":"better"'),
        conversation(Purpose.SIMULATION, [revise]),
    )
    async with home(tmp_path, own) as house:
        run = await house.run()
        (adopted,) = await house.all(run.identity, PlanAdopted)
        ended = [(each.phase, each.outcome) for each in await house.all(run.identity, PhaseEnded)]
    assert [each.id for each in adopted.plan.tasks] == ["better"]
    assert ended[:4] == [
        (Purpose.PLANNING, "planned"),
        (Purpose.SIMULATION, "revise"),
        (Purpose.PLANNING, "planned"),
        (Purpose.SIMULATION, "proceed"),
    ]


async def test_revising_has_an_end(tmp_path: Path) -> None:
    revise = {"verdict": "REVISE", "reason": "not yet"}
    async with home(tmp_path, script(conversation(Purpose.SIMULATION, [revise]))) as house:
        run = await house.run()
        plans = [
            each for each in await house.all(run.identity, PhaseEnded) if each.outcome == "planned"
        ]
        faults = [each.faults for each in await house.all(run.identity, PhaseAnswered)][-1]
    assert len(plans) == 4
    assert "no further plan" in faults[0]
    assert run.view.failure is not None
    assert run.view.failure.reason is FailureReason.ANSWER_INVALID


async def test_a_verdict_to_stop_ends_the_run(tmp_path: Path) -> None:
    stop = {"verdict": "STOP", "reason": "it would flood the house"}
    async with home(tmp_path, script(conversation(Purpose.SIMULATION, [stop]))) as house:
        run = await house.run()
        assert await house.all(run.identity, PlanAdopted) == []
    assert run.view.failure is not None
    assert run.view.failure.reason is FailureReason.PLAN_REJECTED
    assert "flood" in run.view.failure.message


async def test_a_run_that_only_simulates_answers_with_its_plan(tmp_path: Path) -> None:
    box = Box("put")
    verdict = {
        **PROCEED,
        "predictions": [{"task": "one", "outcome": "x is put", "risk": "none"}],
    }
    own = script(conversation(Purpose.SIMULATION, [verdict]), WORKS, plan=PLAN)
    async with home(tmp_path, own, tools=[box]) as house:
        run = await house.run(simulate_only=True)
    output = json.loads(run.view.output)
    assert run.view.state is RunState.SUCCEEDED
    assert output["tasks"][0]["predicted"] == {"outcome": "x is put", "risk": "none"}
    assert box.items == []


async def test_a_person_approves_exactly_what_was_simulated(tmp_path: Path) -> None:
    box = Box("put")
    own = script(WORKS, plan=PLAN)
    async with home(tmp_path, own, tools=[box], require_plan_approval=True) as house:
        identity = await house.start()
        await house.until(identity, RunWaiting)
        approvals = house.runtime.approvals
        query = ApprovalQuery(DEFAULT_NAMESPACE, frozenset({ApprovalState.PENDING}))
        (pending,) = await approvals.list(query, after="", limit=10)
        question = pending.question
        with pytest.raises(Conflict) as caught:
            await approvals.decide(
                DEFAULT_NAMESPACE, question.id, Choice(allow=True, arguments_sha256="0" * 64)
            )
        edited = Choice(allow=True, edited_arguments_json="{}", arguments_sha256="x")
        with pytest.raises(InvalidRequest):
            await approvals.decide(DEFAULT_NAMESPACE, question.id, edited)
        yes = Choice(allow=True, arguments_sha256=question.arguments_sha256)
        decided = await approvals.decide(DEFAULT_NAMESPACE, question.id, yes, request_id="once")
        again = await approvals.decide(DEFAULT_NAMESPACE, question.id, yes, request_id="once")
        run = await house.ended(identity)
    assert caught.value.reason is Reason.ARGUMENTS_MISMATCH
    assert (question.plan, question.run) == (1, identity.id)
    assert json.loads(question.arguments_json)["tasks"][0]["id"] == "one"
    assert decided == again
    assert decided.answer.state is ApprovalState.ALLOWED
    assert box.items == ["x"]
    assert run.view.state is RunState.SUCCEEDED


async def test_a_plan_that_is_denied_with_a_reason_is_made_anew(tmp_path: Path) -> None:
    own = script(
        conversation(Purpose.PLANNING, [{"tasks": [task("quiet")]}], goal="too loud"),
    )
    async with home(tmp_path, own, require_plan_approval=True) as house:
        identity = await house.start()
        first = await house.until(identity, PlanApprovalRequested)
        approvals = house.runtime.approvals
        no = Choice(allow=False, reason="too loud")
        await approvals.decide(DEFAULT_NAMESPACE, first.approval, no)
        second = await house.until(identity, PlanApprovalRequested, 2)
        yes = Choice(allow=True, arguments_sha256=second.plan_sha256)
        await approvals.decide(DEFAULT_NAMESPACE, second.approval, yes)
        run = await house.ended(identity)
        (adopted,) = await house.all(identity, PlanAdopted)
        decided = await house.all(identity, PlanApprovalDecided)
    assert run.view.state is RunState.SUCCEEDED
    assert [each.id for each in adopted.plan.tasks] == ["quiet"]
    assert [each.decision for each in decided] == [ApprovalState.DENIED, ApprovalState.ALLOWED]


async def test_a_question_about_a_plan_ends_with_its_run(tmp_path: Path) -> None:
    async with home(tmp_path, script(), require_plan_approval=True) as house:
        identity = await house.start()
        asked = await house.until(identity, PlanApprovalRequested)
        await house.runtime.engine.cancel_run(
            identity.namespace, identity.id, reason="never mind", timeout_ms=1_000
        )
        await house.ended(identity)
        found = await house.runtime.approvals.get(DEFAULT_NAMESPACE, asked.approval)
    assert found.answer.state is ApprovalState.CANCELLED
    assert found.answer.reason == "never mind"


@pytest.mark.parametrize(
    ("plan", "how"),
    [
        ({"tasks": [task("one")]}, "'put', which the plan does not name"),
        ({"tasks": [task("one", **USES, permissions=["fs.read:/a"])]}, "needs fs.read:/b"),
    ],
)
async def test_what_departs_from_the_approved_plan_pauses_the_run(
    tmp_path: Path, plan: object, how: str
) -> None:
    box = Box("put")
    box.more = ("fs.read:/b",)
    rules = (Rule(Decision.ALLOW, "tool.use:**"), Rule(Decision.ALLOW, "fs.read:/**"))
    own = script(WORKS, plan=plan)
    async with home(
        tmp_path, own, tools=[box], permissions=rules, require_plan_approval=True
    ) as house:
        identity = await house.start()
        first = await house.until(identity, PlanApprovalRequested)
        yes = Choice(allow=True, arguments_sha256=first.plan_sha256)
        await house.runtime.approvals.decide(DEFAULT_NAMESPACE, first.approval, yes)
        paused = await house.until(identity, RunPaused)
        assert await house.all(identity, CallLeased) == []
        assert box.items == []
        await house.runtime.engine.resume_run(identity.namespace, identity.id)
        run = await house.ended(identity)
    assert how in paused.reason
    assert "task 'one'" in paused.reason
    assert box.items == ["x"]
    assert run.view.state is RunState.SUCCEEDED


async def test_the_prompt_of_a_simulation_holds_the_plan(tmp_path: Path) -> None:
    async with home(tmp_path, script()) as house:
        run = await house.run()
        prompts = {each.phase: each.prompt for each in await house.all(run.identity, PhaseStarted)}
    assert '"id":"one"' in prompts[Purpose.SIMULATION]
    assert run.identity.agent == AGENT
