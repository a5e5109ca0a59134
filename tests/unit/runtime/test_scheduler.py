"""A fault in the daemon's own code ends the run it happened in, and nothing else."""

from pathlib import Path

import pytest

from agentd.agent.events import FailureReason, RunState
from agentd.agent.ids import DEFAULT_AGENT, DEFAULT_NAMESPACE
from agentd.errors import Conflict, Reason
from agentd.runtime.driver import Driver
from agentd.runtime.starting import NewRun
from tests.unit.services.house import house

NEW = NewRun(DEFAULT_NAMESPACE, None, "add", DEFAULT_AGENT)


async def test_faults_at_once_end_their_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = Driver.drive

    async def broken(_: Driver) -> None:
        monkeypatch.setattr(Driver, "drive", drive)
        refused = Conflict(Reason.WRONG_RUN_STATE, "one task was refused")
        raise ExceptionGroup("two tasks", [refused, ZeroDivisionError("and one is wrong")])

    monkeypatch.setattr(Driver, "drive", broken)
    async with house(tmp_path) as home:
        runtime = home.runtime
        first, _ = await runtime.engine.create_run(NEW)
        ended = await runtime.reading.wait_run(DEFAULT_NAMESPACE, first.identity.id, 5)
        second, _ = await runtime.engine.create_run(NEW)
        other = await runtime.reading.wait_run(DEFAULT_NAMESPACE, second.identity.id, 5)
    assert ended.view.state is RunState.FAILED
    assert ended.view.failure is not None
    assert ended.view.failure.reason is FailureReason.INTERNAL
    assert "incident" in ended.view.failure.message
    assert (other.view.state, other.view.output) == (RunState.SUCCEEDED, "Hello.")
