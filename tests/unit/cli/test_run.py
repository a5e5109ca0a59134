"""`agentd run` against a real daemon with a scripted model."""

import json
import signal
import subprocess
import time
from pathlib import Path

from tests.unit.cli.conftest import Cli
from tests.unit.cli.terminal import Terminal


def test_the_answer_alone_is_on_stdout(cli: Cli) -> None:
    result = cli("run", "hello")
    assert (result.returncode, result.stdout) == (0, "You said: hello\n")
    assert result.stderr == ""


def test_the_goal_comes_from_stdin(cli: Cli) -> None:
    assert cli.ok("run", "-", input="from a pipe") == "You said: from a pipe\n"


def test_a_file_of_tools_is_hosted(cli: Cli) -> None:
    result = cli("run", "weather", "--tools", "tools.py")
    assert result.returncode == 0, result.stderr
    assert result.stdout == 'It says {"city": "Paris", "sky": "blue"} ␛[31m\\x9bred\n'
    assert '→ get_weather({"city":"Paris"})' in result.stderr
    assert '← {"city": "Paris", "sky": "blue"}' in result.stderr
    listed = json.loads(cli.ok("tools", "list", "-o", "json"))
    offered = {tool["name"].rpartition("/")[2]: tool for tool in listed}
    assert offered["get_weather"]["effect"] == "EFFECT_CLASS_READ_ONLY"
    assert offered["public"]["effect"] in ("EFFECT_CLASS_UNSPECIFIED", "EFFECT_CLASS_IRREVERSIBLE")
    assert not {"_helper", "check"} & set(offered)


def test_a_terminal_sees_text_as_it_comes(cli: Cli) -> None:
    terminal = Terminal(cli, "run", "weather", "--tools", "tools.py")
    code, shown = terminal.finish()
    assert code == 0
    assert "I will look." in shown
    assert shown.count("It says") == 1
    assert "2 turns · 1 tool call · 240 tokens" in shown
    assert "\x9b" not in shown
    assert "\x1b[31mred" not in shown


def test_no_color_and_dumb_terminals_get_no_colour(cli: Cli) -> None:
    _, shown = Terminal(cli, "run", "hello", env={"NO_COLOR": "1"}).finish()
    assert "\x1b[3" not in shown


def test_output_formats(cli: Cli) -> None:
    run = json.loads(cli.ok("run", "hello", "-o", "json"))
    assert (run["state"], run["output"]) == ("RUN_STATE_SUCCEEDED", "You said: hello")
    lines = [json.loads(line) for line in cli.ok("run", "hello", "-o", "jsonl").splitlines()]
    assert [event["sequence"] for event in lines] == [str(n + 1) for n in range(len(lines))]
    assert "runCreated" in lines[0]
    assert "runEnded" in lines[-1]


def test_a_failed_run_says_why(cli: Cli) -> None:
    result = cli("run", "refuse")
    assert (result.returncode, result.stdout) == (1, "")
    assert "failed: model refused" in result.stderr


def test_a_run_out_of_time(cli: Cli) -> None:
    result = cli("run", "endless", "--timeout", "300ms")
    assert result.returncode == 6
    assert "budget wall time" in result.stderr


def test_what_does_not_exist_is_named(cli: Cli) -> None:
    assert cli("run", "hello", "--agent", "nobody").returncode == 4
    assert cli("run", "hello", "--model", "scripted/nothing").returncode == 4
    result = cli("run", "hello", "--use", "no/tool")
    assert result.returncode == 4
    assert "no/tool" in result.stderr


def test_values_that_cannot_be(cli: Cli) -> None:
    for arguments in (
        ("--timeout", "soon"),
        ("--tools", "absent.py"),
        ("--tools", "script.json"),
        ("--detach", "--tools", "tools.py"),
        ("--toolset", "x"),
        ("--max-turns", "-1"),
    ):
        result = cli("run", "hello", *arguments)
        assert result.returncode == 2, arguments
        assert result.stderr


def test_a_session_is_continued(cli: Cli) -> None:
    name = cli.ok("sessions", "create").strip()
    cli.ok("run", "first", "--session", name)
    cli.ok("run", "second", "--session", name.removeprefix("sessions/"))
    session = json.loads(cli.ok("sessions", "show", name, "-o", "json"))
    assert session["runCount"] == "2"


def test_once_detaches(cli: Cli) -> None:
    with Terminal(cli, "run", "endless") as terminal:
        terminal.read_until("xx")
        terminal.press_ctrl_c()
        code, shown = terminal.finish()
    assert code == 130
    run = shown.partition("agentd cancel ")[2].split()[0]
    assert "Watch: agentd logs -f" in shown
    found = json.loads(cli.ok("inspect", run, "-o", "json"))
    assert found["state"] == "RUN_STATE_RUNNING"
    assert "stopped" in cli.ok("cancel", run)


def test_twice_cancels(cli: Cli) -> None:
    with Terminal(cli, "run", "endless") as terminal:
        terminal.read_until("xx")
        terminal.press_ctrl_c()
        terminal.read_until("Detaching")
        terminal.press_ctrl_c()
        code, shown = terminal.finish()
    assert code == 130
    assert "everything has ended" in shown
    assert "requests/1" in shown


def test_a_signal_without_a_terminal_detaches_too(cli: Cli) -> None:
    with cli.start("run", "endless", "-o", "jsonl") as process:
        assert process.stdout is not None
        run = json.loads(process.stdout.readline())["run"]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "goes on" in said
    cli.ok("cancel", run)


def test_the_daemon_starts_by_itself(idle: Cli) -> None:
    result = idle("run", "hello")
    try:
        assert (result.returncode, result.stdout) == (0, "You said: hello\n")
        assert "Started the daemon" in result.stderr
        assert "Started" not in idle("run", "again").stderr
    finally:
        stop_daemon(idle)


def test_two_commands_start_one_daemon(idle: Cli) -> None:
    with idle.start("run", "one") as first, idle.start("run", "two") as second:
        outputs = [first.communicate(timeout=20), second.communicate(timeout=20)]
    try:
        assert [first.returncode, second.returncode] == [0, 0], outputs
        assert sum("Started the daemon" in said for _, said in outputs) == 1
    finally:
        stop_daemon(idle)


def test_a_daemon_that_cannot_start_shows_its_log(idle: Cli) -> None:
    result = idle("--set", "server.tcp=127.0.0.1:1", "run", "hello")
    assert result.returncode == 2  # The configuration itself is refused, before anything starts.
    (idle.home / "run/agentd.sock").write_text("in the way")
    result = idle("run", "hello")
    assert result.returncode == 3
    assert "The end of its log" in result.stderr


def test_an_address_that_was_asked_for_is_not_replaced(idle: Cli) -> None:
    result = idle("--address", f"unix:{idle.home}/other.sock", "run", "hello")
    assert result.returncode == 3
    assert "other.sock" in result.stderr
    assert not Path(idle.home / ".local/state/agentd/serve.log").exists()


def stop_daemon(cli: Cli) -> None:
    """End the daemon that a command started, and wait until it is gone."""
    lock = (cli.home / "run/agentd.sock.lock").read_text(encoding="ascii")
    pid = lock.split()[0]
    subprocess.run(["kill", "-TERM", pid], check=True)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "Z" not in _state(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)  # Another process's end cannot be waited for by anybody but its parent.


def _state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"
