"""Models by purpose, and what takes over from one that stays down."""

from pathlib import Path

import pytest

from agentd.agent.events import FailureReason, ModelRequested, RunState
from agentd.agent.lifecycle_events import ModelRerouted
from agentd.agent.message import Purpose
from agentd.agent.spec import ProtocolKind
from agentd.errors import NotFound
from agentd.runtime.runtime import RuntimeLimits
from agentd.runtime.starting import RunLimits
from tests.unit.runtime.lifecycle.world import conversation, home, script

DOWN = {"text": "", "faults": [{"kind": "OVERLOADED", "message": "busy", "times": 0}]}
ONE_ATTEMPT = RuntimeLimits(runs=RunLimits(model_attempts=1))


def scripts(*down: Purpose) -> dict[str, object]:
    broken = script(*(conversation(purpose, [DOWN]) for purpose in down))
    return {"scripts": {"first": broken, "second": script()}}


async def test_each_purpose_has_its_model(tmp_path: Path) -> None:
    models = {Purpose.EXECUTION: "scripted/first", Purpose.FEEDBACK: "scripted/second"}
    async with home(tmp_path, scripts(), models=models) as house:
        run = await house.run()
        asked = {each.thread: each.model for each in await house.all(run.identity, ModelRequested)}
    assert asked["planning-1"] == "scripted/first"
    assert asked["task-one.1"] == "scripted/first"
    assert asked["feedback-one.1-0"] == "scripted/second"


@pytest.mark.parametrize("purpose", [Purpose.PLANNING, Purpose.EXECUTION, Purpose.REFLECTION])
async def test_the_next_model_takes_over(tmp_path: Path, purpose: Purpose) -> None:
    models = {Purpose.EXECUTION: "scripted/first"}
    fallbacks = {Purpose.EXECUTION: ("scripted/second",)}
    async with home(
        tmp_path, scripts(purpose), limits=ONE_ATTEMPT, models=models, fallbacks=fallbacks
    ) as house:
        run = await house.run()
        (rerouted,) = await house.all(run.identity, ModelRerouted)
        asked = [
            each.model
            for each in await house.all(run.identity, ModelRequested)
            if each.thread == rerouted.thread
        ]
    assert (run.view.state, run.view.output) == (RunState.SUCCEEDED, "All is done.")
    assert rerouted.purpose is purpose
    assert asked == ["scripted/first", "scripted/second"]
    assert "busy" in rerouted.reason


async def test_a_route_without_end_fails_the_run(tmp_path: Path) -> None:
    models = {Purpose.EXECUTION: "scripted/first"}
    fallbacks = {Purpose.EXECUTION: ("scripted/first",)}
    async with home(
        tmp_path, scripts(Purpose.PLANNING), limits=ONE_ATTEMPT, models=models, fallbacks=fallbacks
    ) as house:
        run = await house.run()
        rerouted = await house.all(run.identity, ModelRerouted)
    assert len(rerouted) == 1
    assert run.view.failure is not None
    assert run.view.failure.reason is FailureReason.MODEL_UNAVAILABLE


async def test_a_route_to_nowhere_is_refused_when_a_run_is_created(tmp_path: Path) -> None:
    models = {Purpose.PLANNING: "scripted/nobody"}
    async with home(tmp_path, scripts(), models=models) as house:
        with pytest.raises(NotFound):
            await house.start()


async def test_a_run_without_a_plan_goes_on_with_the_next_model_too(tmp_path: Path) -> None:
    first = {"conversations": [{"turns": [{**DOWN, "repeat": 0}]}]}
    second = {"conversations": [{"turns": [{"text": "Hello."}], "by": "answers"}]}
    models = {Purpose.EXECUTION: "scripted/first"}
    fallbacks = {Purpose.EXECUTION: ("scripted/first", "scripted/second")}
    async with home(
        tmp_path,
        {"scripts": {"first": first, "second": second}},
        limits=ONE_ATTEMPT,
        models=models,
        fallbacks=fallbacks,
        protocol=ProtocolKind.DIRECT,
    ) as house:
        run = await house.run()
        rerouted = [each.model for each in await house.all(run.identity, ModelRerouted)]
        asked = [(each.turn, each.model) for each in await house.all(run.identity, ModelRequested)]
    assert (run.view.state, run.view.output) == (RunState.SUCCEEDED, "Hello.")
    assert rerouted == ["scripted/first", "scripted/second"]
    assert asked == [(1, "scripted/first"), (2, "scripted/first"), (3, "scripted/second")]
