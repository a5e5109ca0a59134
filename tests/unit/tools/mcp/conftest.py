"""A real sandbox for servers, and a folder that whoever runs them can reach."""

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from agentd.tools.sandbox.profile import Tier
from agentd.tools.sandbox.sandbox import Sandbox, probe


@pytest.fixture
async def sandbox() -> Sandbox:
    found = await probe()
    if found.tier is Tier.NONE:
        pytest.skip(f"no sandbox works here: {'; '.join(found.faults)}")
    return found


@pytest.fixture
def reachable() -> Generator[Path]:
    """A folder that another user can walk into, as pytest's own cannot be."""
    folder = Path(tempfile.mkdtemp(prefix="agentd-mcp-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)
