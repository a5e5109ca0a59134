"""The guard tells our own work from that of others."""

import os
import sys
from pathlib import Path
from time import process_time

from tests.benchmarks.machine import CpuWindow, resident_bytes
from tests.benchmarks.process import clean_environment, run_to_end

TICKS = 30


def spin() -> None:
    """Use 0.3 s of CPU."""
    end = process_time() + TICKS / os.sysconf("SC_CLK_TCK")
    while process_time() < end:
        pass


def test_our_own_work_is_not_foreign() -> None:
    window = CpuWindow.open()
    spin()
    now = CpuWindow.open()
    assert now.own - window.own >= TICKS - 2


async def test_the_work_of_a_child_that_has_ended_is_our_own() -> None:
    window = CpuWindow.open()
    script = f"from time import process_time as t\nwhile t() < {TICKS / 100}: pass"
    code, _, _ = await run_to_end(
        (sys.executable, "-c", script), environment=clean_environment(Path()), timeout_s=30
    )
    assert code == 0
    assert CpuWindow.open().own - window.own >= TICKS - 2


def test_work_that_nobody_of_ours_did_is_foreign() -> None:
    now = CpuWindow.open()
    # As if, since the window opened, the machine had worked 100 ticks of 400 and we 60 of those.
    window = CpuWindow(now.busy - 100, now.all - 400, now.own - 60)
    assert abs(window.foreign_share() - 0.1) < 0.05


def test_resident_memory_is_in_bytes() -> None:
    assert 1e6 < resident_bytes(os.getpid()) < 1e10
