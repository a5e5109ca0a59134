"""Questions about the daemon's own tools: at the terminal, from elsewhere, and over a restart."""

import json
from collections.abc import Iterator

import pytest

from agentd.client import Client
from agentd.v1.run_pb2 import RunState
from tests.e2e.daemon import Home, daemon
from tests.e2e.test_tools import calling, cli
from tests.e2e.watching import until
from tests.unit.cli.conftest import Cli
from tests.unit.cli.terminal import Terminal

RULES = (
    *("--allow", "tool.use:*"),
    *("--allow", "fs.read:$workspace/**"),
    *("--ask", "process.exec:*"),
)
SHOWN = r"a\u202eb"
"""The arguments as a person must see them: what turns text around is escaped."""


@pytest.fixture
def home() -> Iterator[Home]:
    """A home whose model runs a command that its agent has to ask about."""
    with Home() as made:
        made.path.chmod(0o711)
        made.script(calling(("run", {"argv": ["echo", "a\u202eb"]})))
        yield made


def terminal(home: Home, *arguments: str) -> Terminal:
    env = {**home.environment, "AGENTD_ADDRESS": home.address}
    return Terminal(Cli(home.path), *arguments, env=env)


def make_agent(home: Home) -> None:
    made = cli(home, "agents", "create", "careful", "--tool", "process/*", *RULES)
    assert made.returncode == 0, made.stderr


async def test_a_person_at_the_terminal_allows_a_command(home: Home) -> None:
    async with daemon(home):
        make_agent(home)
        with terminal(home, "run", "--agent", "careful", "go") as shown:
            shown.read_until("[y] allow")
            assert "process/run" in shown.shown
            assert "\u202e" not in shown.shown
            assert SHOWN in shown.shown
            shown.type("y\n")
            code, text = shown.finish()
        assert code == 0
        assert '"exit_code":0' in text.replace("\r\n", "")


async def test_another_client_refuses_what_the_terminal_asks_about(home: Home) -> None:
    async with daemon(home):
        make_agent(home)
        with terminal(home, "run", "--agent", "careful", "go") as shown:
            shown.read_until("[y] allow")
            [waiting] = json.loads(cli(home, "approvals", "-o", "json").stdout)
            denied = cli(home, "deny", waiting["name"], "--reason", "not on a Friday")
            assert denied.returncode == 0, denied.stderr
            code, text = shown.finish()
        assert code == 0
        assert "not on a Friday" in text.replace("\r\n", " ")
        explained = cli(home, "explain", waiting["call"]).stdout
        assert "ask process.exec:*" in explained
        assert "not on a Friday" in explained


async def test_a_question_about_a_command_outlives_the_daemon(home: Home, client: Client) -> None:
    async with daemon(home) as served:
        make_agent(home)
        run = cli(home, "run", "--detach", "--agent", "careful", "go").stdout.strip()
        await until(client, run, "run_waiting")
        await served.kill()
    async with daemon(home):
        edit = ("--edit", '{"argv": ["echo", "from", "a", "person"]}')
        allowed = cli(home, "approve", f"{run}/calls/c1-1", *edit)
        assert allowed.returncode == 0, allowed.stderr
        ended = await client.runs.wait(run, timeout_s=15)
        assert ended.state == RunState.RUN_STATE_SUCCEEDED
        assert "from a person" in ended.output
        kinds = [event.WhichOneof("payload") async for event in client.events()]
        assert kinds.count("call_leased") == 1
