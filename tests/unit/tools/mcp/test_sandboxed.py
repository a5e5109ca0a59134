"""A server in the real sandbox: what it was granted it has, and nothing else."""

import shutil
from pathlib import Path

import msgspec
import pytest

from agentd.agent.hosting import Succeeded
from agentd.tools.mcp.server import McpServer, Phase
from agentd.tools.sandbox.sandbox import Sandbox
from tests.unit.tools.mcp.world import Scene

NOSY = Path(__file__).with_name("nosy.py")


def readable_copy(folder: Path) -> Path:
    program = Path(shutil.copy(NOSY, folder))
    program.chmod(0o644)
    return program


async def look(scene: Scene, code: str) -> str:
    outcome = await scene.call("look", {"code": code})
    assert isinstance(outcome, Succeeded), outcome
    [part] = msgspec.json.decode(outcome.result_json)["content"]
    return str(part["text"])


async def test_it_has_what_was_granted_and_nothing_else(
    sandbox: Sandbox, reachable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTD_CANARY", "of the daemon")
    granted, other = reachable / "granted", reachable / "other"
    for folder in (granted, other):
        folder.mkdir()
        (folder / "note").write_text("read me")
        (folder / "note").chmod(0o644)
        folder.chmod(0o755)
    program = readable_copy(granted)
    server = McpServer(
        "bad",
        command=("/usr/bin/python3", str(program)),
        environment={"TOKEN": "${secret:token}"},
        permissions=(f"fs.read:{granted}/**", "secret.use:token"),
    )
    scene = Scene(reachable, sandbox=sandbox)
    async with scene.play(server):
        await scene.until(lambda: scene.state().phase is not Phase.CONNECTING)
        assert scene.state().phase is Phase.CONNECTED, scene.state()
        assert await look(scene, "__import__('os').getcwd()") == repr(str(reachable / "bad"))
        assert await look(scene, "__import__('os').environ['TOKEN']") == "'s3cret'"
        assert await look(scene, "__import__('os').environ.get('AGENTD_CANARY')") == "None"
        assert await look(scene, "__import__('os').getuid()") != "0"
        assert await look(scene, f"open({str(granted / 'note')!r}).read()") == "'read me'"
        assert await look(scene, f"open({str(granted / 'new')!r}, 'w')") in {
            "OSError",
            "PermissionError",
        }
        denied = await look(scene, f"open({str(other / 'note')!r}).read()")
        assert denied in {"FileNotFoundError", "PermissionError"}
        assert await look(scene, "open('mine', 'w').write('x')") == "1"
        connecting = "__import__('socket').create_connection(('127.0.0.1', 9), 2)"
        refused = await look(scene, connecting)
        assert "Error" in refused
    assert (reachable / "bad" / "mine").read_text() == "x"


async def test_it_leaves_nothing_running(sandbox: Sandbox, reachable: Path) -> None:
    program = readable_copy(reachable)
    server = McpServer(
        "bad",
        command=("/usr/bin/python3", str(program)),
        permissions=(f"fs.read:{program}",),
    )
    mark = f"{reachable.name}-lingering"
    scene = Scene(reachable, sandbox=sandbox)
    async with scene.play(server):
        await scene.until(lambda: scene.state().phase is not Phase.CONNECTING)
        child = ["/usr/bin/python3", "-c", "import time; time.sleep(600)", mark]
        started = f"__import__('subprocess').Popen({child!r}, start_new_session=True) and 1"
        assert await look(scene, started) == "1"
        assert mark in commands()
    assert mark not in commands()


def commands() -> str:
    """Return the command lines of all processes."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(lines)
