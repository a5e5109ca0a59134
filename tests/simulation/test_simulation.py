"""Simulations that must hold, and simulations of a broken daemon that must not."""

import os
import re
import secrets
from collections.abc import Sequence

import pytest

from agentd.agent.events import Event, RequestedCall, RunEnded
from agentd.agent.state import State
from agentd.agent.tool import CallState, EffectClass
from agentd.runtime import questions
from agentd.runtime.driver import Driver
from agentd.runtime.planning import Plan, Planned, Planner
from agentd.runtime.ports import Record
from tests.fakes.journal import Outcome, _Disk, _Row
from tests.invariants import Broken
from tests.simulation.simulation import simulate
from tests.simulation.world import NAMESPACE, Blow

REGRESSIONS = (
    *(1, 4, 37, 52, 57, 66, 69, 81, 87, 195, 1078, 1258, 1337, 20186, 21133, 90167, 910058),
    *(3752752020, 6000024, 6000132, 5001201, 51330),
)
"""Seeds that have found a fault. What they do changes whenever the simulation does."""
FRESH = 80
STEADY = 910_000
"""Where the stretch begins in CI: a fault that chance finds is no fault of the change it tests."""
BLOWN = 17
"""A seed with few runs, so that a fault at each commit takes little time."""

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_seeds_that_have_failed_hold(seed: int) -> None:
    simulate(seed)


def test_fresh_seeds_hold() -> None:
    drawn = STEADY if os.environ.get("CI") else secrets.randbits(32)
    base = int(os.environ.get("AGENTD_SIMULATION_SEED", drawn))
    for seed in range(base, base + FRESH):
        simulate(seed)


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.KEPT, Outcome.FULL])
def test_a_fault_of_the_disk_at_any_commit_holds(outcome: Outcome) -> None:
    for commit in range(1, 51):
        simulate(BLOWN, Blow(commit, outcome))


@pytest.mark.parametrize("seed", [3, 7, 17, 18, 21, 30])
def test_a_seed_replays_its_history(seed: int) -> None:
    first, second = simulate(seed), simulate(seed)
    assert (first.digest, first.requests) == (second.digest, second.requests)
    assert first.digest != simulate(seed + 1).digest


def failure(seeds: int = 100) -> str:
    """Return how the first of some seeds fails, or fail because none does."""
    for seed in range(seeds):
        try:
            simulate(seed)
        except Broken as broken:
            return str(broken)
    return pytest.fail(f"none of {seeds} simulations has noticed")


def test_it_notices_a_call_that_is_repeated_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for effect in EffectClass:
        monkeypatch.setattr(effect, "repeatable", True)
    assert re.search("queued again|had its effect 2 times", failure())


def test_it_notices_an_event_that_was_acknowledged_and_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add = _Disk.add

    def lossy(disk: _Disk, rows: Sequence[_Row]) -> None:
        add(disk, [row for row in rows if row.position != 50])

    monkeypatch.setattr(_Disk, "add", lossy)
    assert "seed" in failure()


def test_it_notices_a_run_that_ends_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Planner.plan

    def twice(planner: Planner, run: Planned, state: State, events: list[Event]) -> Plan:
        planned = plan(planner, run, state, events)
        events += [event for event in events if isinstance(event, RunEnded)]
        return planned

    monkeypatch.setattr(Planner, "plan", twice)
    assert "the run has ended" in failure()


def test_it_notices_a_wake_up_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Driver.wake

    def wake(driver: Driver) -> None:
        if driver._inbox or driver._wakeup:
            whole(driver)

    monkeypatch.setattr(Driver, "wake", wake)
    assert "never ended" in failure()


def test_it_notices_a_call_that_runs_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def eager(call: RequestedCall) -> CallState:
        return CallState.REQUESTED if call.refusal else CallState.QUEUED

    monkeypatch.setattr(RequestedCall, "state", property(eager))
    assert "runs, and is ASK" in failure()


def test_it_notices_an_answer_that_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "_stored", lambda *_: Record("lost", NAMESPACE, "x", b""))
    assert "seed" in failure()
