"""What tests of the daemon's own tools share."""

from pathlib import Path

import pytest

from agentd.tools.builtin.files import file_tools
from agentd.tools.builtin.frame import LocalTool
from agentd.tools.builtin.search import search_tools
from agentd.tools.builtin.work import Threads


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a run's folder, beside which there may be others."""
    folder = tmp_path.resolve() / "ws"
    folder.mkdir()
    return folder


@pytest.fixture
def tools() -> dict[str, LocalTool]:
    """Return the tools for files by their ids."""
    threads = Threads()
    made = (*file_tools(threads), *search_tools(threads))
    return {tool.manifest.id: tool for tool in made}
