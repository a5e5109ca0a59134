"""All servers of a daemon together, and a daemon without the SDK."""

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from agentd.agent.hosting import Failed, Succeeded
from agentd.tools.mcp.server import McpServer, Phase
from agentd.tools.mcp.servers import NOT_INSTALLED
from tests.unit.tools.mcp.world import QUICK, Pins, Scene, hostile

SDK_USERS = ("connection", "dialling", "screen", "transports")


async def test_one_bad_server_does_not_hurt_another(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    good = msgspec.structs.replace(hostile(), name="good")
    async with scene.play(good, hostile("stillborn")):
        await scene.until_phase(Phase.CONNECTED, 0)
        await scene.until_phase(Phase.FAILING, 1)
        assert {path.partition("/")[0] for path in scene.servers.tools()} == {"mcp-good"}
        assert [state.name for state in scene.servers.state()] == ["good", "bad"]


async def test_calls_are_made_side_by_side(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile(timeout_ms=1_000)):
        await scene.until_phase(Phase.CONNECTED)
        async with asyncio.TaskGroup() as group:
            hanging = group.create_task(scene.call("hang"))
            calls = [group.create_task(scene.call("echo", {"text": str(n)})) for n in range(50)]
            results = [await call for call in calls]
            assert not hanging.done()
        assert all(isinstance(result, Succeeded) for result in results)
        assert {msgspec.json.decode(r.result_json)["content"][0]["text"] for r in results} == {  # type: ignore[union-attr]
            str(n) for n in range(50)
        }


async def test_without_servers_there_is_nothing_to_serve(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play():
        pass
    assert scene.servers.tools() == {}
    assert scene.servers.state() == []


async def test_a_call_to_a_server_that_is_away_is_refused_in_the_end(tmp_path: Path) -> None:
    pins = Pins()
    scene = Scene(tmp_path, pins=pins)
    async with scene.play(hostile()):
        await scene.until_phase(Phase.CONNECTED)
    impatient = msgspec.structs.replace(QUICK, ready_s=0.05, first_retry_s=60.0, last_retry_s=60.0)
    later = Scene(tmp_path, pins=pins, patience=impatient)
    async with later.play(hostile("stillborn")):
        await later.until_phase(Phase.FAILING)
        outcome = await later.call("echo")
        assert isinstance(outcome, Failed)
        assert outcome.message.startswith("the MCP server bad is not available: ")


async def test_a_pin_that_cannot_be_read_is_corrupt(tmp_path: Path) -> None:
    pins = Pins()
    pins.kept["bad"] = b"[{"
    scene = Scene(tmp_path, pins=pins)
    with pytest.raises(ExceptionGroup) as caught:
        async with scene.play(hostile()):
            await scene.until_phase(Phase.CONNECTED)
    assert "cannot be read" in str(caught.value.exceptions)


async def test_without_the_sdk_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SDK_USERS:
        monkeypatch.delitem(sys.modules, f"agentd.tools.mcp.{name}", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "mcp"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "mcp", None)
    scene = Scene(tmp_path)
    async with scene.play(McpServer("bad", ("x",)), McpServer("url", url="https://example.com")):
        for index in (0, 1):
            state = await scene.until_phase(Phase.FAILING, index)
            assert state.reason == NOT_INSTALLED


def test_the_sdk_is_not_imported_before_it_is_needed() -> None:
    code = "import agentd.tools.mcp.servers, sys; print({'mcp', 'anyio'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "set()\n"
