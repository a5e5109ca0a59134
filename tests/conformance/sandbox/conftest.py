"""The tiers that one suite holds to the port of the sandbox, where this machine has them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.errors import AgentdError
from agentd.tools.sandbox.drop import choose_owner, drop_prefix, temporary_folder
from agentd.tools.sandbox.launch import Launcher
from agentd.tools.sandbox.profile import Command, Limits, Profile, Tier
from agentd.tools.sandbox.sandbox import Sandbox, bubblewrap, landlocks, try_launcher

LIMITS = Limits(soft_timeout_s=20.0, hard_timeout_s=21.0)


@pytest.fixture
def room() -> Iterator[Path]:
    """Give a folder that the user of commands can reach, unlike pytest's own."""
    folder = Path(
        tempfile.mkdtemp(prefix="agentd-sandbox-", dir=temporary_folder(choose_owner()))
    ).resolve()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def workspace(room: Path) -> Path:
    """Give a folder that commands may write to."""
    return own(room / "workspace")


def own(folder: Path) -> Path:
    """Make a folder that belongs to the user of commands."""
    folder.mkdir()
    if owner := choose_owner():
        os.chown(folder, owner.uid, owner.gid)
    return folder


@pytest.fixture
def profile(workspace: Path) -> Profile:
    """Grant the workspace, and nothing else."""
    return Profile(workspace=str(workspace), limits=LIMITS)


@pytest.fixture(params=[Tier.BUBBLEWRAP, Tier.LANDLOCK], ids=lambda tier: tier.name.lower())
async def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """Give a sandbox of each tier; what this machine lacks is skipped, with the reason."""
    return await sandbox_of(request.param)


@pytest.fixture
async def bubblewrapped() -> Sandbox:
    """Give a sandbox of the best tier."""
    return await sandbox_of(Tier.BUBBLEWRAP)


def launchers(tier: Tier) -> list[Launcher]:
    """Return what may work for a tier. Raises OSError and AgentdError."""
    words = drop_prefix(choose_owner())
    return [bubblewrap(words, None)] if tier is Tier.BUBBLEWRAP else [*landlocks(words, None)]


async def sandbox_of(tier: Tier) -> Sandbox:
    owner = choose_owner()
    faults = []
    try:
        for launcher in launchers(tier):
            fault = await try_launcher(launcher, owner)
            if fault is None:
                return Sandbox(launcher, owner=owner)
            faults.append(fault)
    except (OSError, AgentdError) as error:
        faults.append(str(error))
    pytest.skip(f"{tier.name.lower()} does not work here: {'; '.join(faults)}")


def python(program: str, *arguments: str, stdin: bytes = b"") -> Command:
    """Return a command that runs a Python program."""
    return Command(("python3", "-I", "-S", "-c", program, *arguments), stdin=stdin)


def shell(script: str, *, stdin: bytes = b"") -> Command:
    """Return a command that runs a shell script."""
    return Command(("/bin/sh", "-c", script), stdin=stdin)
