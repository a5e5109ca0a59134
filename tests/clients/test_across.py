"""A call that was given to a host in one language, and what becomes of it in another's."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentd.client.types import CallState, RunState, WaitReason
from tests.clients.harness import Runner, Stage, runner, stage
from tests.clients.languages import BUILD_S, Command
from tests.e2e.daemon import Home
from tests.e2e.watching import until

GOAL = "second: whoever can"
PAIRS = [("go", "node"), ("node", "go"), ("python", "go"), ("go", "python")]
WAIT_S = 30.0


def hosting(host: str, effect: str, behaviour: str) -> dict[str, Any]:
    """Return the scenario of a host of `box/slow` that stays until it is killed."""
    tool = {"name": "slow", "effect": effect, "behaviour": behaviour}
    return {
        "schema": {"type": "object", "properties": {"item": {"type": "string"}}},
        "steps": [
            {"do": "host", "host": host, "toolset": "box", "tools": [tool]},
            {"do": "cue", "word": "registered"},
            {"do": "began", "tool": "slow", "count": 1},
            {"do": "cue", "word": "begun"},
        ],
    }


@asynccontextmanager
async def host(
    here: Stage, command: Sequence[str], name: str, effect: str, behaviour: str
) -> AsyncIterator[Runner]:
    """Run a host in some language, from its registration on."""
    scenario = here.home.path / f"{name}.json"
    scenario.write_text(json.dumps(hosting(name, effect, behaviour)), encoding="utf-8")
    log = here.home.path / f"{name}.log"
    async with runner(command, scenario, here.place, log=log) as made:
        await made.cue("registered")
        made.answer()
        yield made


@pytest.mark.timeout(BUILD_S + 90)
@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_an_idempotent_call_ends_in_another_language(
    home: Home, runner_of: Callable[[str], Command], first: str, second: str
) -> None:
    commands = runner_of(first), runner_of(second)
    async with (
        asyncio.timeout(WAIT_S),
        stage(home, "unix") as here,
        home.client() as client,
        host(here, commands[0], "first", "IDEMPOTENT", "wait") as dying,
    ):
        run = (await client.runs.start(GOAL, tools=["box/*"])).run.name
        await dying.cue("begun")
        async with host(here, commands[1], "second", "IDEMPOTENT", "return"):
            await dying.kill()
            ended = await client.runs.wait(run, timeout_s=20)
            assert ended.state == RunState.RUN_STATE_SUCCEEDED
        [call] = [call async for call in client.runs.calls(run)]
        assert (call.attempt, call.host, call.result_json) == (2, "second", '"did c"')


@pytest.mark.timeout(BUILD_S + 90)
@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_any_other_call_becomes_unknown(
    home: Home, runner_of: Callable[[str], Command], first: str, second: str
) -> None:
    commands = runner_of(first), runner_of(second)
    async with (
        asyncio.timeout(WAIT_S),
        stage(home, "unix") as here,
        home.client() as client,
        host(here, commands[0], "first", "NON_IDEMPOTENT", "wait") as dying,
    ):
        run = (await client.runs.start(GOAL, tools=["box/*"])).run.name
        await dying.cue("begun")
        async with host(here, commands[1], "second", "NON_IDEMPOTENT", "return"):
            await dying.kill()
            waiting = await until(client, run, "run_waiting")
            assert waiting.run_waiting.reason == WaitReason.WAIT_REASON_INPUT
        [call] = [call async for call in client.runs.calls(run)]
        assert (call.state, call.host) == (CallState.CALL_STATE_UNKNOWN, "first")
