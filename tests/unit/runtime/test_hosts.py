"""Hosts are told of their leases, whenever these become known."""

import asyncio

from msgspec.structs import replace

from agentd.agent.hosting import Invocation, InvocationKind, Registration, Welcome
from agentd.agent.ids import AgentId, CallId, HostId, Namespace, RunId, RunIdentity, RunKey
from agentd.agent.tool import Tool
from agentd.runtime.hosts import Hosts
from agentd.runtime.leases import LeaseLimits, Leases
from agentd.runtime.system import SystemClock, SystemEntropy

NAMESPACE = Namespace("default")
HOST = HostId("worker")
TOOL = Tool("box", "act")
RUN = RunIdentity(RunKey(1), NAMESPACE, RunId("r1"), AgentId("default"))
INVOCATION = Invocation(
    RUN.id, CallId("c1-1"), InvocationKind.EXECUTE, TOOL.path, "{}", 1, "worker/t", "key", 0, 0
)


async def test_a_host_that_came_before_its_lease_was_read_back_is_told_of_it() -> None:
    hosts = Hosts(Leases(), SystemClock(), SystemEntropy(), LeaseLimits())
    stream = hosts.connect(Registration(NAMESPACE, HOST, "box", (TOOL,), 1))
    async with asyncio.timeout(5):
        [first] = await anext(stream)
        assert first == Welcome(30_000)
        hosts.adopt(RUN, HOST, TOOL, INVOCATION)
        [second] = await anext(stream)
    assert isinstance(second, Welcome)
    assert [lease.call for lease in second.leases] == [INVOCATION.call]
    assert hosts.acquire(RUN, TOOL.path) is None
    await stream.aclose()


async def test_room_that_is_taken_outlasts_a_new_connection_of_its_host() -> None:
    hosts = Hosts(Leases(), SystemClock(), SystemEntropy(), LeaseLimits())
    registration = Registration(NAMESPACE, HOST, "box", (TOOL,), 1)
    first = hosts.connect(registration)
    await anext(first)
    assert hosts.acquire(RUN, TOOL.path) == HOST
    second = hosts.connect(registration)
    await anext(second)  # The host has connected again while the lease is being recorded.
    assert hosts.acquire(RUN, TOOL.path) is None
    hosts.lease(RUN, HOST, TOOL, INVOCATION)
    hosts.wake = lambda _: None
    hosts.release(RUN, INVOCATION.call)
    assert hosts.acquire(RUN, TOOL.path) == HOST
    assert hosts.acquire(RUN, TOOL.path) is None
    await first.aclose()
    await second.aclose()


async def test_the_room_of_a_new_connection_counts_while_the_old_one_is_still_closing() -> None:
    hosts = Hosts(Leases(), SystemClock(), SystemEntropy(), LeaseLimits())
    old = hosts.connect(Registration(NAMESPACE, HOST, "box", (TOOL,), 5))
    await anext(old)
    new = hosts.connect(Registration(NAMESPACE, HOST, "box", (TOOL,), 1))
    await anext(new)
    assert hosts.acquire(RUN, TOOL.path) == HOST
    assert hosts.acquire(RUN, TOOL.path) is None
    await old.aclose()
    await new.aclose()


async def test_room_that_a_woken_run_does_not_want_is_offered_to_the_next() -> None:
    hosts = Hosts(Leases(), SystemClock(), SystemEntropy(), LeaseLimits())
    woken: list[RunIdentity] = []
    hosts.wake = woken.append
    stream = hosts.connect(Registration(NAMESPACE, HOST, "box", (TOOL,), 1))
    await anext(stream)
    first, second = replace(RUN, key=RunKey(2)), replace(RUN, key=RunKey(3))
    assert hosts.acquire(RUN, TOOL.path) == HOST
    assert hosts.acquire(first, TOOL.path) is hosts.acquire(second, TOOL.path) is None
    hosts.give_back(RUN, HOST)
    assert woken == [first]
    hosts.pass_on(first)
    assert woken == [first, second]
    await stream.aclose()
