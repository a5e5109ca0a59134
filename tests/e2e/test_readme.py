"""The README's examples, as they stand there."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.e2e.daemon import Home, daemon
from tests.tidy.test_readme import marked

QUESTION = "Which file is the largest?"
SCRIPT = {
    "conversations": [
        {
            "goal": QUESTION.rstrip("?"),
            "turns": [
                {"text": "I will look.", "calls": [{"tool": "list_files", "arguments": {}}]},
                {"text": "They are {{last_result}}"},
            ],
        }
    ]
}
DEADLINE_S = 25


@pytest.fixture
def folder(home: Home) -> Path:
    """A folder with the README's file of tools, in the home of a daemon that calls one of them."""
    home.script(SCRIPT)
    folder = home.path / "folder"
    folder.mkdir()
    (folder / "folder.py").write_text(marked("tools"), "utf-8")
    return folder


async def answer_of(home: Home, folder: Path, *arguments: str) -> str:
    """Run Python in the folder; return what it writes."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=folder, env=home.environment, stdout=PIPE
    )
    async with asyncio.timeout(DEADLINE_S):
        written, _ = await program.communicate()
    assert program.returncode == 0
    return written.decode()


async def test_a_file_of_tools(home: Home, folder: Path) -> None:
    async with daemon(home):
        answer = await answer_of(
            home, folder, "-m", "agentd", "run", "--tools", "folder.py", QUESTION
        )
    assert answer.startswith("They are {")
    assert '"folder.py":' in answer


async def test_a_program(home: Home, folder: Path) -> None:
    program = marked("program")
    [address] = [line for line in program.splitlines() if line.startswith("ADDRESS = ")]
    (folder / "program.py").write_text(program.replace(address, f"ADDRESS = {home.address!r}"))
    async with daemon(home):
        written = await answer_of(home, folder, "program.py")
    assert "call_ended" in written
    assert written.splitlines()[-1].startswith("They are {")
