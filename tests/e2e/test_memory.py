"""What agents remember outlives runs, daemons and the index; the command line moves it about."""

import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from agentd.client import Client
from agentd.client.types import Memory, MemoryKind
from agentd.v1.agent_pb2 import Agent
from agentd.v1.permission_pb2 import Decision, PermissionRule
from agentd.v1.run_pb2 import RunState
from tests.e2e.daemon import Home, daemon

RULES = tuple(
    PermissionRule(decision=Decision.DECISION_ALLOW, permission=permission)
    for permission in ("tool.use:memory/*", "memory.read:team", "memory.write:team")
)
KEEPER = Agent(name="agents/keeper", tools=["memory/*"], permissions=RULES)
SQLITE = '[memory]\nstore = "sqlite"\nembedder = "lexical"\n'
COMMAND_S = 20.0


def script() -> dict[str, Any]:
    """Return the script of a model that remembers in one run and recalls in another."""
    remember = {"text": "The deploy port is 8080", "kind": "lesson", "scope": "team"}
    recall = {"query": "which port do we deploy to", "scope": "team"}
    return {
        "conversations": [
            {
                "goal": "learn",
                "turns": [
                    {"calls": [{"tool": "remember", "arguments": remember}]},
                    {"text": "learnt"},
                ],
            },
            {
                "goal": "use",
                "turns": [
                    {"calls": [{"tool": "recall", "arguments": recall}]},
                    {"text": "{{last_result}}"},
                ],
            },
        ]
    }


async def command(
    home: Home, *arguments: str, given: str = "", group: str = "memory"
) -> tuple[int, str, str]:
    """Run `agentd memory`; return its exit code and what it wrote to stdout and to stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agentd", group, *arguments),
        env=home.environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(COMMAND_S):
        out, err = await process.communicate(given.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def ok(home: Home, *arguments: str, given: str = "") -> str:
    code, out, err = await command(home, *arguments, given=given)
    assert code == 0, err
    return out


async def run(client: Client, goal: str) -> str:
    """Run a goal to its end and return its output."""
    made = await client.runs.start(goal, agent=KEEPER.name)
    ended = await client.runs.wait(made.run.name, timeout_s=20)
    assert ended.state == RunState.RUN_STATE_SUCCEEDED, ended
    return ended.output


async def texts(client: Client, **filters: Any) -> Sequence[str]:
    return [memory.text async for memory in client.memories.list(**filters)]


@pytest.mark.parametrize("loss", ["nothing", "the index"])
async def test_a_second_run_recalls_what_the_first_has_learnt(
    home: Home, client: Client, loss: str
) -> None:
    home.script(script(), more=SQLITE)
    async with daemon(home) as served:
        await client.agents.create(KEEPER)
        assert await run(client, "learn") == "learnt"
        await served.kill()
    if loss == "the index":
        shutil.rmtree(home.state / "memory")
    async with daemon(home):
        found = json.loads(await run(client, "use"))
        [memory] = found["memories"]
        assert (memory["text"], memory["kind"]) == ("The deploy port is 8080", "lesson")
        assert memory["run"].startswith("runs/")
        await client.memories.delete(memory["memory"])
        assert json.loads(await run(client, "use"))["memories"] == []


async def test_without_chroma_recall_says_so_and_finds(home: Home, client: Client) -> None:
    """A file where Chroma's folder should be breaks it, where it is installed at all."""
    home.script(script(), more='[memory]\nembedder = "lexical"\n')
    (home.state / "memory").mkdir(parents=True)
    (home.state / "memory" / "chroma").write_text("not a folder")
    async with daemon(home):
        await client.agents.create(KEEPER)
        assert await run(client, "learn") == "learnt"
        found = json.loads(await run(client, "use"))
        assert [memory["text"] for memory in found["memories"]] == ["The deploy port is 8080"]
        [fault] = found["faults"]
        assert "chroma" in fault
        assert "scanned instead" in fault
        status = (await client.system.info()).memory
        assert (status.store, list(status.faults)) == ("sqlite", [fault])


async def test_the_command_line_remembers_finds_and_forgets(home: Home) -> None:
    home.configure(SQLITE)
    async with daemon(home):
        old = (await ok(home, "add", "The port is 80", "--scope", "team")).strip()
        assert old.startswith("memories/")
        code, out, err = await command(home, "add", "the PORT is 80!", "--scope", "team")
        assert (code, out.strip(), err.strip()) == (0, old, "It was known already")
        new = (
            await ok(
                home, "add", "The port is 81", "--scope", "team", "--supersedes", old, "--private"
            )
        ).strip()
        await ok(home, "add", "Step two", "--kind", "working", "--ttl", "1h")

        code, out, err = await command(home, "search", "which port", "-o", "json")
        [match] = json.loads(out)["matches"]
        assert (match["memory"]["name"], match["memory"]["private"]) == (new, True)
        assert (match["vectorRank"], match["wordRank"]) == (1, 1)
        assert "Only spellings were compared" in err
        table = await ok(home, "search", "which port")
        assert "The port is 81 (private)" in table

        listed = await ok(home, "list", "--scope", "team", "--all", "-o", "jsonl")
        assert [json.loads(line)["text"] for line in listed.splitlines()] == [
            "The port is 81",
            "The port is 80",
        ]
        assert "Step two" in await ok(home, "list", "--kind", "working")
        assert json.loads(await ok(home, "show", old, "-o", "json"))["supersededBy"] == new
        assert "The port is 81" in await ok(home, "show", new.removeprefix("memories/"))

        _, out, _ = await command(home, "-o", "jsonl", group="doctor")
        found = [json.loads(line) for line in out.splitlines()]
        [line] = [each for each in found if each["subject"] == "memory"]
        assert line["state"] == "ok"
        assert line["text"] == ("2 memories, found by hashed-ngrams (spellings only) in sqlite")

        await ok(home, "forget", new)
        assert "81" not in await ok(home, "search", "which port")
        code, _, err = await command(home, "show", new)
        assert code != 0
        assert "there is no memories/" in err


async def test_memories_move_to_another_daemon(home: Home, client: Client) -> None:
    home.configure(SQLITE)
    async with daemon(home):
        first = await client.memories.create(fact("The port is 80"))
        await client.memories.create(fact("The port is 81", supersedes=[first.memory.name]))
        await client.memories.create(fact("From a page", untrusted=True, source_run="runs/r1"))
        gone = await client.memories.create(fact("Was replaced"))
        after = await client.memories.create(fact("Replaces", supersedes=[gone.memory.name]))
        await client.memories.delete(after.memory.name)
        exported = await ok(home, "export")
        assert len(exported.splitlines()) == 4
        with Home() as other:
            other.configure(SQLITE)
            async with daemon(other), other.client() as there:
                for said in ("3 memories are new, 0 were", "0 memories are new, 3 were"):
                    _, _, err = await command(other, "import", given=exported)
                    assert said in err
                    assert "1 hold no more and were left out" in err
                assert set(await texts(there)) == {"The port is 81", "From a page"}
                assert len(await texts(there, include_superseded=True)) == 3
                [page] = [memory async for memory in there.memories.list() if memory.untrusted]
                assert (page.text, page.source_run) == ("From a page", "runs/r1")
                code, _, err = await command(other, "import", given='{"text": 5}\n')
                assert code != 0
                assert "line 1" in err


def fact(text: str, **fields: Any) -> Memory:
    return Memory(kind=MemoryKind.MEMORY_KIND_FACT, text=text, **fields)
