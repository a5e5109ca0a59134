"""The daemon's own tools in the daemon's own process tree: files, commands, servers and skills."""

import asyncio
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from agentd.client import Client
from agentd.v1.call_pb2 import CallState
from agentd.v1.run_pb2 import CancelOutcome, Run, RunState, WaitReason
from tests.e2e.daemon import Home, daemon
from tests.e2e.watching import until

NOSY = Path(__file__).parents[1] / "unit/tools/mcp/nosy.py"
WAIT_S = 15.0
WORKSPACE = "data/agentd/workspaces/default/r-1"
RUN = "runs/r-1"
SUCCEEDED = RunState.RUN_STATE_SUCCEEDED


def calling(*calls: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the script of a model that makes calls, one after another, and tells the last."""
    turns = [{"calls": [{"tool": tool, "arguments": arguments}]} for tool, arguments in calls]
    return {"conversations": [{"turns": [*turns, {"text": "It says: {{last_result}}"}]}]}


@pytest.fixture
def home() -> Iterator[Home]:
    """A home that the user of commands can pass through."""
    with Home() as made:
        made.path.chmod(0o711)
        yield made


@pytest.fixture
async def client(home: Home) -> AsyncIterator[Client]:
    async with home.client() as made:
        yield made


def cli(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "agentd", *arguments],
        env=home.environment,
        cwd=home.path,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


async def test_files_and_commands(home: Home, client: Client) -> None:
    home.script(
        calling(
            ("write", {"path": "list.txt", "content": "b\na\n"}),
            ("run", {"argv": ["sort", "list.txt"]}),
            ("read", {"path": "/etc/hostname"}),
            ("search", {"pattern": "a"}),
        )
    )
    async with daemon(home):
        used = ("--use", "files/*", "--use", "process/*")
        result = cli(home, "run", *used, "sort it")
        assert result.returncode == 0, result.stderr
        assert "list.txt" in result.stdout
        [run] = [found async for found in client.runs.list()]
        calls = [call async for call in client.runs.calls(run.name)]
        assert json.loads(calls[1].result_json)["stdout"] == "a\nb\n"
        denied = cli(home, "explain", run.name, "c3-1").stdout
        assert "denied because no rule allows it, for fs.read:/etc/hostname" in denied
        allowed = cli(home, "explain", run.name, "c2-1").stdout
        assert "process.exec:sort" in allowed
        assert "allow process.exec:*" in allowed


async def test_without_tools_of_its_own(home: Home) -> None:
    home.script(calling(), more="[tools]\nbuiltin = false\n")
    async with daemon(home):
        result = cli(home, "run", "--use", "files/read", "look")
        assert result.returncode != 0
        assert "there is no tool 'files/read'" in result.stderr


async def test_a_skill_is_read_on_demand(home: Home) -> None:
    folder = home.path / "skills/greeting"
    folder.mkdir(parents=True)
    header = "---\nname: greeting\ndescription: How to greet.\n---\n"
    (folder / "SKILL.md").write_text(f"{header}Say: good morning.\n")
    home.script(
        calling(("read", {"skill": "greeting"})),
        more=f'[tools]\nskills = ["{folder.parent}"]\n',
    )
    async with daemon(home):
        refused = cli(home, "run", "--use", "skills/*", "greet")
        assert "Not permitted" in refused.stdout
        allow = ("--allow", "tool.use:skills/*", "--allow", f"fs.read:{folder}/**")
        made = cli(home, "agents", "create", "polite", "--tool", "skills/*", *allow)
        assert made.returncode == 0, made.stderr
        result = cli(home, "run", "--agent", "polite", "greet")
        assert "good morning" in result.stdout


SERVER = """
[tools.mcp.nosy]
command = ["/usr/bin/python3", "{program}"]
permissions = ["fs.read:{program}", "secret.use:token"]
environment = ["TOKEN=${{secret:token}}"]
{more}
[secrets.token]
file = "{secret}"
"""


def declare_server(home: Home, secret: str, more: str = "") -> str:
    """Return the configuration of a server that evaluates what it is told to, with a secret."""
    program = Path(shutil.copy(NOSY, home.path))
    program.chmod(0o644)
    place = home.path / "secret"
    place.write_text(secret)
    place.chmod(0o600)
    return SERVER.format(program=program, secret=place, more=more)


async def test_a_declared_server(home: Home, client: Client) -> None:
    """A stranger's server is asked about, sees its folder, and is not the daemon's user."""
    code = "[__import__('os').getuid(), __import__('os').path.exists('/proc/1/environ')]"
    home.script(
        calling(("look", {"code": code})), more=declare_server(home, "sesame-open-the-door")
    )
    async with daemon(home):
        await client.runs.create(Run(name=RUN, goal="look", tools=["mcp-nosy/*"]))
        waiting = await until(client, RUN, "run_waiting")
        assert waiting.run_waiting.reason == WaitReason.WAIT_REASON_APPROVAL
        listed = cli(home, "approvals").stdout
        assert "mcp-nosy/look" in listed
        approved = cli(home, "approve", f"{RUN}/calls/c1-1")
        assert approved.returncode == 0, approved.stderr
        ended = await client.runs.wait(RUN, timeout_s=WAIT_S)
        assert ended.state == SUCCEEDED
        [call] = [call async for call in client.runs.calls(RUN)]
        [part] = json.loads(call.result_json)["content"]
        uid, _ = json.loads(part["text"].lower())
        assert uid != 0
        assert call.verdict.after_untrusted


# Commands that do not end by themselves.


@pytest.fixture
def mark(home: Home) -> str:
    """A word on the command line of a command that stays, in a home whose model runs it."""
    word = f"mark-{uuid4().hex}"
    line = f"echo begun >> count; echo begun > gate; sleep 600; echo {word}"
    home.script(calling(("run", {"line": line, "timeout_s": 500})))
    return word


@contextmanager
def gate(home: Home) -> Iterator[int]:
    """Make the folder of a run, with a pipe through which a command says that it has begun."""
    folder = home.path / WORKSPACE
    folder.mkdir(parents=True)
    pipe = folder / "gate"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def begin(client: Client, begun: int) -> None:
    """Start the run of a command that stays, and wait until it has begun."""
    await client.runs.create(Run(name=RUN, goal="stay", tools=["process/*"]))
    ready, _, _ = await asyncio.to_thread(select.select, [begun], [], [], WAIT_S)
    assert ready, "the command has not begun"


def processes(mark: str) -> list[int]:
    """Return the processes with a word on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in line:
            found.append(int(entry.name))
    return found


def wait_for_end(pids: Sequence[int]) -> None:
    """Wait until processes of others are gone."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([descriptor], [], [], WAIT_S)[0], f"{pid} stays"
        finally:
            os.close(descriptor)


async def test_a_command_of_a_killed_daemon_is_unknown_and_not_repeated(
    home: Home, client: Client, mark: str
) -> None:
    with gate(home) as begun:
        async with daemon(home) as served:
            await begin(client, begun)
            running = processes(mark)
            assert running
            await served.kill()
        wait_for_end(running)
        async with daemon(home):
            waiting = await until(client, RUN, "run_waiting")
            assert waiting.run_waiting.reason == WaitReason.WAIT_REASON_INPUT
            [call] = [call async for call in client.runs.calls(RUN)]
            assert call.state == CallState.CALL_STATE_UNKNOWN
            said = '{"stdout": "somebody looked"}'
            resolved = cli(home, "resolve", call.name, "--result", said)
            assert resolved.returncode == 0, resolved.stderr
            ended = await client.runs.wait(RUN, timeout_s=WAIT_S)
            assert "somebody looked" in ended.output
    assert (home.path / WORKSPACE / "count").read_text() == "begun\n"
    assert processes(mark) == []


async def test_a_cancelled_command_is_stopped_and_leaves_no_process(
    home: Home, client: Client, mark: str
) -> None:
    with gate(home) as begun:
        async with daemon(home):
            await begin(client, begun)
            assert processes(mark)
            report = (await client.runs.cancel(RUN)).report
            assert report.complete
            [entry] = report.entries
            assert entry.name == f"{RUN}/calls/c1-1"
            assert entry.outcome == CancelOutcome.CANCEL_OUTCOME_STOPPED
            assert processes(mark) == []
