"""The commands beside `run`, against a real daemon with a scripted model."""

import json
import re
import select
import signal
from pathlib import Path

import pytest

from agentd.cli.service import unseen_by_services
from tests.unit.cli.conftest import Cli


@pytest.fixture(scope="module")
def ended(cli: Cli) -> str:
    """A run that has ended."""
    run: str = json.loads(cli.ok("run", "weather", "--tools", "tools.py", "-o", "json"))["name"]
    return run


def test_ps_lists_unfinished_runs(cli: Cli, ended: str) -> None:
    run = cli.run("endless")
    short = run.removeprefix("runs/")
    try:
        table = cli.ok("ps")
        assert re.search(rf"^{short} +running +default ", table, re.MULTILINE)
        assert ended.removeprefix("runs/") not in table
        assert run in cli.ok("ps", "-q").split()
        assert ended in cli.ok("ps", "-a", "-q").split()
        assert len(cli.ok("ps", "-a", "-q", "-n", "1").split()) == 1
        listed = json.loads(cli.ok("ps", "-o", "json", "--agent", "default"))
        assert run in [entry["name"] for entry in listed]
    finally:
        cli.ok("cancel", run)


def test_inspect_shows_a_run_with_its_calls(cli: Cli, ended: str) -> None:
    shown = cli.ok("inspect", ended.removeprefix("runs/"))
    assert re.search(r"^state +succeeded$", shown, re.MULTILINE)
    assert re.search(r"^c1-1 +tools-\w+/get_weather +succeeded +read only", shown, re.MULTILINE)
    call = json.loads(cli.ok("inspect", f"{ended}/calls/c1-1", "-o", "json"))
    assert call["state"] == "CALL_STATE_SUCCEEDED"
    assert re.search(r"^state +succeeded$", cli.ok("inspect", f"{ended}/calls/c1-1"), re.MULTILINE)
    assert "create time" in cli.ok("inspect", "agents/default")
    assert cli("inspect", "runs/nothing").returncode == 4
    assert cli("inspect", "a/b/c").returncode == 2


def test_logs_tell_the_story(cli: Cli, ended: str) -> None:
    told = cli.ok("logs", ended)
    steps = ("> weather", "I will look.", "→ get_weather", '← {"city"', "It says")
    places = [told.index(step) for step in steps]
    assert places == sorted(places)
    assert "\x1b" not in told
    assert cli.ok("logs", "-f", ended) == told  # It has ended: there is nothing to wait for.
    assert cli("logs", "nothing").returncode == 4


def test_logs_follow_to_the_end(cli: Cli) -> None:
    run = cli.run("endless")
    with cli.start("logs", "-f", run) as following:
        assert following.stdout is not None
        assert "endless" in following.stdout.readline()
        cli.ok("cancel", run)
        shown, said = following.communicate(timeout=20)
    assert following.returncode == 1
    assert "stopping" in shown
    assert f"{run} cancelled" in said


def test_events_are_listed_and_followed(cli: Cli, ended: str) -> None:
    events = [
        json.loads(line)
        for line in cli.ok("events", "--run", ended, "-o", "jsonl").split("\n")
        if line
    ]
    assert [event["sequence"] for event in events] == [str(n + 1) for n in range(len(events))]
    followed = cli.ok("events", "-f", "--run", ended, "-o", "jsonl")
    assert [json.loads(line) for line in followed.splitlines()] == events
    assert json.loads(cli.ok("events", "--run", ended, "-o", "json")) == events
    after = events[2]["revision"]
    rest = cli.ok("events", "--run", ended, "--after", after, "-o", "jsonl")
    assert [json.loads(line) for line in rest.splitlines()] == events[3:]
    kinds = cli.ok("events", "--run", ended, "--kind", "call_ended", "-o", "jsonl")
    assert [json.loads(line)["sequence"] for line in kinds.splitlines()] == [
        event["sequence"] for event in events if "callEnded" in event
    ]
    table = cli.ok("events", "--run", ended).splitlines()
    assert len(table) == len(events)
    assert "run_ended" in table[-1]
    assert not {"\x1b", "\x9b"} & set("".join(table))
    assert cli("events", "-f", "-o", "json").returncode == 2


def test_events_from_now_on(cli: Cli) -> None:
    with cli.start("events", "-f", "-o", "jsonl") as following:
        assert following.stdout is not None
        started = {cli.run("hello")}
        while not select.select([following.stdout], [], [], 0.2)[0]:
            started.add(cli.run("hello"))  # The one before may be older than the watch.
        assert json.loads(following.stdout.readline())["run"] in started
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=20)
    assert following.returncode == 130


def test_pause_send_resume_and_wait(cli: Cli) -> None:
    run = cli.run("endless")
    assert "is paused" in cli("pause", run).stderr
    assert "event" in cli("send", run, "-", input="look there too").stderr
    assert cli("wait", run, "--timeout", "10ms").returncode == 6
    cli.ok("resume", run)
    assert cli("resume", run).returncode == 1
    report = json.loads(cli.ok("cancel", run, "-o", "jsonl", "--reason", "enough"))
    assert report["run"] == run
    assert cli("wait", run).returncode == 1
    assert cli("send", run, "too late").returncode == 1


def test_wait_prints_the_answer(cli: Cli) -> None:
    assert cli.ok("wait", cli.run("hello")) == "You said: hello\n"


def test_resolve_takes_exactly_one_answer(cli: Cli, ended: str) -> None:
    call = f"{ended}/calls/c1-1"
    assert cli("resolve", call).returncode == 2
    assert cli("resolve", call, "--retry", "--abandon").returncode == 2
    assert cli("resolve", call, "--result", "{not json").returncode == 2
    refused = cli("resolve", call, "--result", "1")
    assert refused.returncode == 1  # Its outcome is known.
    assert "UNKNOWN" in refused.stderr


def test_agents_come_from_flags_and_files(cli: Cli) -> None:
    cli.ok("agents", "create", "helper", "--instructions", "Be kind.", "--tool", "files/*")
    spec = cli.home / "spec.toml"
    spec.write_text('name = "filed"\ninstructions = "From a file."\n[budget]\nmax_turns = 3\n')
    assert json.loads(cli.ok("agents", "create", "--file", "spec.toml", "-o", "json"))[
        "budget"
    ] == {"maxTurns": "3"}
    document = '{"instructions": "From JSON.", "budget": {"maxWallTime": "60s"}}'
    piped = cli.ok("agents", "create", "piped", "--file", "-", "-o", "json", input=document)
    assert json.loads(piped)["name"] == "agents/piped"
    updated = cli.ok("agents", "update", "helper", "--instructions", "Be brief.", "-o", "json")
    assert json.loads(updated)["revision"] == "2"
    assert json.loads(updated)["tools"] == ["files/*"]
    assert re.search(r"^helper +2 ", cli.ok("agents", "list"), re.MULTILINE)
    assert "Be kind." in cli.ok("agents", "show", "helper", "--revision", "1")
    assert len(cli.ok("agents", "revisions", "helper", "-o", "jsonl").splitlines()) == 2
    assert cli("agents", "create", "helper").returncode == 1
    assert cli("agents", "update", "helper").returncode == 2
    spec.write_text("nonsense = 1\n")
    refused = cli("agents", "create", "x", "--file", "spec.toml")
    assert refused.returncode == 2
    assert "nonsense" in refused.stderr
    cli.ok("agents", "delete", "helper", "filed", "piped")
    assert cli("agents", "show", "helper").returncode == 4


def test_sessions(cli: Cli) -> None:
    assert cli.ok("sessions", "create", "talk", "--display-name", "Small talk") == "sessions/talk\n"
    assert re.search(r"^talk +0 +Small talk$", cli.ok("sessions", "list"), re.MULTILINE)
    assert "Small talk" in cli.ok("sessions", "show", "talk")
    cli.ok("sessions", "delete", "talk")
    assert cli("sessions", "show", "talk").returncode == 4


def test_tools_are_hosted_until_ctrl_c(cli: Cli) -> None:
    with cli.start("tools", "host", "tools.py", "--toolset", "kit", "--host", "kit-1") as host:
        assert host.stderr is not None
        while "Hosting" not in host.stderr.readline():
            pass
        answer = cli("run", "weather", "--use", "kit/*")
        assert answer.stdout.startswith('It says {"city": "Paris"')
        assert re.search(r"^kit/get_weather +yes +read only", cli.ok("tools", "list"), re.MULTILINE)
        assert "Tell the weather." in cli.ok("tools", "show", "kit/get_weather")
        host.send_signal(signal.SIGINT)
        host.communicate(timeout=20)
    assert host.returncode == 0
    gone = cli.ok("tools", "list", "--toolset", "kit")
    assert re.search(r"^kit/get_weather +no ", gone, re.MULTILINE)


def test_models(cli: Cli) -> None:
    listed = cli("models", "list")
    assert re.search(r"^scripted/demo +yes$", listed.stdout, re.MULTILINE)
    assert "scripted/demo" in listed.stderr
    refused = cli("models", "pull", "gigantic")
    assert refused.returncode == 4
    assert "smollm2" in refused.stderr


def test_config(cli: Cli) -> None:
    shown = cli.ok("config", "show", "--origin")
    assert re.search(r"^models\.default +scripted/demo +file .*agentd\.toml", shown, re.MULTILINE)
    assert "[server]" in cli.ok("config", "default")
    cli.ok("config", "check")
    refused = cli("--set", "server.sokcet=/x", "config", "check")
    assert refused.returncode == 2
    assert "server.socket" in refused.stderr


def test_version(cli: Cli) -> None:
    assert cli.ok("--version").startswith("agentd ")
    assert "client" in cli.ok("version")
    both = json.loads(cli.ok("version", "--server", "-o", "json"))
    assert both["client"] == both["server"]
    assert "sqlite" in both


def test_doctor(cli: Cli, idle: Cli) -> None:
    findings = json.loads(cli.ok("doctor", "-o", "json"))
    assert {finding["subject"] for finding in findings} >= {
        "grpcio",
        "sqlite",
        "configuration",
        "state",
        "disk",
        "lock",
        "keys",
        "daemon",
        "models",
    }
    assert not [finding for finding in findings if finding["state"] == "fail"]
    alone = {finding["subject"]: finding for finding in json.loads(idle.ok("doctor", "-o", "json"))}
    assert alone["daemon"]["state"] == "warn"
    assert "agentd serve" in alone["daemon"]["advice"]
    (idle.home / ".config/agentd/agentd.toml").write_text("nonsense")
    broken = idle("doctor")
    assert broken.returncode == 1
    assert re.search(r"^fail +configuration", broken.stdout, re.MULTILINE)


def test_service_units_are_written(idle: Cli, tmp_path: Path) -> None:
    program = tmp_path / "bin/agentd"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    result = idle(
        "service", "install", "--directory", str(tmp_path / "units"),
        env={"PATH": f"{program.parent}:/usr/bin:/bin"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    written = [Path(line) for line in result.stdout.splitlines()]
    assert str(program) in written[0].read_text()
    assert "systemctl --user" in result.stderr


def test_a_program_that_the_machines_services_do_not_see_is_named() -> None:
    shared, own = Path("/opt/agentd/bin/agentd"), Path("/", "home", "ann", "bin", "agentd")
    assert unseen_by_services(shared, own) == str(own)
    assert unseen_by_services(shared) == ""


def test_a_mistyped_command_is_answered_with_near_ones(cli: Cli) -> None:
    result = cli("cancle", "x")
    assert result.returncode == 2
    assert "Did you mean cancel" in result.stderr
    assert "Did you mean list?" in cli("agents", "lst").stderr


@pytest.mark.parametrize("command", [("run",), ("ps",), ("agents", "create"), ("tools", "host")])
def test_help_begins_with_examples(cli: Cli, command: tuple[str, ...]) -> None:
    shown = cli.ok(*command, "-h")
    assert shown.startswith("Examples:\n  agentd ")
    assert "Usage: agentd" in shown


def test_nobody_answers(idle: Cli) -> None:
    result = idle("ps")
    assert result.returncode == 3
    assert "no answer from unix:" in result.stderr
    assert "agentd serve" in result.stderr


def test_a_reader_that_goes_away_is_no_error(cli: Cli) -> None:
    with cli.start("events", "-o", "jsonl") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, said = process.communicate(timeout=20)
    assert "Traceback" not in said
    assert "Broken" not in said
