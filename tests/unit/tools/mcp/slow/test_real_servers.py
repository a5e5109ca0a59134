"""Servers that other people wrote, from the package indexes, in the real sandbox.

They are fetched anew each time, at most three minutes long, and skipped where that is not possible.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentd.agent.hosting import Failed, Outcome, Succeeded
from agentd.agent.tool import EffectClass
from agentd.tools.mcp.server import McpServer, Phase
from agentd.tools.sandbox.sandbox import Sandbox
from tests.unit.tools.mcp.world import Pins, Scene, invocation

pytestmark = pytest.mark.timeout(240)

FETCH_S = 90
SYSTEM = "/usr/bin:/usr/local/bin"
PYTHON_SERVERS = ("mcp-server-time", "mcp-server-git")
NODE_SERVERS = (
    "@modelcontextprotocol/server-filesystem",
    "@modelcontextprotocol/server-everything",
)
ANY_REPOSITORY = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}
"""The repository belongs to whoever runs the test, and the server runs as somebody else."""


def fetch(*command: str) -> None:
    """Run an installer, or skip the test and say why."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=FETCH_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{command[0]} did not end within {FETCH_S} s: no package index in reach?")
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        pytest.skip(f"{Path(command[0]).name} could not fetch a server: {said}")


@pytest.fixture(scope="module")
def fetched() -> Generator[Path]:
    """A folder for servers that the sandbox's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="agentd-mcp-servers-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def python_servers(fetched: Path) -> Path:
    """Return the folder of the programs, in an environment of their own."""
    # A Python of the system, where there is one: ours may be out of the sandbox's reach.
    python = shutil.which("python3", path=SYSTEM) or sys.executable
    fetch(python, "-m", "venv", "--without-pip", str(fetched / "venv"))
    theirs = str(fetched / "venv/bin/python")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", theirs)
    fetch(*pip, "install", "--quiet", *PYTHON_SERVERS)
    return fetched / "venv/bin"


@pytest.fixture(scope="module")
def node_servers(fetched: Path) -> tuple[str, Path]:
    """Return Node and the folder of the modules."""
    node, npm = shutil.which("node", path=SYSTEM), shutil.which("npm", path=SYSTEM)
    if node is None or npm is None:
        pytest.skip("there is no node and npm of the system")
    (fetched / "npm").mkdir()
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(fetched / "npm"))
    fetch(npm, "install", *options, *NODE_SERVERS)
    return node, fetched / "npm/node_modules"


@pytest.fixture
def data(reachable: Path) -> Path:
    """A repository with one file that is not in it."""
    folder = reachable / "data"
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet", folder], check=True, timeout=20)
    (folder / "note.txt").write_text("read me")
    subprocess.run(["chmod", "-R", "go+rX", folder], check=True, timeout=20)
    return folder


def server(*command: object, grants: tuple[Path, ...], **more: Any) -> McpServer:
    permissions = tuple(f"fs.read:{path}/**" for path in grants)
    return McpServer("it", tuple(map(str, command)), permissions=permissions, **more)


async def ready(scene: Scene) -> None:
    await scene.until(lambda: scene.state().phase is not Phase.CONNECTING)
    assert scene.state().phase is Phase.CONNECTED, scene.state()
    assert scene.state().faults == ()


async def call(scene: Scene, tool_id: str, **arguments: object) -> Outcome:
    tool = scene.tool(tool_id, "mcp-it")
    return await tool(invocation(tool, arguments))


def content(outcome: Outcome) -> Any:
    assert isinstance(outcome, Succeeded), outcome
    return msgspec.json.decode(outcome.result_json)["content"]


async def test_time_of_pypi(
    sandbox: Sandbox, reachable: Path, fetched: Path, python_servers: Path
) -> None:
    scene = Scene(reachable, sandbox=sandbox)
    async with scene.play(server(python_servers / "mcp-server-time", grants=(fetched,))):
        await ready(scene)
        [part] = content(await call(scene, "get_current_time", timezone="Asia/Tokyo"))
        assert msgspec.json.decode(part["text"])["datetime"].endswith("+09:00")
        assert isinstance(await call(scene, "get_current_time", timezone="Moon/Sea"), Failed)
        assert scene.tool("get_current_time", "mcp-it").manifest.effect is EffectClass.IRREVERSIBLE


async def test_git_of_pypi(
    sandbox: Sandbox, reachable: Path, fetched: Path, python_servers: Path, data: Path
) -> None:
    declared = server(
        python_servers / "mcp-server-git",
        *("--repository", data),
        grants=(fetched, data),
        environment=ANY_REPOSITORY,
        trusted=True,
    )
    scene = Scene(reachable, sandbox=sandbox)
    async with scene.play(declared):
        await ready(scene)
        [part] = content(await call(scene, "git_status", repo_path=str(data)))
        assert "note.txt" in part["text"]
        assert scene.tool("git_status", "mcp-it").manifest.effect is EffectClass.READ_ONLY
        # The folder was granted for reading only, whatever the server would like to do.
        added = await call(scene, "git_add", repo_path=str(data), files=["note.txt"])
        assert isinstance(added, Failed), added


async def test_files_of_npm(
    sandbox: Sandbox,
    reachable: Path,
    fetched: Path,
    node_servers: tuple[str, Path],
    data: Path,
) -> None:
    node, modules = node_servers
    program = modules / NODE_SERVERS[0] / "dist/index.js"
    pins = Pins()
    for _ in range(2):  # The second time the tools must be those that were pinned.
        scene = Scene(reachable, sandbox=sandbox, pins=pins)
        async with scene.play(server(node, program, data, grants=(fetched, data))):
            await ready(scene)
            [part] = content(await call(scene, "read_text_file", path=str(data / "note.txt")))
            assert part["text"] == "read me"
            written = await call(scene, "write_file", path=str(data / "new"), content="x")
            assert isinstance(written, Failed), written
    assert not (data / "new").exists()


async def test_everything_of_npm(
    sandbox: Sandbox, reachable: Path, fetched: Path, node_servers: tuple[str, Path]
) -> None:
    node, modules = node_servers
    program = modules / NODE_SERVERS[1] / "dist/index.js"
    scene = Scene(reachable, sandbox=sandbox)
    async with scene.play(server(node, program, "stdio", grants=(fetched,))):
        await ready(scene)
        assert content(await call(scene, "echo", message="hi"))[0]["text"] == "Echo: hi"
        parts = content(await call(scene, "get-tiny-image"))
        assert parts[1]["mimeType"] == "image/png"
        assert parts[1]["omitted_bytes"] > 1_000
        steps: dict[str, object] = {"duration": 0.2, "steps": 2}
        await call(scene, "trigger-long-running-operation", **steps)
        await scene.until(lambda: 0.5 in {fraction for fraction, _ in scene.progress})
