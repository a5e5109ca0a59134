"""A server behind a URL, by streamable HTTP."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from agentd.agent.hosting import Failed, OutcomeUnknown, Succeeded
from agentd.tools.mcp.server import McpServer, Phase
from tests.unit.tools.mcp.world import QUICK, Scene, hostile_url


def at(origin: str, path: str = "/mcp", **more: object) -> McpServer:
    return msgspec.structs.replace(McpServer("bad", url=origin + path), **more)


async def test_a_tool_is_listed_and_called(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with hostile_url(tmp_path) as (origin, _), scene.play(at(origin)):
        await scene.until_phase(Phase.CONNECTED)
        tool = scene.tool("echo")
        assert tool.needs({}, "") == (f"net.connect:{origin.removeprefix('http://')}",)
        outcome = await scene.call("echo", {"text": "over"})
        assert outcome == Succeeded('{"content":[{"type":"text","text":"over"}]}')


async def test_headers_are_sent_with_their_secrets(tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer ${secret:token}"}
    scene = Scene(tmp_path)
    async with hostile_url(tmp_path) as (origin, _):
        server = at(origin, headers=headers, permissions=("secret.use:token",))
        async with scene.play(server):
            await scene.until_phase(Phase.CONNECTED)
            outcome = await scene.call("headers")
            assert outcome == Succeeded('{"content":[{"type":"text","text":"Bearer s3cret"}]}')


async def test_a_changed_tool_pauses_the_server(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with hostile_url(tmp_path) as (origin, _), scene.play(at(origin)):
        await scene.until_phase(Phase.CONNECTED)
        await scene.call("swap")
        state = await scene.until_phase(Phase.PAUSED)
        assert state.changes == ("changed 'echo': description",)


async def test_a_change_that_is_not_announced_is_found(tmp_path: Path) -> None:
    """In JSON mode there is no stream on which a server could announce it."""
    scene = Scene(tmp_path, patience=msgspec.structs.replace(QUICK, review_s=0.05))
    async with hostile_url(tmp_path, ["json"]) as (origin, _), scene.play(at(origin)):
        await scene.until_phase(Phase.CONNECTED)
        await scene.call("swap")
        await scene.until_phase(Phase.PAUSED)


async def test_a_cancelled_call_tells_the_server(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with hostile_url(tmp_path) as (origin, process), scene.play(at(origin)):
        await scene.until_phase(Phase.CONNECTED)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(scene.call("hang"))
            await process.stderr.readuntil(b"begun")
            task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert isinstance(caught.value.args[0], OutcomeUnknown)
        await process.stderr.readuntil(b"cancelled")
        assert isinstance(await scene.call("echo"), Succeeded)


async def test_a_server_that_dies_is_found_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with hostile_url(tmp_path) as (origin, process), scene.play(at(origin)):
        await scene.until_phase(Phase.CONNECTED)
        assert isinstance(await scene.call("die"), OutcomeUnknown)
        await process.wait()
        state = await scene.until_phase(Phase.FAILING)
        assert "connect" in state.reason.lower()


@pytest.mark.parametrize("mode", [[], ["json"]], ids=["events", "json"])
async def test_a_giant_result_is_not_read(tmp_path: Path, mode: list[str]) -> None:
    scene = Scene(tmp_path)
    async with hostile_url(tmp_path, mode) as (origin, _), scene.play(at(origin)):
        await scene.until_phase(Phase.CONNECTED)
        assert isinstance(await scene.call("giant"), OutcomeUnknown)
        assert isinstance(await scene.call("echo"), Succeeded)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/broken", "Server returned an error response"),
        ("/packed", "the answer is packed, which nobody asked for"),
        ("/nowhere", "Not Found"),
    ],
)
async def test_what_is_not_the_protocol_fails(tmp_path: Path, path: str, reason: str) -> None:
    scene = Scene(tmp_path)
    async with hostile_url(tmp_path) as (origin, _), scene.play(at(origin, path)):
        state = await scene.until_phase(Phase.FAILING)
        assert reason in state.reason
        assert scene.servers.tools() == {}


async def test_a_gateway_that_gives_up_says_nothing_of_the_tool(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with hostile_url(tmp_path, ["gateway"]) as (origin, _), scene.play(at(origin)):
        await scene.until_phase(Phase.CONNECTED)
        outcome = await scene.call("echo")
        assert isinstance(outcome, OutcomeUnknown), outcome


async def test_a_session_that_the_server_forgot_is_begun_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    misdeeds = ["older", "forgetful"]
    async with hostile_url(tmp_path, misdeeds) as (origin, _), scene.play(at(origin)):
        await scene.until_phase(Phase.CONNECTED)
        assert not isinstance(await scene.call("echo"), Succeeded)
        assert isinstance(await scene.call("echo"), Succeeded)


async def test_a_server_that_asks_in_return_is_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with hostile_url(tmp_path) as (origin, _), scene.play(at(origin)):
        await scene.until_phase(Phase.CONNECTED)
        assert isinstance(await scene.call("demand"), Failed)
