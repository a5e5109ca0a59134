"""Commands run in the real sandbox, with what was granted and nothing else."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from agentd.agent.permission import Labels
from agentd.agent.tool import EffectClass
from agentd.tools.builtin.command import MAX_OUTPUT_BYTES, command_tools
from agentd.tools.builtin.frame import LocalTool
from agentd.tools.sandbox.profile import Tier
from agentd.tools.sandbox.sandbox import Sandbox, probe
from tests.unit.tools.builtin.calls import call, failure, invocation, is_running, result

SECRETS = {"forge": "hush-hush-hush"}


@pytest.fixture
async def sandbox() -> Sandbox:
    found = await probe()
    if found.tier is Tier.NONE:
        pytest.skip("; ".join(found.faults))
    return found


@pytest.fixture
async def room(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace that the user of commands can use."""
    top = tmp_path_factory.mktemp("room").resolve()
    for folder in (top, *top.parents):
        if folder.owner() == top.owner() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    workspace = top / "ws"
    workspace.mkdir(mode=0o700)
    if sandbox.owner is not None:
        os.chown(workspace, sandbox.owner.uid, sandbox.owner.gid)
    return workspace


@pytest.fixture
def run(sandbox: Sandbox) -> LocalTool:
    return command_tools(sandbox, SECRETS.__getitem__)[0]


@pytest.fixture
def online(sandbox: Sandbox) -> LocalTool:
    return command_tools(sandbox, SECRETS.__getitem__)[1]


def test_without_a_sandbox_there_are_no_commands() -> None:
    assert command_tools(Sandbox(None, faults=("bwrap is missing",)), str) == ()


def test_only_a_command_with_a_network_is_irreversible(run: LocalTool, online: LocalTool) -> None:
    assert run.manifest.effect is EffectClass.NON_IDEMPOTENT
    assert run.manifest.labels == Labels()
    assert online.manifest.effect is EffectClass.IRREVERSIBLE
    assert online.manifest.labels == Labels(untrusted=True)


def test_needs_are_what_is_asked_for(run: LocalTool, online: LocalTool, room: Path) -> None:
    def needs(tool: LocalTool, **arguments: object) -> list[str]:
        return list(tool.needs(arguments, str(room)))

    (room / "link").symlink_to("/usr/bin/env")
    assert needs(run, argv=["git", "status"]) == ["process.exec:git"]
    assert needs(run, line="make all") == ["process.exec:sh"]
    assert needs(run, argv=["./x"], folder="sub") == [f"process.exec:{room}/sub/x"]
    assert needs(run, argv=["./link"])[1:] == [f"process.exec:{os.path.realpath('/usr/bin/env')}"]
    assert needs(run, argv=["a"], reads=["/srv/data"], writes=["/srv/out"]) == [
        "process.exec:a",
        "fs.read:/srv/data/**",
        "fs.write:/srv/out/**",
    ]
    assert needs(online, argv=["curl"], network=["example.com:443"]) == [
        "process.exec:curl",
        "net.connect:example.com:443",
    ]


async def test_a_command_runs_in_the_workspace(run: LocalTool, room: Path) -> None:
    (room / "sub").mkdir()
    ran = await result(run, room, {"line": "pwd; cat; echo oops >&2; exit 3", "stdin": "hello"})
    assert ran == {
        "exit_code": 3,
        "stdout": f"{room}\nhello",
        "stderr": "oops\n",
        "omitted_bytes": 0,
        "timed_out": False,
        "tier": ran["tier"],
    }
    assert ran["tier"] in {"bubblewrap", "landlock"}
    ran = await result(run, room, {"argv": ["pwd"], "folder": "sub"})
    assert ran["stdout"] == f"{room}/sub\n"
    ran = await result(run, room, {"line": 'echo "$0 $#" $1', "folder": "./sub/../sub/"})
    assert ran["stdout"] == "sh 0\n"
    ran = await result(run, room, {"argv": ["echo", "a b", "$HOME", "; id"]})
    assert ran["stdout"] == "a b $HOME ; id\n"


async def test_a_command_changes_the_workspace(run: LocalTool, room: Path) -> None:
    assert (await result(run, room, {"line": "echo made > f"}))["exit_code"] == 0
    assert (room / "f").read_text() == "made\n"


async def test_a_command_is_one_command(run: LocalTool, room: Path) -> None:
    several: tuple[dict[str, Any], ...] = ({}, {"argv": ["a"], "line": "b"}, {"argv": []})
    for arguments in several:
        assert "either" in await failure(run, room, arguments)
    for folder in ("/etc", "..", "a/../..", "../x"):
        message = await failure(run, room, {"argv": ["pwd"], "folder": folder})
        assert "beneath" in message
    assert (await result(run, room, {"argv": ["pwd"], "folder": "none"}))["exit_code"] != 0
    assert (await result(run, room, {"argv": ["no-such-program"]}))["exit_code"] != 0
    assert await failure(run, room, {"argv": ["a\0b"]})


async def test_what_was_not_granted_is_not_given(
    run: LocalTool, online: LocalTool, room: Path
) -> None:
    outside = room.parent / "outside"
    outside.mkdir(mode=0o755)
    (outside / "f").write_text("shared")
    look = {"argv": ["cat", str(outside / "f")]}
    assert (await result(run, room, look))["stdout"] == ""
    arguments = {**look, "reads": [str(outside)]}
    assert (await result(run, room, arguments))["stdout"] == "shared"
    exec_only = {"granted": ["process.exec:cat"]}
    assert "no fs.read" in await failure(run, room, arguments, **exec_only)
    assert "no fs.write" in await failure(
        run, room, {**look, "writes": [str(outside)]}, **exec_only
    )
    assert "process.exec:cat" in await failure(run, room, look, granted=[])
    asked = {**look, "network": ["example.com:443"]}
    assert "net.connect:example.com:443" in await failure(online, room, asked, **exec_only)


async def test_a_command_has_no_network_of_its_own(run: LocalTool, room: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0)
        line = f"exec 3<>/dev/tcp/127.0.0.1/{trap.getsockname()[1]} && echo connected"
        ran = await result(run, room, {"argv": ["bash", "-c", line]})
        assert "connected" not in ran["stdout"]
        with pytest.raises(BlockingIOError):
            trap.accept()


async def test_time_and_output_are_bounded(run: LocalTool, room: Path) -> None:
    ran = await result(run, room, {"argv": ["sleep", "60"], "timeout_s": 1})
    assert ran["timed_out"]
    ran = await result(run, room, {"line": "yes '\"' | head -c 1000000"})
    assert ran["omitted_bytes"] == 1_000_000 - MAX_OUTPUT_BYTES


async def test_a_cancelled_command_is_gone(run: LocalTool, room: Path) -> None:
    os.mkfifo(room / "ready", 0o666)
    (room / "ready").chmod(0o666)
    mark = f"mark-{os.getpid()}"
    line = f"(setsid sh -c 'sleep 100; : {mark}') & echo go > ready; sleep 100; : {mark}"
    made = invocation(run, room, {"line": line})

    async def run_it() -> None:
        await run(made)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run_it())
        await asyncio.to_thread((room / "ready").read_text)
        assert is_running(mark)
        task.cancel()
    assert not is_running(mark)


@pytest.mark.parametrize("host", ["example.com", "*:443", "[::1]:80", "A.com:1", "a?:1", "a.com:0"])
async def test_hosts_are_named_in_one_form(online: LocalTool, room: Path, host: str) -> None:
    with pytest.raises(AssertionError):
        await call(online, room, {"argv": ["true"], "network": [host]})


async def test_a_secret_reaches_a_command_that_was_granted_it(run: LocalTool, room: Path) -> None:
    arguments = {"line": 'echo "${#TOKEN} $TOKEN"', "secrets": {"TOKEN": "forge"}}
    assert "secret.use:forge" in run.needs(arguments, str(room))
    finished = await result(run, room, arguments)
    assert finished["stdout"] == "14 hush-hush-hush\n"


async def test_a_secret_that_was_not_granted_stays_where_it_is(run: LocalTool, room: Path) -> None:
    arguments = {"line": "echo $TOKEN", "secrets": {"TOKEN": "forge"}}
    told = await failure(run, room, arguments, granted=["process.exec:sh"])
    assert "secret.use:forge" in told
