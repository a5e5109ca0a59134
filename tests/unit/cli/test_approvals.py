"""Approvals on the command line: listed, explained, decided here, there and at the terminal."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.cli.text import exact_json
from tests.unit.cli.conftest import Cli
from tests.unit.cli.terminal import Terminal

RULES = ("--allow", "tool.use:*", "--ask", "tool.use:*/get_weather")
HIDDEN = "Paris\\u202esiraP"


@pytest.fixture(scope="module")
def careful(cli: Cli) -> str:
    """An agent that asks before it looks at the weather."""
    cli.ok("agents", "create", "careful", *RULES)
    return "careful"


@pytest.fixture
def waiting(cli: Cli, careful: str) -> Iterator[str]:
    """The only pending approval, of a run whose command has ended."""
    result = cli("run", "ask me", "--agent", careful, "--tools", "tools.py", "--toolset", "asked")
    assert result.returncode == 5, result.stderr
    [approval] = json.loads(cli.ok("approvals", "-o", "json"))
    name: str = approval["name"]
    yield name
    cli("cancel", approval["run"])


def run_of(cli: Cli, approval: str) -> str:
    listed = json.loads(cli.ok("approvals", "-a", "-o", "json"))
    [run] = [each["run"] for each in listed if each["name"] == approval]
    return str(run)


def test_without_a_terminal_it_says_how_to_approve(cli: Cli, careful: str) -> None:
    result = cli("run", "ask me", "--agent", careful, "--tools", "tools.py", "--toolset", "asked")
    assert result.returncode == 5
    assert HIDDEN in result.stderr
    assert "\u202e" not in result.stderr
    approve = re.search(r"Allow: agentd approve (\S+)", result.stderr)
    assert approve
    assert f"agentd deny {approve[1]}" in result.stderr
    [found] = json.loads(cli.ok("approvals", "-o", "json"))
    assert found["name"] == f"approvals/{approve[1]}"
    cli.ok("cancel", found["run"])


def test_they_are_listed(cli: Cli, waiting: str) -> None:
    short, run = waiting.removeprefix("approvals/"), run_of(cli, waiting)
    table = cli.ok("approvals")
    assert re.search(
        rf"^{short} +{run.removeprefix('runs/')} +pending +\w+ +asked/get_weather +",
        table,
        re.MULTILINE,
    )
    assert "\u202e" not in table
    assert json.loads(cli.ok("approvals", "--run", run, "-o", "jsonl"))["name"] == waiting
    assert cli.ok("approvals", "--run", "nothing", "-o", "jsonl") == ""
    assert re.search(r"^state +pending$", cli.ok("inspect", waiting), re.MULTILINE)


def test_one_is_denied_with_a_reason(cli: Cli, waiting: str) -> None:
    run = run_of(cli, waiting)
    denied = cli("deny", waiting, "--reason", "not today")
    assert denied.returncode == 0
    assert f"{waiting} is denied" in denied.stderr
    told = json.loads(cli.ok("inspect", f"{run}/calls/c1-1", "-o", "json"))
    assert told["state"] == "CALL_STATE_DENIED"
    assert "not today" in told["error"]["message"]
    assert "c1-1 denied" in cli.ok("logs", run)
    again = cli("approve", waiting)
    assert again.returncode == 1
    assert "is DENIED" in again.stderr


def test_one_is_allowed_by_the_name_of_its_call(cli: Cli, waiting: str) -> None:
    run = run_of(cli, waiting)
    allowed = cli("approve", f"{run}/calls/c1-1", "--always", "run", "--reason", "fine")
    assert allowed.returncode == 0, allowed.stderr
    assert HIDDEN in allowed.stderr
    assert f"so are later calls of {run}" in allowed.stderr
    call = json.loads(cli.ok("inspect", f"{run}/calls/c1-1", "-o", "json"))
    assert call["state"] == "CALL_STATE_QUEUED"  # Its host went with the command.
    assert cli("approve", f"{run}/calls/c9-9").returncode == 4
    assert cli("approve", "nothing").returncode == 4


def test_edited_arguments_are_checked(cli: Cli, waiting: str) -> None:
    assert cli("approve", waiting, "--edit", "{").returncode == 2
    wrong = cli("approve", waiting, "--edit", '{"town": "Rome"}')
    assert wrong.returncode == 2
    assert "city" in wrong.stderr
    assert cli("approve", waiting, "--edit", '{"city": "Oslo"}').returncode == 0
    call = json.loads(cli.ok("inspect", f"{run_of(cli, waiting)}/calls/c1-1", "-o", "json"))
    assert call["editedArgumentsJson"] == '{"city": "Oslo"}'


def test_explain_says_which_rule_decided(cli: Cli, waiting: str) -> None:
    run = run_of(cli, waiting)
    told = cli.ok("explain", run, "c1-1")
    assert "a person is asked by 'ask tool.use:*/get_weather'" in told
    assert "for tool.use:asked/get_weather" in told
    assert re.search(r"^agent's rules +allow tool.use:\*$", told, re.MULTILINE)
    assert f"{waiting} is pending" in told
    assert HIDDEN in told
    document = json.loads(cli.ok("explain", f"{run}/calls/c1-1", "-o", "json"))
    assert document["call"]["verdict"]["decision"] == "DECISION_ASK"
    assert document["approval"]["name"] == waiting
    assert len(document["layers"]) == 1
    assert cli("explain", run).returncode == 2


def test_rules_are_shown_and_changed(cli: Cli) -> None:
    cli.ok("agents", "create", "ruled", "--allow", "tool.use:*", "--deny", "tool.use:bad/*")
    cli.ok("agents", "update", "ruled", "--ask", "tool.use:*")
    shown = json.loads(cli.ok("agents", "show", "ruled", "-o", "json"))
    assert shown["permissions"] == [{"decision": "DECISION_ASK", "permission": "tool.use:*"}]
    refused = cli("agents", "create", "wrong", "--allow", "fly:*")
    assert refused.returncode == 2
    assert "agent.permissions[0].permission" in refused.stderr


def asking(cli: Cli, careful: str, **env: str) -> Terminal:
    arguments = ("run", "ask me", "--agent", careful, "--tools", "tools.py")
    return Terminal(cli, *arguments, env=env)


def test_a_terminal_is_asked_and_told_everything(cli: Cli, careful: str) -> None:
    with asking(cli, careful) as terminal:
        terminal.read_until("then allow >")
        assert "wants to call tools-" in terminal.shown
        assert HIDDEN in terminal.shown
        assert "\u202e" not in terminal.shown
        assert "ask tool.use:*/get_weather" in terminal.shown
        assert "Tell the weather." in terminal.shown
        terminal.type("what?\n")
        terminal.read_until("then allow >")
        terminal.type("a\n")
        code, shown = terminal.finish()
    assert code == 0
    assert 'It says {"city": "Rome", "sky": "blue"}' in shown
    assert shown.count("wants to call") == 1


def test_no_at_a_terminal_takes_a_reason(cli: Cli, careful: str) -> None:
    with asking(cli, careful) as terminal:
        terminal.read_until("then allow >")
        terminal.type("n\n")
        terminal.read_until("for the model? >")
        terminal.type("go to Rome\n")
        terminal.read_until("then allow >")
        assert "Rome" in terminal.shown
        terminal.type("n\n")
        terminal.read_until("for the model? >")
        terminal.type("nowhere then\n")
        code, shown = terminal.finish()
    assert code == 0
    assert "A person refused this call" in shown
    assert "nowhere then" in shown


def test_arguments_are_edited_in_the_editor(cli: Cli, careful: str, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/seen\necho \'{{"city":"Oslo"}}\' > "$1"\n')
    editor.chmod(0o755)
    with asking(cli, careful, VISUAL=str(editor), EDITOR=str(editor)) as terminal:
        terminal.read_until("then allow >")
        terminal.type("e\n")
        terminal.read_until('"city": "Oslo", "sky": "blue"')
        terminal.read_until("then allow >")
        terminal.type("y\n")
        code, _ = terminal.finish()
    assert code == 0
    assert HIDDEN in (tmp_path / "seen").read_text()


def test_it_may_be_decided_elsewhere_meanwhile(cli: Cli, careful: str) -> None:
    with asking(cli, careful) as terminal:
        terminal.read_until("then allow >")
        [approval] = json.loads(cli.ok("approvals", "-o", "json"))
        cli("approve", approval["name"], "--always", "run")
        code, shown = terminal.finish()
    assert code == 0
    assert "It says" in shown


def test_ctrl_c_detaches_and_the_question_stays(cli: Cli, careful: str) -> None:
    with asking(cli, careful) as terminal:
        terminal.read_until("then allow >")
        terminal.press_ctrl_c()
        code, _ = terminal.finish()
    assert code == 130
    [approval] = json.loads(cli.ok("approvals", "-o", "json"))
    assert approval["state"] == "APPROVAL_STATE_PENDING"
    cli.ok("cancel", approval["run"])
    assert json.loads(cli.ok("approvals", "-o", "json")) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"b":1,"a":[true]}', '{\n  "a": [\n    true\n  ],\n  "b": 1\n}'),
        ('{"a":"\u202ex\u200b\u00a0\\u0007"}', '{\n  "a": "\\u202ex\\u200b\\u00a0\\u0007"\n}'),
        ('{"a":1.0000000000000000001}', '{"a":1.0000000000000000001}'),
        ('{"a":1e400}', '{"a":1e400}'),
        ("not \x1b[2J JSON", "not \\u001b[2J JSON"),
        ("\u00e9\U0001f600", "\u00e9\U0001f600"),
    ],
)
def test_nothing_hides_in_arguments(text: str, shown: str) -> None:
    assert exact_json(text) == shown
