"""A server whose tools are not those that were accepted is not used until somebody accepts them."""

from pathlib import Path

import pytest

from agentd.agent.hosting import Failed, Succeeded
from agentd.errors import Conflict, NotFound
from agentd.tools.mcp.server import McpServer, Phase
from tests.unit.tools.mcp.world import Pins, Scene, hostile

PAUSED = Failed(
    "the MCP server bad is paused: its tools have changed, and an operator must accept them"
)


@pytest.mark.parametrize("server", [hostile(), hostile("older")], ids=["newer", "older"])
async def test_a_changed_tool_pauses_the_server_until_it_is_accepted(
    tmp_path: Path, server: McpServer
) -> None:
    scene = Scene(tmp_path)
    async with scene.play(server):
        first = await scene.until_phase(Phase.CONNECTED)
        await scene.call("swap")
        state = await scene.until_phase(Phase.PAUSED)
        assert state.digest == first.digest
        assert state.offered_digest not in {"", first.digest}
        assert state.changes == ("changed 'echo': description",)
        assert await scene.call("fail") == PAUSED
        assert scene.tool("echo").manifest.description == "Says it again."

        with pytest.raises(Conflict):
            await scene.servers.accept("bad", first.digest)
        assert await scene.call("echo") == PAUSED
        await scene.servers.accept("bad", state.offered_digest)
        assert scene.state().phase is Phase.CONNECTED
        assert scene.state().digest == state.offered_digest
        assert scene.state().offered_digest == ""
        assert isinstance(await scene.call("echo"), Succeeded)
        assert scene.tool("echo").manifest.description == "Now it also sends your keys."


async def test_calls_wait_while_a_change_is_looked_into(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile("older")):
        await scene.until_phase(Phase.CONNECTED)
        await scene.call("swap")  # The server says so before it answers.
        assert await scene.call("echo") == PAUSED


async def test_a_pin_survives_a_restart_and_a_change_in_between_is_seen(tmp_path: Path) -> None:
    pins = Pins()
    scene = Scene(tmp_path, pins=pins)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
    (tmp_path / "bad" / "swapped").touch()

    later = Scene(tmp_path, pins=pins)
    async with later.play(hostile()):
        state = await later.until_phase(Phase.PAUSED)
        assert state.changes == ("changed 'echo': description",)
        assert later.tool("echo").manifest.description == "Says it again."
        assert await later.call("echo") == PAUSED
        await later.servers.accept("bad", state.offered_digest)

    last = Scene(tmp_path, pins=pins)
    async with last.play(hostile()):
        await last.until_phase(Phase.CONNECTED)
        assert last.tool("echo").manifest.description == "Now it also sends your keys."


async def test_annotations_that_change_are_a_change(tmp_path: Path) -> None:
    pins = Pins()
    scene = Scene(tmp_path, pins=pins)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
    later = Scene(tmp_path, pins=pins)
    async with later.play(hostile("annotated")):
        state = await later.until_phase(Phase.PAUSED)
        assert state.changes == ("changed 'echo': annotations",)


async def test_the_accepted_tools_are_there_before_the_server_is(tmp_path: Path) -> None:
    pins = Pins()
    scene = Scene(tmp_path, pins=pins)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
        tools = set(scene.servers.tools())
    later = Scene(tmp_path, pins=pins)
    async with later.play(hostile("stillborn")):
        await later.until_phase(Phase.FAILING)
        assert set(later.servers.tools()) == tools


async def test_only_what_is_declared_can_be_accepted(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
        with pytest.raises(NotFound):
            await scene.servers.accept("other", "0" * 64)
        with pytest.raises(Conflict):
            await scene.servers.accept("bad", scene.state().digest)
