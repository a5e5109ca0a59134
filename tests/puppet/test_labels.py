"""What a run has seen is never forgotten, by its session neither, and decides what is asked."""

import random
from collections.abc import AsyncIterator, Sequence

import pytest

from agentd.agent.call import Call
from agentd.agent.events import RunStarted, RunState
from agentd.agent.ids import DEFAULT_AGENT, DEFAULT_NAMESPACE, RunId, SessionId
from agentd.agent.permission import NO_LABELS, Labels
from agentd.agent.spec import Session
from agentd.agent.tool import CallState
from agentd.runtime.approvals import ApprovalQuery
from agentd.runtime.starting import NewRun
from tests.puppet.injections import Injection
from tests.puppet.office import FOREIGN, HOSTED, PRIVATE, UNTRUSTED, canonical
from tests.puppet.orders import order
from tests.puppet.tasks import CORE, CUSTOMERS, FREE, Step, look, mail, page, write
from tests.puppet.world import World

LABELS = {tool.path: tool.labels for tool in (*HOSTED, *FOREIGN)} | {"web/fetch": UNTRUSTED}
READS: Sequence[Step] = (
    CUSTOMERS,
    FREE,
    ("web/fetch", {"url": "http://site.test/none/a"}),
    ("mail/inbox", {"folder": "new"}),
    write("a.txt", "a"),
    ("files/read", {"path": "missing.txt"}),
)
"""Steps that bring each combination of labels, or none, or fail."""
SEEDS = 8
RUNS = 4


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A world of harmless strangers, whose person allows every fetch of a page and nothing else."""
    names = [RunId(f"r{number}") for number in range(RUNS + 1)]
    fetches = [(tool, canonical(args)) for tool, args in READS if tool == "web/fetch"] * RUNS
    async with World.open(
        dict.fromkeys(names, Injection("none")), dict.fromkeys(names, fetches)
    ) as made:
        yield made


async def run(
    world: World, name: str, *steps: Step, session: str = "", tools: tuple[str, ...] = CORE
) -> tuple[Labels, Labels, Sequence[Call]]:
    """Have the puppet do steps; return what its run had seen at start and end, and its calls."""
    runtime, named = world.runtime, RunId(name)
    world.furnish(named)
    goal = " ".join(order(tool, arguments) for tool, arguments in steps) or "Rest."
    new = NewRun(
        DEFAULT_NAMESPACE,
        named,
        goal,
        DEFAULT_AGENT,
        session=SessionId(session) or None,
        tools=tools,
    )
    await runtime.engine.create_run(new)
    ended = await runtime.reading.wait_run(DEFAULT_NAMESPACE, named, 20)
    assert ended.view.state is RunState.SUCCEEDED
    entries = await runtime.journal.read_run(ended.identity)
    [begun] = [entry.event for entry in entries if isinstance(entry.event, RunStarted)]
    return (
        begun.labels,
        ended.view.labels,
        await runtime.reading.list_calls(DEFAULT_NAMESPACE, named),
    )


@pytest.mark.parametrize(
    ("steps", "labels"),
    [
        ((), NO_LABELS),
        ((FREE,), NO_LABELS),
        ((CUSTOMERS,), PRIVATE),
        ((page("a"),), NO_LABELS),  # Refused: what was not fetched was not seen.
        ((READS[2],), UNTRUSTED),
        ((READS[3],), UNTRUSTED | PRIVATE),
        ((CUSTOMERS, READS[2], FREE), UNTRUSTED | PRIVATE),
    ],
)
async def test_a_run_has_what_the_manifests_of_its_calls_say(
    world: World, steps: Sequence[Step], labels: Labels
) -> None:
    before, after, _ = await run(world, "r1", *steps)
    assert (before, after) == (NO_LABELS, labels)


async def test_the_error_of_a_strangers_tool_is_a_strangers_text(world: World) -> None:
    steps: Sequence[Step] = (("mcp-wiki/ping", {}),)
    before, after, [call] = await run(world, "r1", *steps, tools=(*CORE, "mcp-wiki/ping"))
    assert call.state is CallState.FAILED
    assert before == after == UNTRUSTED


async def test_a_session_hands_on_what_it_has_seen(world: World) -> None:
    await world.runtime.sessions.create_session(Session(DEFAULT_NAMESPACE, SessionId("talk")))
    await run(world, "r1", CUSTOMERS, session="talk")
    await run(world, "r2", READS[2], session="talk")
    before, _, [sent] = await run(world, "r3", mail("ann", "Hello"), session="talk")
    assert before == UNTRUSTED | PRIVATE
    assert sent.state is CallState.DENIED
    _, _, [sent] = await run(world, "r4", mail("ann", "Hello"))
    assert sent.state is CallState.SUCCEEDED  # It is no run of that session.


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_labels_only_grow_along_any_history(world: World, seed: int) -> None:
    chance = random.Random(seed)
    await world.runtime.sessions.create_session(Session(DEFAULT_NAMESPACE, SessionId("talk")))
    seen = NO_LABELS
    for number in range(RUNS):
        steps = chance.sample(READS, chance.randrange(3))
        before, after, calls = await run(world, f"r{number}", *steps, session="talk")
        assert before == seen
        for call in calls:
            assert call.seen == seen
            if call.attempt:
                seen |= LABELS.get(call.path, NO_LABELS)
        assert after == seen


async def test_private_data_a_foreign_server_and_an_effect_outside_need_a_person(
    world: World,
) -> None:
    steps = (look("tea"), CUSTOMERS, mail("ann", "All of them"))
    _, _, calls = await run(world, "r1", *steps, tools=(*CORE, "mcp-wiki/*"))
    query = ApprovalQuery(DEFAULT_NAMESPACE, run=RunId("r1"))
    [asked] = await world.runtime.approvals.list(query, after="", limit=10)
    assert asked.question.path == "mail/send"
    assert asked.question.labels == UNTRUSTED | PRIVATE
    assert asked.question.judgement.rule == "ask tool.use:* outward after untrusted"
    assert [call.state for call in calls] == [
        CallState.SUCCEEDED,
        CallState.SUCCEEDED,
        CallState.DENIED,
    ]
    assert world.office.executions == []
