"""Kill the daemon with SIGKILL at its boundaries, restart it, and compare with an uncrashed run."""

import sys
import time
from itertools import islice
from random import Random

import pytest

from tests.crash.daemon import BOUNDARIES
from tests.crash.scenario import make_scenario
from tests.crash.sweep import crash, reference, sample
from tests.crash.trial import COMMAND, Crash
from tests.invariants import Broken

SAMPLE_S = 20.0
"""How long the sample goes on beyond one crash of each kind; `python -m tests.crash --all` does
them all."""

LOST = "followed|reached|missing|left events|changed|acknowledged|there is no approvals"
"""How what was told too early shows: to a watch that resumes, or at the end."""


@pytest.mark.timeout(300)
async def test_a_crash_at_a_sample_of_the_boundaries() -> None:
    known = await reference(make_scenario(1))
    trials = sample(known, Random(1))
    end = time.monotonic() + SAMPLE_S
    came = sum([await crash(known, crashes) for crashes in islice(trials, len(BOUNDARIES))])
    while time.monotonic() < end:
        came += await crash(known, next(trials))
    assert came > 0


@pytest.mark.timeout(60)
async def test_a_daemon_that_dies_again_and_again() -> None:
    known = await reference(make_scenario(2))
    crashes = [Crash(1), Crash(5), Crash(20), Crash(40), Crash(60), Crash(2), Crash(30)]
    assert await crash(known, crashes) == len(crashes)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("fault", "crashes", "notice"),
    [
        ("repeat", [Crash(36, "dispatched")] * 2, "queued again|by itself|twice"),
        ("acknowledge_early", [Crash(12, "before_append")], LOST),
    ],
)
async def test_a_broken_law_is_noticed(fault: str, crashes: list[Crash], notice: str) -> None:
    known = await reference(make_scenario(3))
    await crash(known, crashes, COMMAND)
    with pytest.raises(Broken, match=notice):
        await crash(known, crashes, (sys.executable, "-m", "tests.crash.broken", fault))
