"""What holds for every test: it repeats, it tests this tree, and CI skips nothing."""

import os
import random
import signal
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

import agentd

ROOT = Path(__file__).resolve().parents[1]
SEED = 20260101

hypothesis.settings.register_profile("agentd", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("agentd")


def pytest_configure() -> None:
    """Refuse to run against another copy: its tests would pass or fail for the wrong code. And have
    programs that tests start heed SIGINT, which a shell has its background jobs ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    imported = Path(agentd.__file__).resolve().parent
    if imported != ROOT / "agentd":
        raise pytest.UsageError(f"agentd is imported from {imported}; install it with -e")


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(SEED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test fails: what it needs is to be installed, or it tests nothing."""
    del item, call
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longreprtext}"
    return report
