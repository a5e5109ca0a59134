"""`agentd trace`, against a real daemon with a scripted model."""

import json
import re

from tests.unit.cli.conftest import Cli

PARTS = [
    r"^runs/\S+  succeeded  [\d.]+s  960 tokens",
    r"^├─ planning  planned  [\d.]+s  120 tokens",
    r"^│  └─ turn 1\.1 scripted/demo  answered",
    r"^├─ simulation  proceed",
    r"^├─ execution  done",
    r"^│  ├─ look \(attempt 1\)  succeeded  [\d.]+s  240 tokens",
    r"^│  │  ├─ turn 3\.1",
    r"^│  │  └─ feedback  accept",
    r"^│  └─ tell \(attempt 1\)  succeeded",
    r"^├─ memory  done",
    r"^└─ reflection  done",
]


def test_a_plan_is_drawn_as_a_tree(cli: Cli) -> None:
    cli.ok("agents", "create", "planner", "--protocol", "lifecycle")
    run = json.loads(cli.ok("run", "what is it like?", "--agent", "planner", "-o", "json"))
    assert run["output"] == "It is blue."
    drawn = cli.ok("trace", run["name"])
    places = []
    for part in PARTS:
        found = re.search(part, drawn, re.MULTILINE)
        assert found, f"{part} is not in\n{drawn}"
        places.append(found.start())
    assert places == sorted(places)
    tree = json.loads(cli.ok("trace", run["name"], "-o", "json"))
    execution = next(part for part in tree["parts"] if part["name"] == "execution")
    assert [part["kind"] for part in execution["parts"]] == ["task", "task"]
    assert tree["tokens"] == sum(part["tokens"] for part in tree["parts"]) == 960
    assert cli("trace", "nothing").returncode == 4


def test_a_direct_run_is_drawn_with_its_calls(cli: Cli) -> None:
    run = json.loads(cli.ok("run", "weather", "--tools", "tools.py", "-o", "json"))["name"]
    drawn = cli.ok("trace", run)
    assert re.search(r"^├─ c1-1 get_weather  succeeded  [\d.]+s$", drawn, re.MULTILINE)
    assert re.search(r"^└─ turn 2\.1 scripted/demo  answered", drawn, re.MULTILINE)


def test_a_plan_is_simulated_alone(cli: Cli) -> None:
    cli.ok("agents", "create", "dreamer", "--protocol", "lifecycle")
    answer = cli.ok("run", "what is it like?", "--agent", "dreamer", "--simulate")
    assert [task["id"] for task in json.loads(answer)["tasks"]] == ["look", "tell"]


def test_logs_tell_the_phases_and_the_answer(cli: Cli) -> None:
    cli.ok("agents", "create", "teller", "--protocol", "lifecycle")
    run = json.loads(cli.ok("run", "what is it like?", "--agent", "teller", "-o", "json"))["name"]
    told = cli.ok("logs", run)
    steps = ("# planning", "plan 1: look, tell", "look: attempt 1", "look: accept", "# reflection")
    places = [told.index(step) for step in (*steps, "It is blue.")]
    assert places == sorted(places)
    assert "submit_plan" not in told


def test_a_plan_waits_for_a_person(cli: Cli) -> None:
    spec = {"name": "asker", "protocol": "PROTOCOL_LIFECYCLE", "requirePlanApproval": True}
    (cli.home / "asker.json").write_text(json.dumps(spec))
    cli.ok("agents", "create", "--file", "asker.json")
    result = cli("run", "what is it like?", "--agent", "asker")
    assert result.returncode == 5
    [approval] = json.loads(cli.ok("approvals", "-o", "json"))
    assert re.search(r" plan 1 ", cli.ok("approvals"))
    refused = cli("approve", approval["name"], "--edit", "{}")
    assert "a plan is not edited" in refused.stderr
    allowed = cli("approve", approval["name"])
    assert "wants to carry out plan 1" in allowed.stderr
    assert '"objective": "look out"' in allowed.stderr
    assert cli.ok("wait", approval["run"]) is not None
    assert json.loads(cli.ok("inspect", approval["run"], "-o", "json"))["output"] == "It is blue."
