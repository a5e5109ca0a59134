"""Agents remember and recall: what they may, and what comes along with what they recall."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentd.agent.hosting import Failed, Invocation, InvocationKind, Succeeded
from agentd.agent.ids import DEFAULT_NAMESPACE, CallId, Namespace, RunId
from agentd.agent.memory import Memory, MemoryId, MemoryKind
from agentd.agent.permission import NO_LABELS, Labels
from agentd.errors import InvalidRequest
from agentd.memory.hashing import HashedNgrams
from agentd.memory.store import Store
from agentd.runtime.claims import RequestClaims
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.memories import Memories, MemoryParts
from agentd.runtime.memory_tools import memory_tools
from agentd.runtime.ports import LocalTool
from agentd.runtime.shelving import MemoryQuery
from agentd.runtime.system import SystemClock, SystemEntropy
from agentd.tools.schema import check_schema
from agentd.v1 import agent_pb2, agent_service_pb2, call_pb2, permission_pb2, run_pb2
from agentd.v1 import run_service_pb2 as runs
from tests.unit.services.house import CALLER, House, house

ALLOW, DENY = permission_pb2.Decision.DECISION_ALLOW, permission_pb2.Decision.DECISION_DENY


class Kit:
    """The tools, called as a run calls them."""

    def __init__(self, memories: Memories, tools: dict[str, LocalTool]) -> None:
        self.memories = memories
        self.tools = tools
        self._calls = 0

    async def call(
        self, tool: str, *, key: str = "", seen: Labels = NO_LABELS, **fields: Any
    ) -> Succeeded | Failed:
        namespace = fields.pop("namespace", DEFAULT_NAMESPACE)
        self._calls += 1
        invocation = Invocation(
            run=RunId("r1"),
            call=CallId("c1-1"),
            kind=InvocationKind.EXECUTE,
            tool=f"memory/{tool}",
            arguments_json=json.dumps(fields),
            attempt=1,
            token="t",
            idempotency_key=key or f"call {self._calls}",
            deadline_ms=0,
            lease_expire_time_ms=0,
            namespace=namespace,
            seen=seen,
        )
        outcome = await self.tools[f"memory/{tool}"](invocation)
        assert isinstance(outcome, Succeeded | Failed)
        return outcome

    async def result(self, tool: str, **fields: Any) -> Any:
        outcome = await self.call(tool, **fields)
        assert isinstance(outcome, Succeeded), outcome
        return json.loads(outcome.result_json)


@asynccontextmanager
async def kit(directory: Path) -> AsyncIterator[Kit]:
    clock = SystemClock()
    journal = await SqliteJournal.open(directory, clock)
    parts = MemoryParts(Store(None), HashedNgrams())
    memories = Memories(
        journal,
        clock,
        SystemEntropy(),
        RequestClaims(journal, clock),
        parts,
    )
    memories._indexing._ready.set()
    try:
        yield Kit(memories, dict(memory_tools(memories, clock)))
    finally:
        await parts.close()
        await journal.close()


async def test_what_one_call_remembers_another_recalls(tmp_path: Path) -> None:
    async with kit(tmp_path) as made:
        said = await made.result("remember", text="The port is 80", kind="lesson")
        assert said["known_before"] is False
        assert (await made.result("remember", text="the port is 80!", kind="lesson")) == {
            "memory": said["memory"],
            "known_before": True,
        }
        found = await made.result("recall", query="which port")
        [memory] = found["memories"]
        assert (memory["memory"], memory["kind"], memory["run"]) == (
            said["memory"],
            "lesson",
            "runs/r1",
        )
        assert memory["why"] == "vector #1 (0.54), words #1"
        assert found["how"] == "by vectors of hashed-ngrams and by words"
        assert found["faults"] == []
        assert (await made.result("recall", query="which port", kinds=["fact"]))["memories"] == []
        assert (await made.result("recall", query="port", scope="other"))["memories"] == []
        other = Namespace("other")
        assert (await made.result("recall", query="port", namespace=other))["memories"] == []


async def test_a_call_that_is_attempted_again_remembers_once(tmp_path: Path) -> None:
    async with kit(tmp_path) as made:
        first = await made.result("remember", text="It rained", kind="episode", key="k")
        # By now the run has seen more, which must not make it another request.
        again = await made.result(
            "remember", text="It rained", kind="episode", key="k", seen=Labels(private=True)
        )
        assert again == first
        query = MemoryQuery(DEFAULT_NAMESPACE)
        assert len(await made.memories.list(query, after="", limit=9)) == 1


@pytest.mark.parametrize("labels", [NO_LABELS, Labels(untrusted=True), Labels(True, True)])
async def test_labels_stay_with_what_was_remembered(tmp_path: Path, labels: Labels) -> None:
    async with kit(tmp_path) as made:
        await made.result("remember", text="The port is 80", seen=labels)
        outcome = await made.call("recall", query="port")
        assert isinstance(outcome, Succeeded)
        assert outcome.labels == labels
        [memory] = json.loads(outcome.result_json)["memories"]
        assert memory["untrusted"] is labels.untrusted
        nothing = await made.call("recall", query="xylophone")
        assert isinstance(nothing, Succeeded)
        assert nothing.labels == NO_LABELS


async def test_supersedes_and_forgets(tmp_path: Path) -> None:
    async with kit(tmp_path) as made:
        old = await made.result("remember", text="The port is 80")
        await made.result("remember", text="The port is 81", supersedes=[old["memory"]], ttl_s=60)
        [memory] = (await made.result("recall", query="port"))["memories"]
        assert memory["text"] == "The port is 81"
        found = await made.memories.get(
            DEFAULT_NAMESPACE, MemoryId(memory["memory"].removeprefix("memories/"))
        )
        assert found.expire_time_ms == pytest.approx(found.create_time_ms + 60_000, abs=1000)
        refused = await made.call("remember", text="x", supersedes=[old["memory"]])
        assert isinstance(refused, Failed)
        assert "was superseded" in refused.message


async def test_their_schemas_are_what_the_registry_takes_them_for(tmp_path: Path) -> None:
    async with kit(tmp_path) as made:
        for tool in made.tools.values():
            check_schema(tool.manifest.input_schema_json, "input", of_object=True)
            check_schema(tool.manifest.output_schema_json, "output")


async def test_a_simulation_remembers_nothing(tmp_path: Path) -> None:
    async with kit(tmp_path) as made:
        tool = made.tools["memory/remember"]
        assert tool.manifest.simulate
        query = MemoryQuery(DEFAULT_NAMESPACE)
        outcome = await tool(
            Invocation(
                RunId("r1"),
                CallId("c1-1"),
                InvocationKind.SIMULATE,
                "memory/remember",
                '{"text": "It rains"}',
                1,
                "t",
                "k",
                0,
                0,
            )
        )
        assert isinstance(outcome, Succeeded)
        assert await made.memories.list(query, after="", limit=9) == []


async def test_needs_a_permission_of_its_scope(tmp_path: Path) -> None:
    async with kit(tmp_path) as made:
        remember, recall = made.tools["memory/remember"], made.tools["memory/recall"]
        assert remember.needs({"text": "x"}, "") == ("memory.write:shared",)
        assert recall.needs({"query": "x", "scope": "team/a"}, "") == ("memory.read:team/a",)
        with pytest.raises(InvalidRequest):
            recall.needs({"query": "x", "scope": "*"}, "")


# Through a run.

TURNS = [
    {"calls": [{"tool": "remember", "arguments": {"text": "The port is 80", "scope": "a"}}]},
    {"calls": [{"tool": "recall", "arguments": {"query": "port", "scope": "a"}}]},
    {"text": "{{last_result}}"},
]


async def run_of(home: House, rules: Sequence[tuple[int, str]]) -> tuple[run_pb2.Run, list[Any]]:
    """Run both tools with these rules; return the run and the errors of its calls."""
    agent = agent_pb2.Agent(
        name="agents/keeper",
        tools=["memory/*"],
        permissions=[
            permission_pb2.PermissionRule(decision=decision, permission=permission)  # type: ignore[arg-type]
            for decision, permission in ((ALLOW, "tool.use:*"), *rules)
        ],
    )
    assert home.runtime.memories is not None
    await home.runtime.offer_local({}, memory_tools(home.runtime.memories, SystemClock()))
    await home.agents.CreateAgent(agent_service_pb2.CreateAgentRequest(agent=agent), CALLER)
    run = run_pb2.Run(name="runs/r1", goal="go", agent="agents/keeper")
    await home.runs.CreateRun(runs.CreateRunRequest(run=run), CALLER)
    request = runs.WaitRunRequest(name="runs/r1")
    request.timeout.FromSeconds(20)
    ended = (await home.runs.WaitRun(request, CALLER)).run
    calls = await home.runs.ListCalls(runs.ListCallsRequest(parent="runs/r1"), CALLER)
    return ended, [call.error.reason for call in calls.calls]


async def test_a_run_remembers_and_recalls_what_its_rules_allow(tmp_path: Path) -> None:
    async with house(tmp_path, {"conversations": [{"turns": TURNS}]}) as home:
        rules = ((ALLOW, "memory.write:a"), (ALLOW, "memory.read:a"))
        run, errors = await run_of(home, rules)
        assert errors == [0, 0]
        [memory] = json.loads(run.output)["memories"]
        assert (memory["text"], memory["run"]) == ("The port is 80", "runs/r1")


async def test_without_a_rule_nothing_is_read_or_written(tmp_path: Path) -> None:
    async with house(tmp_path, {"conversations": [{"turns": TURNS}]}) as home:
        rules = ((ALLOW, "memory.write:b"), (ALLOW, "memory.read:*"), (DENY, "memory.read:a"))
        _, errors = await run_of(home, rules)
        denied = call_pb2.CallErrorReason.CALL_ERROR_REASON_PERMISSION
        assert errors == [denied, denied]
        assert home.runtime.memories is not None
        query = MemoryQuery(DEFAULT_NAMESPACE)
        assert await home.runtime.memories.list(query, after="", limit=9) == []


async def test_a_run_that_recalls_has_then_seen_what_the_memory_had(tmp_path: Path) -> None:
    async with house(tmp_path, {"conversations": [{"turns": TURNS[1:]}]}) as home:
        assert home.runtime.memories is not None
        await home.runtime.memories.create(
            Memory(
                DEFAULT_NAMESPACE,
                MemoryId("m1"),
                MemoryKind.FACT,
                "a",
                "The port is 80",
                labels=Labels(untrusted=True),
            )
        )
        await run_of(home, ((ALLOW, "memory.read:a"),))
        stored = await home.runtime.journal.get_run(DEFAULT_NAMESPACE, RunId("r1"))
        assert stored is not None
        assert stored.run.view.labels == Labels(untrusted=True)
