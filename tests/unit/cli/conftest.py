"""A real daemon with a scripted model, and the command line as a process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentd.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = {
    "usage": {"input_tokens": 100, "output_tokens": 20},
    "conversations": [
        {
            "goal": "weather",
            "turns": [
                {
                    "text": "I will look.",
                    "chunks": 3,
                    "calls": [{"tool": "get_weather", "arguments": {"city": "Paris"}}],
                },
                {"text": "It says {{last_result}} \u001b[31m\u009bred", "chunks": 4},
            ],
        },
        {
            "goal": "ask me",
            "turns": [
                {"calls": [{"tool": "get_weather", "arguments": {"city": "Paris\u202esiraP"}}]},
                {"calls": [{"tool": "get_weather", "arguments": {"city": "Rome"}}]},
                {"text": "It says {{last_result}}"},
            ],
        },
        {"goal": "endless", "turns": [{"text": "x" * 1000, "chunks": 1000, "chunk_delay_ms": 100}]},
        {"goal": "refuse", "turns": [{"text": "no", "faults": [{"kind": "REFUSED"}]}]},
        {"goal": "wait for", "turns": [{"calls": [{"tool": "missing", "arguments": {}}]}]},
        {"goal": "two turns", "turns": [{"text": "a", "calls": [{"tool": "x", "arguments": {}}]}]},
        *(
            {"purpose": purpose, "turns": [{"calls": [{"tool": tool, "arguments": answer}]}]}
            for purpose, tool, answer in (
                (
                    "PLANNING",
                    "submit_plan",
                    {
                        "tasks": [
                            {"id": "look", "objective": "look out", "criterion": "seen"},
                            {
                                "id": "tell",
                                "objective": "tell it",
                                "criterion": "told",
                                "dependencies": ["look"],
                            },
                        ]
                    },
                ),
                ("SIMULATION", "submit_verdict", {"verdict": "PROCEED", "reason": "fine"}),
                ("FEEDBACK", "submit_feedback", {"choice": "ACCEPT", "reason": "good"}),
                ("MEMORY", "submit_memories", {"episode": "seen"}),
                ("REFLECTION", "submit_reflection", {"achieved": True, "answer": "It is blue."}),
            )
        ),
        {"goal": "look out", "turns": [{"text": "blue sky"}]},
        {"turns": [{"text": "You said: {{goal}}"}]},
    ],
}
CONFIG = """
[server]
drain_timeout_s = 0.5
[models]
default = "scripted/demo"
[models.providers.scripted]
kind = "scripted"
models = ["demo"]
[models.details."scripted/demo"]
path = "{script}"
"""
TOOLS = '''
"""Tools of a test."""
from agentd.client import ToolContext, tool

def _helper(): ...

def check(city: str) -> str:
    return city

@tool(effect="read_only", reconcile=check)
def get_weather(city: str, context: ToolContext) -> dict:
    """Tell the weather.

    Args:
        city: where
    """
    return {"city": city, "sky": "blue"}

def public(count: int = 1) -> int:
    return count
'''


@dataclass(frozen=True, slots=True)
class Cli:
    """Runs commands as their user would, in a home of their own."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "AGENTD_SERVER_SOCKET": str(self.home / "run/agentd.sock"),
            "COVERAGE_PROCESS_START": os.environ.get("COVERAGE_PROCESS_START", ""),
        }

    def __call__(
        self, *arguments: str, input: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end: in this process, which is quicker, unless it is `run`."""
        if arguments[0] == "run":
            return self.spawn(*arguments, input=input, env=env)
        given = self.environment | dict(env or {})
        absent = dict.fromkeys(name for name in os.environ if name not in given)
        runner = CliRunner()
        with runner.isolation(input, {**absent, **given}) as (stdout, stderr, _):
            before = Path.cwd()
            os.chdir(self.home)
            try:
                code = main(arguments)
            finally:
                os.chdir(before)
                sys.stdout.flush()
                sys.stderr.flush()
            shown, said = stdout.getvalue().decode(), stderr.getvalue().decode()
        return subprocess.CompletedProcess(arguments, code, shown, said)

    def spawn(
        self, *arguments: str, input: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "agentd", *arguments],
            env=self.environment | dict(env or {}),
            cwd=self.home,
            input=input,
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "agentd", *arguments],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ok(self, *arguments: str, input: str = "") -> str:
        """Run a command that succeeds, and return its stdout."""
        result = self(*arguments, input=input)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def run(self, goal: str, *arguments: str) -> str:
        """Start a run and return its name."""
        result = self.spawn("run", "--detach", *arguments, goal)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()


def make_home(directory: Path) -> Path:
    """Fill a home with a configuration, a script and a file of tools."""
    (directory / "run").mkdir(mode=0o700)
    script = directory / "script.json"
    script.write_text(json.dumps(SCRIPT), encoding="utf-8")
    config = directory / ".config/agentd/agentd.toml"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG.format(script=script), encoding="utf-8")
    (directory / "tools.py").write_text(TOOLS, encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line of a user whose daemon runs."""
    cli = Cli(make_home(tmp_path_factory.mktemp("home")))
    with cli.start("serve") as daemon:
        try:
            assert daemon.stderr is not None
            assert "ready" in daemon.stderr.readline()
            yield cli
        finally:
            daemon.terminate()
            daemon.communicate(timeout=20)


@pytest.fixture
def idle(tmp_path: Path) -> Cli:
    """The command line of a user whose daemon does not run."""
    return Cli(make_home(tmp_path))
