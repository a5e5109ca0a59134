"""What whoever runs commands may rely on, in every tier."""

import asyncio
import os
import secrets
import sys
from pathlib import Path

import msgspec
import pytest
import uvloop

from agentd.errors import InvalidRequest, Unsupported
from agentd.tools.sandbox.drop import choose_owner
from agentd.tools.sandbox.profile import Command, Limits, Profile, Tier
from agentd.tools.sandbox.sandbox import Sandbox, probe
from tests.conformance.sandbox.conftest import own, python, shell
from tests.conformance.sandbox.prey import alive

ROOT = Path(__file__).parents[3]


def limited(profile: Profile, limits: Limits) -> Profile:
    """Return the profile with other limits."""
    return msgspec.structs.replace(profile, limits=limits)


async def until_alive(marker: str) -> None:
    """Wait until a process shows itself; nothing else tells of it while it is being cancelled."""
    while not alive(marker):  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_a_command_runs_in_its_workspace(sandbox: Sandbox, profile: Profile) -> None:
    finished = await sandbox.run(shell("pwd; echo out > file; echo err >&2; exit 3"), profile)
    assert (finished.exit_code, finished.signal, finished.timed_out) == (3, 0, False)
    assert (finished.stdout, finished.stderr) == (f"{profile.workspace}\n", "err\n")
    assert (finished.tier, finished.omitted_bytes) == (sandbox.tier.name.lower(), 0)
    assert (await sandbox.run(shell("cat file"), profile)).stdout == "out\n"


async def test_input_reaches_the_command(sandbox: Sandbox, profile: Profile) -> None:
    data = b"x" * 1_000_000
    finished = await sandbox.run(Command(("wc", "-c"), stdin=data), profile)
    assert finished.stdout == f"{len(data)}\n"


async def test_input_that_nobody_reads_is_no_fault(sandbox: Sandbox, profile: Profile) -> None:
    finished = await sandbox.run(Command(("true",), stdin=b"x" * 1_000_000), profile)
    assert finished.exit_code == 0


async def test_a_program_that_does_not_exist_ends_as_in_a_shell(
    sandbox: Sandbox, profile: Profile
) -> None:
    finished = await sandbox.run(Command(("no-such-program",)), profile)
    assert finished.exit_code == 127
    assert "No such file" in finished.stderr


async def test_a_signal_is_told(sandbox: Sandbox, profile: Profile) -> None:
    finished = await sandbox.run(shell("kill -TERM $$"), profile)
    assert (finished.exit_code, finished.signal) == (143, 15)


async def test_a_broken_pipe_ends_a_program(sandbox: Sandbox, profile: Profile) -> None:
    """Python ignores SIGPIPE, and what it starts would inherit that."""
    finished = await sandbox.run(
        Command(("bash", "-c", "yes | head -1; exit ${PIPESTATUS[0]}")), profile
    )
    assert (finished.stdout, finished.exit_code) == ("y\n", 141)


async def test_the_environment_is_the_profiles(
    sandbox: Sandbox, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAEMON_SECRET", "x")
    profile = msgspec.structs.replace(profile, environment={"OWN": "a b", "LD_PRELOAD": "none.so"})
    finished = await sandbox.run(Command(("env",)), profile)
    variables = dict(line.split("=", 1) for line in finished.stdout.splitlines())
    assert variables.keys() - {"PWD", "TMPDIR"} == {"HOME", "LANG", "LD_PRELOAD", "OWN", "PATH"}
    assert (variables["OWN"], variables["HOME"]) == ("a b", profile.workspace)


async def test_only_what_was_granted_can_be_read_and_written(
    sandbox: Sandbox, profile: Profile, room: Path
) -> None:
    readable, writable = own(room / "readable"), own(room / "writable")
    (readable / "file").write_text("text")
    file = room / "single"
    file.write_text("one")
    profile = msgspec.structs.replace(
        profile, readable=(str(readable), str(file)), writable=(str(writable),)
    )
    script = f"cat {readable}/file {file}; echo new > {writable}/new; echo bad > {readable}/new"
    finished = await sandbox.run(shell(script), profile)
    assert finished.stdout == "textone"
    assert (writable / "new").read_text() == "new\n"
    assert finished.exit_code != 0
    assert [path.name for path in readable.iterdir()] == ["file"]


@pytest.mark.parametrize("field", ["readable", "writable"])
async def test_a_link_in_the_place_of_a_granted_folder_is_not_followed(
    sandbox: Sandbox, profile: Profile, room: Path, field: str
) -> None:
    outside = own(room / "outside")
    await sandbox.run(shell(f"ln -s {outside} granted"), profile)
    path = f"{profile.workspace}/granted"
    profile = msgspec.structs.replace(profile, **{field: (path,)})
    with pytest.raises(InvalidRequest, match="symbolic link"):
        await sandbox.run(Command(("true",)), profile)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workspace", "relative"),
        ("workspace", "/"),
        ("workspace", "/tmp/../etc"),
        ("workspace", "/no/such/folder"),
        ("readable", ("/proc",)),
        ("readable", ("/sys/kernel",)),
        ("writable", ("/dev/shm",)),
        ("writable", ("/no/such/folder",)),
        ("environment", {"A=B": "x"}),
        ("environment", {"A": "\0"}),
        ("limits", Limits(soft_timeout_s=0)),
        ("limits", Limits(soft_timeout_s=2, hard_timeout_s=1)),
        ("limits", Limits(processes=0)),
    ],
)
async def test_what_cannot_be_granted_is_refused(
    sandbox: Sandbox, profile: Profile, field: str, value: object
) -> None:
    profile = msgspec.structs.replace(profile, **{field: value})
    with pytest.raises(InvalidRequest):
        await sandbox.run(Command(("true",)), profile)


@pytest.mark.parametrize("argv", [(), ("",), ("echo", "\0")])
async def test_what_cannot_be_run_is_refused(
    sandbox: Sandbox, profile: Profile, argv: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidRequest):
        await sandbox.run(Command(argv), profile)


async def test_the_soft_deadline_asks(sandbox: Sandbox, profile: Profile) -> None:
    """A program may tidy up, and its exit code is its own."""
    script = "trap 'echo tidy; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    profile = limited(profile, Limits(soft_timeout_s=0.5, hard_timeout_s=20))
    finished = await sandbox.run(shell(script), profile)
    assert (finished.stdout, finished.exit_code, finished.timed_out) == ("ready\ntidy\n", 5, True)


async def test_the_hard_deadline_ends(sandbox: Sandbox, profile: Profile) -> None:
    marker = secrets.token_hex(8)
    script = f"trap '' TERM; (setsid sh -c ': {marker}; while :; do sleep 1; done' &) ; sleep 60"
    profile = limited(profile, Limits(soft_timeout_s=0.3, hard_timeout_s=0.5))
    finished = await sandbox.run(Command(("sh", "-c", script, marker)), profile)
    assert (finished.timed_out, finished.signal) == (True, 9)
    assert alive(marker) == {}


async def test_what_is_left_behind_ends_with_the_command(
    sandbox: Sandbox, profile: Profile
) -> None:
    marker = secrets.token_hex(8)
    script = (
        f"setsid nohup sh -c ': {marker}; trap \"\" TERM HUP; while :; do sleep 1; done' & echo"
    )
    finished = await sandbox.run(shell(script), profile)
    assert (finished.exit_code, finished.timed_out) == (0, False)
    assert alive(marker) == {}


@pytest.mark.parametrize("moment", range(4))
async def test_cancelling_ends_everything_first(
    sandbox: Sandbox, profile: Profile, moment: int
) -> None:
    """At any moment: before the command has begun, while it does, and after."""
    marker = secrets.token_hex(8)
    script = f"trap '' TERM; (setsid sh -c ': {marker}; sleep 60' &); sleep 60"
    async with asyncio.TaskGroup() as group:
        task = group.create_task(sandbox.run(Command(("sh", "-c", script, marker)), profile))
        for _ in range(moment):
            await asyncio.sleep(0)
        if moment == 3:
            await until_alive(f": {marker}")
        task.cancel()
    assert task.cancelled()
    assert alive(marker) == {}


async def test_a_second_cancellation_does_not_leave_anything_either(
    sandbox: Sandbox, profile: Profile
) -> None:
    marker = secrets.token_hex(8)
    script = "trap '' TERM; sleep 60; :"
    async with asyncio.TaskGroup() as group:
        task = group.create_task(sandbox.run(Command(("sh", "-c", script, marker)), profile))
        await until_alive(marker)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
    assert alive(marker) == {}


async def test_a_terminal_is_there_when_it_was_asked_for(
    sandbox: Sandbox, profile: Profile
) -> None:
    program = "import os; print([os.isatty(fd) for fd in (0, 1, 2)], input())"
    without = await sandbox.run(python(program, stdin=b"line\n"), profile)
    assert without.stdout == "[False, False, False] line\n"
    profile = msgspec.structs.replace(profile, terminal=True)
    finished = await sandbox.run(python(program, stdin=b"line\n"), profile)
    assert finished.stdout == "[True, True, True] line\n"


async def test_a_process_is_talked_to(sandbox: Sandbox, profile: Profile) -> None:
    marker = secrets.token_hex(8)
    script = 'echo hello >&2; while read -r line; do echo "<$line>"; done; exit 4'
    process = await sandbox.spawn(Command(("sh", "-c", script, marker)), profile)
    try:
        for word in (b"one", b"two"):
            process.stdin.write(word + b"\n")
            await process.stdin.drain()
            assert await process.stdout.readline() == b"<" + word + b">\n"
        assert alive(marker)
        process.stdin.close()
        assert await process.wait() == 4
        assert process.stderr == "hello\n"
    finally:
        await process.kill()
    assert alive(marker) == {}


async def test_a_process_is_killed_with_all_its_children(
    sandbox: Sandbox, profile: Profile
) -> None:
    marker = secrets.token_hex(8)
    script = f"trap '' TERM; (setsid sh -c ': {marker}; sleep 60' &); echo; sleep 60"
    process = await sandbox.spawn(Command(("sh", "-c", script, marker)), profile)
    await process.stdout.readline()
    await process.kill()
    await process.kill()
    assert await process.wait() == 137
    assert alive(marker) == {}


DAEMON = """
import asyncio, sys
from agentd.tools.sandbox.profile import Command, Profile
from tests.conformance.sandbox.conftest import launchers
from agentd.tools.sandbox.sandbox import Sandbox
from agentd.tools.sandbox.profile import Tier

async def main():
    sandbox = Sandbox(launchers(Tier[sys.argv[1]])[-1])
    script = "trap '' TERM; (setsid sh -c 'sleep 60; : '$0-begun &); sleep 60"
    await sandbox.run(Command(("sh", "-c", script, sys.argv[3])), Profile(workspace=sys.argv[2]))

asyncio.run(main())
"""


async def test_nothing_outlives_a_killed_daemon(sandbox: Sandbox, profile: Profile) -> None:
    marker = secrets.token_hex(8)
    words = (sys.executable, "-c", DAEMON, sandbox.tier.name, profile.workspace, marker)
    path = os.pathsep.join([str(ROOT), *sys.path])
    daemon = await asyncio.create_subprocess_exec(*words, env={"PYTHONPATH": path})
    await until_alive(f"{marker}-begun")
    daemon.kill()
    await daemon.wait()
    while alive(marker):  # noqa: ASYNC110 - nobody is left to tell
        await asyncio.sleep(0)


def test_uvloop_serves_as_well(workspace: Path) -> None:
    async def main() -> None:
        profile = Profile(workspace=str(workspace))
        sandbox = await probe()
        if sandbox.tier is Tier.NONE:
            return
        finished = await sandbox.run(Command(("cat",), stdin=b"text"), profile)
        assert finished.stdout == "text"
        process = await sandbox.spawn(Command(("cat",)), profile)
        process.stdin.write(b"line\n")
        assert await process.stdout.readline() == b"line\n"
        await process.kill()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sandbox.run(shell("sleep 60"), profile), 0.2)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_many_commands_run_at_once(sandbox: Sandbox, profile: Profile) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(sandbox.run(shell(f"echo {n}"), profile)) for n in range(20)]
    assert [task.result().stdout for task in tasks] == [f"{n}\n" for n in range(20)]


async def test_nothing_stays_open(sandbox: Sandbox, profile: Profile) -> None:
    def open_files() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208

    await sandbox.run(Command(("true",)), profile)
    before = open_files()
    await sandbox.run(Command(("true",), stdin=b"x"), profile)
    await sandbox.run(Command(("true",)), msgspec.structs.replace(profile, terminal=True))
    with pytest.raises(InvalidRequest):
        await sandbox.run(Command(("true",)), msgspec.structs.replace(profile, readable=("/x",)))
    process = await sandbox.spawn(Command(("cat",)), profile)
    await process.kill()
    await asyncio.sleep(0)
    assert open_files() == before


async def test_without_a_tier_no_command_runs(profile: Profile) -> None:
    sandbox = Sandbox(None, faults=("bubblewrap: is not installed",))
    assert sandbox.tier is Tier.NONE
    with pytest.raises(Unsupported, match="bubblewrap: is not installed"):
        await sandbox.run(Command(("true",)), profile)


async def test_the_probe_finds_the_best_tier(sandbox: Sandbox) -> None:
    found = await probe()
    assert found.tier.value >= sandbox.tier.value
    assert found.owner == choose_owner()
    assert (found.faults == ()) == (found.tier is Tier.BUBBLEWRAP)


async def test_the_probe_says_which_parts_failed(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    del sandbox  # whatever this machine has
    monkeypatch.setattr("agentd.tools.sandbox.drop.SYSTEM_PATH", "/nowhere")
    monkeypatch.setattr("agentd.tools.sandbox.landlock.MINIMUM_ABI", 1000)
    found = await probe()
    assert found.tier is Tier.NONE
    assert "setpriv" in found.faults[0] or "bwrap is not installed" in found.faults[0]
