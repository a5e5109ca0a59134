"""A host keeps its calls over cut streams, and reports until it is answered."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from agentd.client import (
    Client,
    Conflict,
    InvalidRequest,
    OutcomeUnknown,
    ToolHost,
    Unavailable,
    tool,
)
from agentd.client import host as host_module
from agentd.client.execution import make_execution
from agentd.v1.tool_host_service_pb2 import (
    CompleteCallsRequest,
    Completion,
    ExtendLeasesRequest,
    HostDrain,
    HostInstruction,
    InvocationKind,
    LeaseResult,
    WatchCallsRequest,
)
from tests.fakes.daemon import HostedCalls, make_invocation
from tests.fakes.server import Context, ScriptedServer, fail
from tests.unit.client.offered import Gate, add, named

RECONCILE = InvocationKind.INVOCATION_KIND_RECONCILE
SIMULATE = InvocationKind.INVOCATION_KIND_SIMULATE
STALE = LeaseResult.LEASE_RESULT_STALE_LEASE
INVALID = LeaseResult.LEASE_RESULT_INVALID
OK = LeaseResult.LEASE_RESULT_OK


async def outcome(calls: HostedCalls) -> Completion:
    return (await calls.outcomes(1))[0]


@pytest.mark.parametrize("id", ["", "stable"])
async def test_a_cut_stream_leaves_calls_running(
    client: Client, calls: HostedCalls, id: str
) -> None:
    gate = Gate()
    async with client.host("x", [named(gate), add], host=id) as host:
        invocation = await calls.invoke("x/wait")
        await gate.entered.wait()
        renewed = make_invocation("x/wait", lease_token="renewed")
        calls.leases = (renewed,)
        await calls.cut()
        await calls.invoke("x/add", '{"a": 1}', number=2)
        await calls.outcomes(1)  # The new stream's welcome was read before this call.
        gate.release.set()
        completion = (await calls.outcomes(2))[1]
    assert (completion.call, completion.result_json) == (invocation.call, '"done"')
    assert completion.lease_token == "renewed"
    assert gate.count == 1
    assert [r.host for r in calls.registrations] == [host.id, host.id]


async def test_an_outcome_that_came_too_late_answers_the_probe(
    client: Client, calls: HostedCalls
) -> None:
    gate = Gate()
    gate.release.set()
    calls.verdict = lambda c: OK if c.lease_token == "probe" else STALE
    async with client.host("x", [named(gate), add]):
        await calls.invoke("x/wait")
        await calls.outcomes(1)
        await calls.invoke("x/add", '{"a": 1}', number=2)
        await calls.outcomes(2)  # By now the answer to the first report was read.
        await calls.invoke("x/wait", kind=RECONCILE, lease_token="probe")
        late = (await calls.outcomes(3))[2]
    assert (late.lease_token, late.result_json) == ("probe", '"done"')
    assert gate.count == 1


async def test_a_lease_that_never_arrived_begins_now(client: Client, calls: HostedCalls) -> None:
    async with client.host("x", [add]):
        calls.leases = (make_invocation("x/add", '{"a": 1}'),)
        await calls.cut()
        assert (await outcome(calls)).result_json == "2"


async def test_a_restarted_host_does_not_know_its_old_calls(
    client: Client, calls: HostedCalls
) -> None:
    calls.leases = (make_invocation("x/add", '{"a": 1}'),)
    async with client.host("x", [add], host="stable"):
        completion = await outcome(calls)
        assert "stable was restarted" in completion.unknown.message
        assert completion.lease_token == "token-1-1"
    assert calls.registrations[0].host == "stable"


async def test_an_answered_call_is_not_executed_again(client: Client, calls: HostedCalls) -> None:
    gate = Gate()
    gate.release.set()
    async with client.host("x", [named(gate), add]):
        invocation = await calls.invoke("x/wait")
        await calls.outcomes(1)
        calls.leases = (invocation,)  # The welcome was made just before the outcome was recorded.
        await calls.cut()
        await calls.invoke("x/add", '{"a": 1}', number=2)
        await calls.outcomes(2)
    assert gate.count == 1


async def test_a_probe_of_a_running_call_gets_its_real_outcome(
    client: Client, calls: HostedCalls
) -> None:
    gate = Gate()
    async with client.host("x", [named(gate)]):
        await calls.invoke("x/wait")
        await gate.entered.wait()
        probe = make_invocation("x/wait", kind=RECONCILE, lease_token="probe")
        await calls.instruct(HostInstruction(invoke=probe))
        calls.leases = (probe,)
        await calls.cut()
        gate.release.set()
        completion = await outcome(calls)
    assert (completion.lease_token, completion.result_json) == ("probe", '"done"')


async def test_a_probe_is_not_answered_by_an_outcome_that_nobody_knows(
    client: Client, calls: HostedCalls
) -> None:
    @tool(effect="non_idempotent", reconcile=lambda: "found")
    def act() -> str:
        raise OutcomeUnknown("who knows")

    async with client.host("x", [act]):
        calls.verdict = lambda _: STALE  # The outcome is kept, in case it is asked for.
        await calls.invoke("x/act")
        await calls.outcomes(1)
        calls.verdict = lambda _: OK
        await calls.invoke("x/act", kind=RECONCILE, lease_token="probe")
        probed = (await calls.outcomes(2))[1]
    assert (probed.lease_token, probed.result_json) == ("probe", '"found"')


async def test_an_answer_to_a_report_does_not_end_the_probe_that_came_meanwhile(
    client: Client, calls: HostedCalls
) -> None:
    @tool(effect="non_idempotent", reconcile=lambda: "found")
    def act() -> str:
        raise OutcomeUnknown("who knows")

    async with client.host("x", [act]) as host:
        calls.leases = ()
        await calls.invoke("x/act")
        first = (await calls.outcomes(1))[0]
        execution = make_execution(make_invocation("x/act", lease_token=first.lease_token))
        probe = make_execution(make_invocation("x/act", kind=RECONCILE, lease_token="probe"))
        host._reports.add(probe)
        host._reports._remove(execution)
        assert host._reports.active[probe.key] is probe
        host._reports._remove(probe)


async def test_an_outcome_is_reported_until_it_is_answered(
    server: ScriptedServer, client: Client, calls: HostedCalls
) -> None:
    answer = server.answers["CompleteCalls"]
    failures = iter(range(6))

    async def flaky(request: Any, context: Context) -> Message:
        if next(failures, None) is not None:
            await fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL")
        result: Message = await answer(request, context)  # type: ignore[misc]
        return result

    server.answers["CompleteCalls"] = flaky
    async with client.host("x", [add]):
        await calls.invoke("x/add", '{"a": 1}')
        await calls.outcomes(1)
    assert len(calls.completions) == 1
    assert len(server.named(CompleteCallsRequest)) == 7


async def test_a_stale_outcome_does_not_end_the_host(client: Client, calls: HostedCalls) -> None:
    calls.verdict = lambda c: STALE if c.call.endswith("-1") else OK
    async with client.host("x", [add]):
        await calls.invoke("x/add", '{"a": 1}', number=1)
        await calls.outcomes(1)
        await calls.invoke("x/add", '{"a": 1}', number=2)
        await calls.outcomes(2)
    assert len(calls.completions) == 2


async def test_a_refused_result_becomes_a_failure(client: Client, calls: HostedCalls) -> None:
    calls.verdict = lambda c: INVALID if c.WhichOneof("outcome") == "result_json" else OK
    async with client.host("x", [add]):
        await calls.invoke("x/add", '{"a": 1}')
        last = (await calls.outcomes(2))[1]
    assert "not valid" in last.error_message


async def test_one_result_that_is_too_large_does_not_hold_up_others(
    server: ScriptedServer, client: Client, calls: HostedCalls
) -> None:
    answer = server.answers["CompleteCalls"]

    async def limited(request: Message, context: Context) -> Message:
        if request.ByteSize() > 100_000:
            await fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE", message="too big")
        result: Message = await answer(request, context)  # type: ignore[misc]
        return result

    server.answers["CompleteCalls"] = limited

    async def text(size: int) -> str:
        return "x" * size

    async with client.host("x", [text]):
        await calls.invoke("x/text", '{"size": 200000}', number=1)
        await calls.invoke("x/text", '{"size": 2}', number=2)
        done = {c.call[-1]: c for c in await calls.outcomes(2)}
    assert "too big" in done["1"].error_message
    assert done["2"].result_json == '"xx"'


async def test_leases_are_extended_and_lost_ones_stop(
    server: ScriptedServer, client: Client, calls: HostedCalls
) -> None:
    calls.lease_s = 0.03
    gate = Gate()
    async with client.host("x", [named(gate)]):
        await calls.cut()  # The second welcome's lease duration counts for the extensions.
        await calls.invoke("x/wait")
        await calls.until(lambda: len(server.named(ExtendLeasesRequest)) >= 2)
        lease = server.named(ExtendLeasesRequest)[0].leases[0]
        assert (lease.call, lease.lease_token) == ("runs/a/calls/c1-1", "token-1-1")
        calls.lease_verdict = lambda _lease: STALE
        completion = await outcome(calls)
    assert "its lease has ended" in completion.unknown.message


async def test_another_host_with_the_same_id_ends_this_one(
    client: Client, calls: HostedCalls
) -> None:
    async def replaced(context: Context) -> None:
        await fail(context, grpc.StatusCode.ABORTED, "HOST_REPLACED")

    async def serve() -> None:
        async with client.host("x", [add], host="stable"):
            await calls.cut(replaced)
            await asyncio.Event().wait()

    with pytest.raises(Conflict):
        await serve()


async def test_refused_tools_are_an_error_at_the_entrance(
    server: ScriptedServer, client: Client
) -> None:
    async def refuse(_request: WatchCallsRequest, context: Context) -> AsyncIterator[Message]:
        await fail(context, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        yield WatchCallsRequest()

    server.answers["WatchCalls"] = refuse
    with pytest.raises(InvalidRequest):
        async with client.host("x", [add]):
            raise AssertionError


async def test_nobody_to_register_with(
    client: Client, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "REGISTER_S", 0.05)
    await server.stop()
    with pytest.raises(Unavailable):
        async with client.host("x", [add]):
            raise AssertionError


async def test_an_error_of_the_body_comes_out_as_it_is(client: Client, calls: HostedCalls) -> None:
    del calls
    with pytest.raises(KeyError, match="mine"):
        async with client.host("x", [add]):
            raise KeyError("mine")


async def test_leaving_lets_calls_end_and_then_stops_them(
    client: Client, calls: HostedCalls
) -> None:
    quick, endless = Gate(), Gate()

    async def first() -> str:
        return await quick.wait()

    @tool(effect="read_only")
    async def second() -> str:
        return await endless.wait()

    host = ToolHost(client._transport, "x", [first, second], drain_s=0.3)
    async with host:
        await calls.invoke("x/first", number=1)
        await calls.invoke("x/second", number=2)
        await quick.entered.wait()
        await endless.entered.wait()
        asyncio.get_running_loop().call_soon(quick.release.set)
    done = {c.call[-1]: c.WhichOneof("outcome") for c in calls.completions}
    assert done == {"1": "result_json", "2": "stopped"}


async def test_unknown_instructions_and_drain_change_nothing(
    client: Client, calls: HostedCalls
) -> None:
    async with client.host("x", [add]):
        await calls.instruct(HostInstruction(drain=HostDrain()))
        await calls.instruct(HostInstruction())
        await calls.invoke("x/add", '{"a": 1}')
        assert (await outcome(calls)).result_json == "2"
