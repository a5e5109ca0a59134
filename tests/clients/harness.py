"""Plays a scenario: a daemon with the scripted model, a proxy before it, and runners at cues."""

import asyncio
import json
import os
import re
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pool import Default

from agentd.client import Client
from tests.clients.proxy import Proxy, proxy
from tests.clients.refusals import Refusals
from tests.e2e.daemon import Home, daemon
from tests.e2e.watching import until
from tests.fakes.server import ScriptedServer

FOLDER = Path(__file__).resolve().parent
SCENARIO = FOLDER / "scenario.json"
SCENARIO_S = 60.0
LINE_S = 30.0
LINE_BYTES = 1 << 20
TOKEN = "let-me-in"
CONDITIONAL = re.compile(r"[a-z]+\| ")

Cue = Callable[[str], Coroutine[Any, Any, None]]


def features() -> list[str]:
    """Return what this tree's daemon can do that the scenario has steps for."""
    try:
        Default().FindMessageTypeByName("agentd.v1.PermissionRule")
    except KeyError:
        return []
    return ["approvals"]


def expected() -> str:
    """Return the transcript that every client prints: `transcript.txt`, in which a line of a step
    that requires a feature begins with its name and a bar."""
    text = (FOLDER / "transcript.txt").read_text("utf-8")
    for feature in features():
        text = text.replace(f"\n{feature}| ", "\n")
    return "".join(line for line in text.splitlines(keepends=True) if not CONDITIONAL.match(line))


@dataclass(slots=True)
class Stage:
    """Where runners play: a daemon, a proxy, and a file that says where they are."""

    home: Home
    proxy: Proxy
    place: Path
    direct: str
    """The daemon's address without the proxy."""
    lines: list[str] = field(default_factory=list)

    async def obey(self, word: str, step: Mapping[str, Any]) -> None:
        """Do what a cue of the scenario asks for."""
        async with asyncio.timeout(LINE_S), self.home.client() as client:
            match word:
                case "cut":
                    await self.proxy.cut()
                    send = step["send"]
                    await client.runs.send(send["run"], send["text"])
                    await client.runs.pause(step["pause"])
                case "restore":
                    await self.proxy.open()
                    await until(client, step["ends"], "call_ended")
                    await _until_hosted(client)
                    await client.runs.resume(step["resume"])
                case _:
                    raise AssertionError(f"nobody knows the cue {word}")


async def _until_hosted(client: Client) -> None:
    """Ask until a host is connected, of which no event tells."""
    while not (await client.system.info()).connected_host_count:
        pass


@asynccontextmanager
async def stage(home: Home, carrier: str, errors_address: str = "") -> AsyncIterator[Stage]:
    """Start a daemon and a proxy before it; `carrier` is `unix` or `tcp`."""
    scenario = json.loads(SCENARIO.read_text("utf-8"))
    token_file = home.path / "token"
    token_file.write_text(TOKEN, encoding="ascii")
    token_file.chmod(0o600)
    back, front, more = home.address, f"unix:{home.path}/proxy", ""
    if carrier == "tcp":
        back, front = f"127.0.0.1:{_free_port()}", "127.0.0.1:0"
        more = f'[server]\ntcp = "{back}"\ntoken_file = "{token_file}"\n'
    home.script(scenario["model"], more=more + "[runs]\nlease_s = 5\n")
    async with daemon(home), proxy(front, back) as before:
        place = home.path / "place.json"
        place.write_text(
            json.dumps(
                {
                    "address": before.address,
                    "token_file": str(token_file) if carrier == "tcp" else "",
                    "errors_address": errors_address,
                    "nobody_address": f"unix:{home.path}/nobody",
                    "features": features(),
                }
            ),
            encoding="utf-8",
        )
        yield Stage(home, before, place, back)


class Runner:
    """The process of a runner, and its lines."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._log = log

    async def line(self) -> str:
        """Return its next line; empty at the end."""
        assert self.process.stdout is not None
        async with asyncio.timeout(LINE_S):
            return (await self.process.stdout.readline()).decode()

    async def cue(self, word: str) -> None:
        """Wait until it stands at a cue."""
        while (line := await self.line()) != f"@{word}\n":
            assert line, f"the runner ended before @{word}:\n{self._log.read_text('utf-8')}"

    def answer(self) -> None:
        """Let it go on behind its cue."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"ok\n")

    async def kill(self) -> None:
        """End it without a word."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def ended(self) -> None:
        """Wait for its end, which must be a good one."""
        async with asyncio.timeout(LINE_S):
            code = await self.process.wait()
        assert code == 0, f"the runner ended with {code}:\n{self._log.read_text('utf-8')}"


@asynccontextmanager
async def runner(
    command: Sequence[str], scenario: Path, place: Path, *, log: Path
) -> AsyncIterator[Runner]:
    """Start a runner for as long as the context lasts."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            str(scenario),
            str(place),
            stdin=PIPE,
            stdout=PIPE,
            stderr=output,
            env=dict(os.environ),
            limit=LINE_BYTES,
        )
        made = Runner(process, log)
        try:
            yield made
        finally:
            await made.kill()


async def play(command: Sequence[str], home: Home, carrier: str) -> str:
    """Have a runner execute the scenario; return its transcript."""
    scenario = json.loads(SCENARIO.read_text("utf-8"))
    [cases] = [step["cases"] for step in scenario["steps"] if step["do"] == "errors"]
    cues = {step["word"]: step for step in scenario["steps"] if step["do"] == "cue"}
    lines: list[str] = []
    async with (
        asyncio.timeout(SCENARIO_S),
        ScriptedServer(f"unix:{home.path}/errors") as server,
        stage(home, carrier, server.address) as here,
    ):
        refusals = Refusals(server, cases)
        log = home.path / "runner.log"
        async with runner(command, SCENARIO, here.place, log=log) as playing:
            while line := await playing.line():
                if line.startswith("@"):
                    word = line[1:].strip()
                    await here.obey(word, cues[word])
                    playing.answer()
                else:
                    lines.append(line)
            await playing.ended()
        for ids in refusals.request_ids().values():
            assert len(ids) == 1, "a creation was repeated with another request id"
            assert ids != {""}, "a creation was sent without a request id"
        lines += [f"{line}\n" for line in refusals.lines()]
    return "".join(lines)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
