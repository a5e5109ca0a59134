"""Runs of the protocol `lifecycle`, from the goal to the end, with scripted models."""

from pathlib import Path

from agentd.agent.events import RunState
from agentd.agent.lifecycle_events import PhaseEnded, PhaseStarted
from agentd.agent.message import Purpose
from tests.unit.runtime.lifecycle.world import home, script

PHASES = [
    Purpose.PLANNING,
    Purpose.SIMULATION,
    Purpose.EXECUTION,
    Purpose.FEEDBACK,
    Purpose.MEMORY,
    Purpose.REFLECTION,
]


async def test_a_goal_goes_through_every_phase(tmp_path: Path) -> None:
    async with home(tmp_path, script()) as house:
        run = await house.run()
        started = [event.phase for event in await house.all(run.identity, PhaseStarted)]
        ended = [event.phase for event in await house.all(run.identity, PhaseEnded)]
    assert (run.view.state, run.view.output) == (RunState.SUCCEEDED, "All is done.")
    assert started == PHASES
    assert sorted(ended, key=PHASES.index) == PHASES
