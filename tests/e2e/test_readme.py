"""The README's examples, as they stand there."""

import asyncio
import shlex
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from agentd.agent.tool import EffectClass
from agentd.config import load
from agentd.settings import mcp_settings, secrets_of
from agentd.tools.mcp.server import check_server
from tests.e2e.daemon import SERVE, Home, daemon
from tests.e2e.test_tools import calling
from tests.e2e.web import free_address
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


async def test_tools_of_the_daemon(home: Home) -> None:
    """The command as it stands there, with a script for its model."""
    home.path.chmod(0o711)
    [line] = marked("own_tools").splitlines()
    _, *words = shlex.split(line)
    primes = "2\n3\n5\n7\n11\n13\n17\n19\n23\n29\n"
    home.script(
        calling(
            ("write", {"path": "primes.txt", "content": primes}),
            ("run", {"argv": ["wc", "-l", "primes.txt"]}),
        )
    )
    async with daemon(home):
        answer = await answer_of(home, home.path, "-m", "agentd", *words)
    assert '"stdout":"10 primes.txt\\n"' in answer


def test_a_configuration_of_tools(home: Home) -> None:
    home.configure(marked("tools_config"))
    config = load(environ=home.environment)
    [server] = mcp_settings(config)
    check_server(server, "tracker")
    assert server.permissions == ("net.connect:tracker.example.com:443", "secret.use:tracker")
    assert server.effects == {"search": EffectClass.READ_ONLY}
    assert secrets_of(config).names == ("tracker",)


async def test_a_program(home: Home, folder: Path) -> None:
    program = marked("program")
    [address] = [line for line in program.splitlines() if line.startswith("ADDRESS = ")]
    (folder / "program.py").write_text(program.replace(address, f"ADDRESS = {home.address!r}"))
    async with daemon(home):
        written = await answer_of(home, folder, "program.py")
    assert "call_ended" in written
    assert written.splitlines()[-1].startswith("They are {")


async def test_curl(home: Home, folder: Path) -> None:
    home.script({"conversations": [{"turns": [{"text": "Paris"}]}]})
    address = free_address()
    make_token, serve = marked("http").splitlines()
    await shell(home, folder, make_token)
    command = shlex.split(serve.replace("$PWD", str(folder)).replace("127.0.0.1:7433", address))
    async with daemon(home, [*SERVE[:-1], *command[1:]]):
        written = await shell(home, folder, marked("curl").replace("127.0.0.1:7433", address))
    created, *events, waited = written.partition('{"openapi"')[0].split("\n")
    assert created.startswith('{"run":{"name":"runs/first"')
    assert "event: end" in events
    assert '"output":"Paris"' in waited


async def shell(home: Home, folder: Path, lines: str) -> str:
    """Run lines of a shell in the folder; return what they write."""
    program = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", lines, cwd=folder, env=home.environment, stdout=PIPE
    )
    async with asyncio.timeout(DEADLINE_S):
        written, _ = await program.communicate()
    assert program.returncode == 0
    return written.decode()
