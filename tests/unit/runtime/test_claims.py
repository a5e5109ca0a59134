"""A request id is used once, and answers the same for the same content."""

import asyncio
from collections import OrderedDict
from pathlib import Path

import pytest

from agentd.agent.ids import AgentId, Namespace
from agentd.agent.message import Purpose
from agentd.agent.spec import Agent
from agentd.errors import InvalidRequest, Reason
from agentd.runtime.claims import KeyedLocks, RequestClaims, request_digest
from tests.unit.runtime.shelf import HandClock, opened

HOME, OTHER = Namespace("default"), Namespace("other")


async def test_a_claim_answers_its_repeats(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        claims = RequestClaims(journal, HandClock())
        assert await claims.find(HOME, "q1", "CreateRun", "d1") is None
        await journal.put(claims.records(HOME, "q1", "CreateRun", "d1", "r1"))
        assert await claims.find(HOME, "q1", "CreateRun", "d1") == "r1"
        assert await claims.find(OTHER, "q1", "CreateRun", "d2") is None


@pytest.mark.parametrize(("method", "digest"), [("CreateRun", "d2"), ("CreateAgent", "d1")])
async def test_another_content_is_refused(tmp_path: Path, method: str, digest: str) -> None:
    async with opened(tmp_path) as journal:
        claims = RequestClaims(journal, HandClock())
        await journal.put(claims.records(HOME, "q1", "CreateRun", "d1", "r1"))
        with pytest.raises(InvalidRequest) as caught:
            await claims.find(HOME, "q1", method, digest)
        assert caught.value.reason is Reason.REQUEST_ID_REUSED
        assert caught.value.metadata["request_id"] == "q1"


async def test_without_an_id_nothing_is_claimed(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        claims = RequestClaims(journal, HandClock())
        assert claims.records(HOME, "", "CreateRun", "d1", "r1") == ()
        assert await claims.find(HOME, "", "CreateRun", "d1") is None
        async with asyncio.timeout(5), claims.hold(HOME, ""), claims.hold(HOME, ""):
            pass


async def test_a_lock_admits_one_at_a_time_and_leaves_nothing() -> None:
    locks = KeyedLocks()
    inside: list[int] = []
    most = 0

    async def work(key: int) -> None:
        nonlocal most
        async with locks.hold(key):
            inside.append(key)
            most = max(most, inside.count(key))
            await asyncio.sleep(0)
            inside.remove(key)

    async with asyncio.TaskGroup() as group:
        for index in range(30):
            group.create_task(work(index % 3))
    assert most == 1
    assert locks._locks == {}


async def test_a_cancelled_waiter_leaves_the_lock_to_others() -> None:
    locks = KeyedLocks()
    entered = asyncio.Event()

    async def wait() -> None:
        entered.set()
        async with locks.hold("key"):
            pass

    async with asyncio.TaskGroup() as group:
        async with locks.hold("key"):
            waiter = group.create_task(wait())
            await entered.wait()
            waiter.cancel()
        async with asyncio.timeout(5), locks.hold("key"):
            pass
    assert locks._locks == {}


def test_the_digest_is_of_the_content() -> None:
    one = Agent(HOME, AgentId("a"), models={Purpose.PLANNING: "x", Purpose.EXECUTION: "y"})
    turned = OrderedDict(reversed(list(one.models.items())))
    assert request_digest(one) == request_digest(Agent(HOME, AgentId("a"), models=turned))
    assert request_digest(one) != request_digest(Agent(HOME, AgentId("a"), models={}))
    assert request_digest((one, ["a"])) != request_digest((one, ["b"]))
