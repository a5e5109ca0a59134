"""Every client plays the scenario and prints the same transcript; and passes its own tests."""

import asyncio
import difflib
import json
from asyncio.subprocess import PIPE
from collections.abc import Callable

import pytest

from agentd.errors import Reason
from tests.clients.conftest import folder_of
from tests.clients.harness import SCENARIO, expected, play
from tests.clients.languages import BUILD_S, LANGUAGES, Command
from tests.e2e.daemon import Home, daemon

EXAMPLE_S = 25
EXAMPLE = {
    "conversations": [
        {
            "goal": "largest",
            "turns": [
                {"calls": [{"tool": "list_files", "arguments": {}}]},
                {"text": "They are {{last_result}}"},
            ],
        }
    ]
}
LATER = {"WRONG_APPROVAL_STATE", "ARGUMENTS_MISMATCH"}
"""Reasons that the scenario's own steps bring out."""


@pytest.mark.timeout(BUILD_S + 90)
@pytest.mark.parametrize("carrier", ["unix", "tcp"])
@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_client_prints_the_transcript(
    home: Home, runner_of: Callable[[str], Command], language: str, carrier: str
) -> None:
    transcript = await play(runner_of(language), home, carrier)
    difference = difflib.unified_diff(expected().splitlines(), transcript.splitlines(), lineterm="")
    assert "\n".join(difference) == ""
    assert transcript == expected()


@pytest.mark.timeout(BUILD_S + 60)
@pytest.mark.parametrize("language", [name for name, found in LANGUAGES.items() if found.test])
def test_a_client_passes_its_own_tests(
    pytestconfig: pytest.Config, runner_of: Callable[[str], Command], language: str
) -> None:
    runner_of(language)
    test = LANGUAGES[language].test
    assert test is not None
    test(folder_of(pytestconfig, language))


@pytest.mark.timeout(BUILD_S + 60)
@pytest.mark.parametrize("language", [name for name, found in LANGUAGES.items() if found.example])
async def test_the_example_runs(
    pytestconfig: pytest.Config,
    home: Home,
    runner_of: Callable[[str], Command],
    language: str,
) -> None:
    runner_of(language)
    build = LANGUAGES[language].example
    assert build is not None
    command = build(folder_of(pytestconfig, language))
    home.script(EXAMPLE)
    folder = home.path / "folder"
    folder.mkdir()
    (folder / "big").write_bytes(bytes(1234))
    async with daemon(home), asyncio.timeout(EXAMPLE_S):
        program = await asyncio.create_subprocess_exec(
            *command, home.address, "Which file is the largest?", cwd=folder, stdout=PIPE
        )
        written, _ = await program.communicate()
    assert (program.returncode, written.decode()) == (0, 'They are {"big":1234}\n')


def test_the_scenario_maps_every_reason() -> None:
    steps = json.loads(SCENARIO.read_text("utf-8"))["steps"]
    [cases] = [step["cases"] for step in steps if step["do"] == "errors"]
    mapped = {case.get("reason") for case in cases}
    assert {reason.value for reason in Reason} - mapped - LATER == set()
