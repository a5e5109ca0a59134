"""Agents cross the contract unharmed; what the contract forbids is refused by field."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from agentd.errors import AlreadyExists, Conflict, NotFound, Reason
from agentd.services.checks import MIB
from agentd.v1 import agent_pb2, budget_pb2
from agentd.v1 import agent_service_pb2 as pb
from tests.unit.services.house import CALLER, STRANGER, failing, house, refused

HELPER = agent_pb2.Agent(
    name="agents/helper",
    display_name="Helper",
    instructions="Help.",
    models=[
        agent_pb2.ModelRoute(purpose=agent_pb2.PURPOSE_PLANNING, model="scripted/plan"),
        agent_pb2.ModelRoute(model="scripted/demo"),
    ],
    tools=["files/*", "web/search"],
    budget=budget_pb2.Budget(max_turns=5, max_wall_time=Duration(seconds=1, nanos=500_000)),
    max_parallel_calls=4,
    annotations={"team": "a"},
)


def creation(**fields: Any) -> pb.CreateAgentRequest:
    return pb.CreateAgentRequest(agent=agent_pb2.Agent(**fields))


async def test_creates_with_the_documented_defaults(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        created = (await home.agents.CreateAgent(pb.CreateAgentRequest(agent=HELPER), CALLER)).agent
        expected = agent_pb2.Agent()
        expected.CopyFrom(HELPER)
        expected.models[1].purpose = agent_pb2.PURPOSE_EXECUTION
        expected.budget.max_wall_time.nanos = 1_000_000  # in whole milliseconds, rounded up
        expected.protocol = agent_pb2.PROTOCOL_DIRECT
        expected.on_unknown = agent_pb2.ON_UNKNOWN_ASK
        expected.revision = 1
        expected.create_time.CopyFrom(created.create_time)
        expected.update_time.CopyFrom(created.create_time)
        expected.etag = created.etag
        assert created == expected
        assert created.create_time.seconds > 1_700_000_000
        assert created.etag
        got = await home.agents.GetAgent(pb.GetAgentRequest(name="agents/helper"), CALLER)
        assert got.agent == created


async def test_output_only_fields_are_ignored(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        request = creation(revision=9, etag="x", create_time={"seconds": 1})
        created = (await home.agents.CreateAgent(request, CALLER)).agent
        assert created.revision == 1
        assert created.etag != "x"
        assert created.create_time.seconds > 1
        assert created.name.startswith("agents/")


async def test_a_name_is_taken_once(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.agents.CreateAgent(creation(name="agents/a"), CALLER)
        await home.agents.CreateAgent(creation(name="agents/a"), STRANGER)
        async with failing(AlreadyExists, Reason.NAME_TAKEN):
            await home.agents.CreateAgent(creation(name="agents/a"), CALLER)


async def test_updates_by_mask_and_etag(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        created = (await home.agents.CreateAgent(pb.CreateAgentRequest(agent=HELPER), CALLER)).agent
        change = agent_pb2.Agent(name=created.name, instructions="Be brief.", etag=created.etag)
        mask = FieldMask(paths=["instructions"])
        request = pb.UpdateAgentRequest(agent=change, update_mask=mask)
        updated = (await home.agents.UpdateAgent(request, CALLER)).agent
        assert (updated.revision, updated.instructions) == (2, "Be brief.")
        assert updated.tools == HELPER.tools
        async with failing(Conflict, Reason.ETAG_MISMATCH):
            await home.agents.UpdateAgent(request, CALLER)
        change.etag = ""
        emptied = (await home.agents.UpdateAgent(pb.UpdateAgentRequest(agent=change), CALLER)).agent
        assert (emptied.revision, list(emptied.tools)) == (3, [])
        again = (await home.agents.UpdateAgent(pb.UpdateAgentRequest(agent=change), CALLER)).agent
        assert again == emptied
        old = await home.agents.GetAgent(pb.GetAgentRequest(name=created.name, revision=1), CALLER)
        assert old.agent == created


async def test_lists_agents_and_revisions_in_pages(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for name in ("c", "a", "b"):
            await home.agents.CreateAgent(creation(name=f"agents/{name}"), CALLER)
        first = await home.agents.ListAgents(pb.ListAgentsRequest(page_size=2), CALLER)
        assert [agent.name for agent in first.agents] == ["agents/a", "agents/b"]
        rest = await home.agents.ListAgents(
            pb.ListAgentsRequest(page_size=2, page_token=first.next_page_token), CALLER
        )
        assert [agent.name for agent in rest.agents] == ["agents/c"]
        assert rest.next_page_token == ""
        for index in range(2):
            change = agent_pb2.Agent(name="agents/a", instructions=str(index))
            await home.agents.UpdateAgent(pb.UpdateAgentRequest(agent=change), CALLER)
        request = pb.ListAgentRevisionsRequest(name="agents/a", page_size=2)
        page = await home.agents.ListAgentRevisions(request, CALLER)
        assert [agent.revision for agent in page.agents] == [3, 2]
        request.page_token = page.next_page_token
        page = await home.agents.ListAgentRevisions(request, CALLER)
        assert [agent.revision for agent in page.agents] == [1]
        assert page.next_page_token == ""
        request.name = "agents/b"
        request.page_token = first.next_page_token
        async with refused("page_token"):
            await home.agents.ListAgentRevisions(request, CALLER)


async def test_a_page_ends_before_it_is_too_large_for_a_client(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for name in "abc":
            request = creation(name=f"agents/{name}", instructions=name * (MIB - 100))
            await home.agents.CreateAgent(request, CALLER)
        names, token = [], ""
        while True:
            page = await home.agents.ListAgents(pb.ListAgentsRequest(page_token=token), CALLER)
            assert page.ByteSize() < 4 * MIB
            names += [agent.name for agent in page.agents]
            token = page.next_page_token
            if not token:
                break
        assert names == ["agents/a", "agents/b", "agents/c"]


async def test_deletes(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.agents.CreateAgent(creation(name="agents/a"), CALLER)
        await home.agents.DeleteAgent(pb.DeleteAgentRequest(name="agents/a"), CALLER)
        async with failing(NotFound, Reason.AGENT_NOT_FOUND):
            await home.agents.GetAgent(pb.GetAgentRequest(name="agents/a"), CALLER)
        async with failing(NotFound, Reason.AGENT_NOT_FOUND):
            await home.agents.DeleteAgent(pb.DeleteAgentRequest(name="agents/a"), CALLER)


ROUTE = agent_pb2.ModelRoute(model="m")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "helper"}, "agent.name"),
        ({"name": "agents/Helper"}, "agent.name"),
        ({"display_name": "x" * 201}, "agent.display_name"),
        ({"instructions": "é" * (MIB // 2 + 1)}, "agent.instructions"),
        ({"models": [{"purpose": 99, "model": "m"}]}, "agent.models[0].purpose"),
        ({"models": [{"model": ""}]}, "agent.models[0].model"),
        ({"models": [{"model": "m" * 257}]}, "agent.models[0].model"),
        ({"models": [ROUTE, ROUTE]}, "agent.models[1].purpose"),
        ({"tools": ["*/*", "a//b"]}, "agent.tools[1]"),
        ({"tools": [""]}, "agent.tools[0]"),
        ({"budget": {"max_turns": -1}}, "agent.budget.max_turns"),
        ({"protocol": 99}, "agent.protocol"),
        ({"on_unknown": 99}, "agent.on_unknown"),
        ({"max_parallel_calls": -1}, "agent.max_parallel_calls"),
        ({"max_parallel_calls": 257}, "agent.max_parallel_calls"),
        ({"annotations": {"a": "x" * 4096}}, "agent.annotations['a']"),
    ],
)
async def test_bad_agents(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    async with house(tmp_path) as home:
        async with refused(field):
            await home.agents.CreateAgent(creation(**fields), CALLER)
        if field != "agent.name":
            async with refused(field):
                agent = agent_pb2.Agent(**{"name": "agents/a", **fields})
                await home.agents.UpdateAgent(pb.UpdateAgentRequest(agent=agent), CALLER)


async def test_the_largest_values_are_accepted(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        request = creation(
            name="agents/" + "a" * 63,
            display_name="é" * 200,
            instructions="x" * MIB,
            max_parallel_calls=256,
            annotations={f"{n:02d}": "x" * 4094 for n in range(64)},
            tools=["*", "a/b", "*/read", "files/*"],
        )
        created = await home.agents.CreateAgent(request, CALLER)
        assert len(created.agent.annotations) == 64


async def test_an_agent_has_prompts_and_a_protocol(tmp_path: Path) -> None:
    prompt = agent_pb2.PhasePrompt(purpose=agent_pb2.PURPOSE_PLANNING, text="Plan {{goal}}.")
    route = agent_pb2.ModelRoute(model="demo", fallbacks=["scripted/demo"])
    async with house(tmp_path) as home:
        request = creation(
            protocol=agent_pb2.PROTOCOL_LIFECYCLE,
            phase_prompts=[prompt],
            models=[route],
            require_plan_approval=True,
        )
        created = (await home.agents.CreateAgent(request, CALLER)).agent
        assert created.protocol == agent_pb2.PROTOCOL_LIFECYCLE
        assert list(created.phase_prompts) == [prompt]
        assert list(created.models[0].fallbacks) == ["scripted/demo"]
        assert created.require_plan_approval
        update = pb.UpdateAgentRequest(agent=agent_pb2.Agent(name=created.name))
        update.update_mask.paths.append("models")
        updated = (await home.agents.UpdateAgent(update, CALLER)).agent
        assert (list(updated.models), updated.protocol) == ([], created.protocol)
        for wrong, field in (
            (agent_pb2.PhasePrompt(purpose=agent_pb2.PURPOSE_COMPACTION, text="x"), "purpose"),
            (agent_pb2.PhasePrompt(purpose=agent_pb2.PURPOSE_PLANNING), "text"),
            (agent_pb2.PhasePrompt(purpose=agent_pb2.PURPOSE_MEMORY, text="{{tools}}"), "text"),
        ):
            async with refused(f"agent.phase_prompts[0].{field}"):
                await home.agents.CreateAgent(creation(phase_prompts=[wrong]), CALLER)


async def test_bad_requests(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        async with refused("agent"):
            await home.agents.CreateAgent(pb.CreateAgentRequest(), CALLER)
        async with refused("request_id"):
            request = pb.CreateAgentRequest(agent=HELPER, request_id="q" * 129)
            await home.agents.CreateAgent(request, CALLER)
        async with refused("name"):
            await home.agents.GetAgent(pb.GetAgentRequest(), CALLER)
        async with refused("revision"):
            await home.agents.GetAgent(pb.GetAgentRequest(name="agents/a", revision=-1), CALLER)
        async with refused("page_size"):
            await home.agents.ListAgents(pb.ListAgentsRequest(page_size=-1), CALLER)
        async with refused("page_token"):
            await home.agents.ListAgents(pb.ListAgentsRequest(page_token="?"), CALLER)
        async with refused("agent"):
            await home.agents.UpdateAgent(pb.UpdateAgentRequest(), CALLER)
        async with refused("agent.name"):
            await home.agents.UpdateAgent(pb.UpdateAgentRequest(agent=agent_pb2.Agent()), CALLER)
        for path in ("name", "budget.max_turns", "etag", "nothing"):
            async with refused("update_mask"):
                mask = FieldMask(paths=["tools", path])
                request_ = pb.UpdateAgentRequest(agent=HELPER, update_mask=mask)
                await home.agents.UpdateAgent(request_, CALLER)
        async with refused("name"):
            await home.agents.DeleteAgent(pb.DeleteAgentRequest(name="a/b"), CALLER)
        async with refused("name"):
            await home.agents.ListAgentRevisions(pb.ListAgentRevisionsRequest(), CALLER)
