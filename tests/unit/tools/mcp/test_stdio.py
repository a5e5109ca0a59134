"""A server over its standard input and output: what it may do to us, and what we say of it."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from agentd.agent.hosting import (
    Failed,
    InvocationKind,
    Outcome,
    OutcomeUnknown,
    Stopped,
    Succeeded,
)
from agentd.agent.permission import Labels
from agentd.agent.tool import EffectClass
from agentd.tools.mcp.server import Phase
from agentd.tools.mcp.supervisor import Patience
from tests.unit.tools.mcp.world import QUICK, Scene, hostile, invocation


def texts(outcome: Outcome) -> list[str]:
    """Return the texts of a result."""
    assert isinstance(outcome, Succeeded), outcome
    content = msgspec.json.decode(outcome.result_json)["content"]
    return [part["text"] for part in content]


@pytest.fixture(params=["newer", "older"])
def era(request: pytest.FixtureRequest) -> str:
    """The protocol without a handshake, and the one before it."""
    return str(request.param)


async def test_a_tool_is_listed_pinned_and_called(tmp_path: Path, era: str) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile(era)):
        state = await scene.until_phase(Phase.CONNECTED)
        assert list(scene.pins.kept) == ["bad"]
        assert len(state.digest) == 64
        assert (state.changes, state.faults, state.offered_digest) == ((), (), "")
        manifest = scene.tool("echo").manifest
        assert (manifest.toolset, manifest.id) == ("mcp-bad", "echo")
        assert manifest.effect is EffectClass.IRREVERSIBLE
        assert manifest.labels == Labels(untrusted=True)
        assert manifest.permissions == ()
        assert scene.tool("echo").needs({}, "") == ()
        assert texts(await scene.call("echo", {"text": "grüß"})) == ["grüß"]


async def test_a_failing_tool_fails(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
        assert await scene.call("fail") == Failed("no such [1mrow")


async def test_a_tool_can_only_be_executed(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
        tool = scene.tool("echo")
        outcome = await tool(invocation(tool, {}, InvocationKind.SIMULATE))
        assert outcome == Failed("mcp-bad/echo can only be executed")


async def test_its_environment_is_what_was_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTD_CANARY", "of the daemon")
    declared = {"PATH": "/usr/bin:/bin", "TOKEN": "Bearer ${secret:token}"}
    server = hostile(environment=declared, permissions=("secret.use:token", "fs.read:/opt/x/**"))
    scene = Scene(tmp_path)
    async with scene.play(server):
        await scene.until_phase(Phase.CONNECTED)
        said = texts(await scene.call("environment"))
    assert {line.partition("=")[0] for line in said} - {"LC_CTYPE"} == {"PATH", "TOKEN"}
    assert "TOKEN=Bearer s3cret" in said
    [profile] = scene.sandbox.profiles
    assert profile.workspace == str(tmp_path / "bad")
    assert (profile.readable, profile.writable, profile.network) == (("/opt/x",), (), ())


async def test_a_call_that_is_never_answered_has_no_known_outcome(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile(timeout_ms=300)):
        await scene.until_phase(Phase.CONNECTED)
        outcome = await scene.call("hang")
        assert outcome == OutcomeUnknown("the MCP server bad did not answer within 0.3 s")
        assert texts(await scene.call("echo", {"text": "still here"})) == ["still here"]
    assert (tmp_path / "bad" / "cancelled").exists()


async def test_a_repeatable_call_that_is_never_answered_fails(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    effects = {"hang": EffectClass.READ_ONLY}
    async with scene.play(hostile(timeout_ms=300, effects=effects)):
        await scene.until_phase(Phase.CONNECTED)
        assert isinstance(await scene.call("hang"), Failed)


@pytest.mark.parametrize("effect", [EffectClass.READ_ONLY, EffectClass.IDEMPOTENT])
async def test_a_cancelled_call_tells_the_server_and_the_truth(
    tmp_path: Path, era: str, effect: EffectClass
) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile(era, effects={"hang": effect})):
        await scene.until_phase(Phase.CONNECTED)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(scene.call("hang"))
            await begun(scene)
            task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        [outcome] = caught.value.args
        assert isinstance(outcome, Stopped if effect.value == 1 else OutcomeUnknown)
        assert texts(await scene.call("echo", {"text": "on"})) == ["on"]
        assert (tmp_path / "bad" / "cancelled").exists()


async def begun(scene: Scene) -> None:
    """Wait until the server has begun to hang, which it says to people."""
    [process] = scene.sandbox.processes
    while "begun" not in process.stderr:
        await scene.call("echo")


async def test_a_call_that_is_cancelled_before_it_is_made_was_stopped(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
        [process] = scene.sandbox.processes
        tool = scene.tool("echo")
        scene.servers._supervisors["bad"]._suspect()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(tool(invocation(tool, {})))
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == (Stopped(),)
        assert process.process.returncode is None


async def test_a_server_that_dies_is_started_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
        outcome = await scene.call("die")
        assert isinstance(outcome, OutcomeUnknown)
        # It waits for the next one to be there.
        assert texts(await scene.call("echo", {"text": "again"})) == ["again"]
        assert len(scene.sandbox.processes) == 2
        [reason] = {state.reason for state in scene.states if state.phase is Phase.FAILING}
        assert reason.endswith("it said: fatal: the disk is on fire")


async def test_a_server_that_cannot_start_says_why_and_is_tried_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile("stillborn")):
        await scene.until(lambda: len(scene.sandbox.processes) > 2)
        assert scene.state().phase is Phase.FAILING
        assert scene.state().reason.endswith("it said: fatal: no licence[5m found")
        assert scene.servers.tools() == {}


@pytest.mark.parametrize("misdeed", ["mute", "silent"])
async def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, misdeed: str) -> None:
    patience = msgspec.structs.replace(QUICK, greet_s=1.5, list_s=0.2)
    scene = Scene(tmp_path, patience=patience)
    async with scene.play(hostile(misdeed)):
        state = await scene.until_phase(Phase.FAILING)
        assert state.reason == "it did not answer in time"


async def test_a_server_that_does_not_end_is_ended(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile("deaf")):
        await scene.until(lambda: scene.sandbox.processes)
        [process] = scene.sandbox.processes
        await asyncio.to_thread(process.until_said, "begun")
    assert process.process.returncode == -9


async def test_a_server_that_fails_is_not_tried_all_the_time(tmp_path: Path) -> None:
    patience = msgspec.structs.replace(QUICK, first_retry_s=3600.0, last_retry_s=3600.0)
    scene = Scene(tmp_path, patience=patience)
    server = hostile()
    missing = msgspec.structs.replace(server, command=("/no/such/program",))
    async with scene.play(missing):
        state = await scene.until_phase(Phase.FAILING)
        assert "No such file" in state.reason
        for _ in range(50):  # A second attempt would need two trips to a thread.
            await asyncio.to_thread(int)
        assert len(scene.sandbox.profiles) == 1


def test_the_pause_doubles_up_to_a_bound() -> None:
    patience = Patience(first_retry_s=1, last_retry_s=10)
    assert [patience.pause_s(n, 1.0) for n in range(5)] == [1, 2, 4, 8, 10]
    assert [patience.pause_s(n, 0.0) for n in (0, 4, 10_000)] == [0.5, 5, 5]


async def test_a_flood_of_notifications_is_only_a_flood(tmp_path: Path, era: str) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile(era)):
        await scene.until_phase(Phase.CONNECTED)
        assert texts(await scene.call("flood")) == ["over"]
        await scene.until(lambda: len(scene.progress) == 1_500)
        fractions, notes = zip(*scene.progress, strict=True)
        assert all(0 <= fraction < 1 for fraction in fractions)
        assert "step 7[2J" in notes


async def test_a_large_result_is_cut(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
        outcome = await scene.call("large")
        first, second = texts(outcome)
        assert first == "x" * 200_000 + "… (2800000 more characters)"
        assert second == "… (8 more characters)"


async def test_a_giant_result_ends_the_connection(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
        outcome = await scene.call("giant")
        assert isinstance(outcome, OutcomeUnknown)
        assert "a message of more than 16777216 bytes" in outcome.message
        assert texts(await scene.call("echo", {"text": "on"})) == ["on"]


async def test_what_cannot_be_seen_is_taken_out_of_results(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
        assert texts(await scene.call("controls")) == ["a[31mred reversed hidden end\n"]


async def test_an_answer_to_no_question_is_not_heard(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile("misdelivered", timeout_ms=300)):
        await scene.until_phase(Phase.CONNECTED)
        assert isinstance(await scene.call("echo"), OutcomeUnknown)


async def test_chatter_between_the_messages_is_passed_over(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile("chatty")):
        await scene.until_phase(Phase.CONNECTED)
        assert texts(await scene.call("echo", {"text": "on"})) == ["on"]


async def test_what_a_server_asks_of_us_is_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile("older")):
        await scene.until_phase(Phase.CONNECTED)
        answers = texts(await scene.call("ask"))
        assert len(answers) == 2
        assert all(answer.startswith("refused: ") for answer in answers)


async def test_what_a_server_asks_of_us_in_the_newer_way_is_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
        outcome = await scene.call("demand")
        assert isinstance(outcome, Failed)
        assert texts(await scene.call("echo", {"text": "on"})) == ["on"]
