"""Tools in other processes: hosts that share a toolset, die, come back, report late or twice."""

import asyncio

import pytest

from agentd.client import Client, Conflict, Reason, tool
from agentd.client.types import Event
from agentd.v1.call_pb2 import Call, CallState
from agentd.v1.run_pb2 import CancelOutcome, RunState, WaitReason
from agentd.v1.run_service_pb2 import AbandonCall, ResolveCallRequest, RetryCall
from agentd.v1.tool_host_service_pb2 import LeaseResult
from tests.e2e.daemon import Home, daemon
from tests.e2e.hosting import (
    IDEMPOTENT,
    NON_IDEMPOTENT,
    READ_ONLY,
    RawHost,
    manifest,
    stuck_host,
)
from tests.e2e.watching import history, until

OK = LeaseResult.LEASE_RESULT_OK
STALE = LeaseResult.LEASE_RESULT_STALE_LEASE
SUCCEEDED = RunState.RUN_STATE_SUCCEEDED


async def start(client: Client) -> str:
    """Start a run that calls `box/act`; return its name."""
    return (await client.runs.start("call it", tools=["box/*"])).run.name


async def only_call(client: Client, run: str) -> Call:
    """Return the one call of a run."""
    [call] = [call async for call in client.runs.calls(run)]
    return call


async def test_an_idempotent_call_of_a_killed_host_ends_at_another(
    home: Home, client: Client
) -> None:
    @tool(effect="idempotent")
    def act(item: str) -> str:
        return f"the other did {item}"

    async with daemon(home), stuck_host(home, "first", "idempotent") as first:
        assert first.stdout is not None
        assert await first.stdout.readline() == b"registered\n"
        run = await start(client)
        assert await first.stdout.readline() == b"begun\n"
        async with client.host("box", [act], host="second"):
            first.kill()
            ended = await client.runs.wait(run, timeout_s=15)
        assert ended.state == SUCCEEDED
        call = await only_call(client, run)
        assert (call.attempt, call.host) == (2, "second")


@pytest.mark.parametrize("way", ["result", "error", "retry", "abandon"])
async def test_a_call_that_must_not_be_repeated_is_resolved_by_a_person(
    home: Home, client: Client, way: str
) -> None:
    request = ResolveCallRequest(reason="I looked")
    match way:
        case "result":
            request.result_json = '"it was there"'
        case "error":
            request.error_message = "it broke"
        case "retry":
            request.retry.CopyFrom(RetryCall())
        case "abandon":
            request.abandon.CopyFrom(AbandonCall())
    async with daemon(home), stuck_host(home, "first", "non_idempotent") as first:
        assert first.stdout is not None
        await first.stdout.readline()
        run = await start(client)
        await first.stdout.readline()
        first.kill()
        waiting = await until(client, run, "run_waiting")
        assert waiting.run_waiting.reason == WaitReason.WAIT_REASON_INPUT
        request.name = (await only_call(client, run)).name
        async with RawHost(home, "second", manifest("act", NON_IDEMPOTENT)) as second:
            await client.runs.resolve_call(request)
            if way == "retry":
                invocation = await second.invoked()
                assert invocation.attempt == 2
                assert await second.complete(invocation, result_json='"again"') == OK
            ended = await client.runs.wait(run, timeout_s=10)
        assert ended.state == SUCCEEDED
        call = await only_call(client, run)
        assert (
            call.state
            == {
                "result": CallState.CALL_STATE_RECONCILED,
                "error": CallState.CALL_STATE_FAILED,
                "retry": CallState.CALL_STATE_SUCCEEDED,
                "abandon": CallState.CALL_STATE_ABANDONED,
            }[way]
        )
        with pytest.raises(Conflict) as again:
            await client.runs.resolve_call(request)
        assert again.value.reason is Reason.WRONG_CALL_STATE
        assert "state" in again.value.metadata


async def test_a_lease_outlives_the_stream_and_the_daemon(home: Home, client: Client) -> None:
    async with RawHost.later(home, "worker", manifest("act", NON_IDEMPOTENT)) as host:
        async with daemon(home) as served:
            await host.connect()
            run = await start(client)
            invocation = await host.invoked()
            host.cut()
            await host.connect()
            assert [lease.call for lease in host.leases] == [invocation.call]
            await served.kill()
        async with daemon(home):
            assert await host.complete(invocation, result_json='"kept"') == OK
            ended = await client.runs.wait(run, timeout_s=10)
            assert ended.output == 'it was "kept"'


async def test_a_late_answer_is_evidence(home: Home, client: Client) -> None:
    async with daemon(home), RawHost(home, "slow", manifest("act", READ_ONLY)) as slow:
        run = await start(client)
        late = await slow.invoked()
        slow.cut()
        await until(client, run, "call_lost")
        async with RawHost(home, "quick", manifest("act", READ_ONLY)) as quick:
            second = await quick.invoked()
            assert second.attempt == 2
            assert second.idempotency_key == late.idempotency_key
            assert await slow.complete(late, result_json='"late"') == STALE
            assert await quick.complete(second, result_json='"in time"') == OK
        ended = await client.runs.wait(run, timeout_s=10)
        assert ended.output == 'it was "in time"'
        [evidence] = (await only_call(client, run)).evidence
        assert (evidence.host, evidence.attempt, evidence.result_json) == ("slow", 1, '"late"')


async def test_an_answer_given_twice_counts_once(home: Home, client: Client) -> None:
    async with daemon(home), RawHost(home, "worker", manifest("act", IDEMPOTENT)) as host:
        run = await start(client)
        invocation = await host.invoked()
        assert await host.complete(invocation, result_json='"one"') == OK
        assert await host.complete(invocation, result_json='"two"') == STALE
        assert (await client.runs.wait(run, timeout_s=10)).output == 'it was "one"'
        assert (await history(client)).count("call_ended") == 1


async def test_a_cancel_reports_what_stopped_and_what_did_not(home: Home, client: Client) -> None:
    async with daemon(home), RawHost(home, "worker", manifest("act", NON_IDEMPOTENT)) as host:
        for outcome, expected in (
            ({"stopped": {}}, CancelOutcome.CANCEL_OUTCOME_STOPPED),
            ({"result_json": "1"}, CancelOutcome.CANCEL_OUTCOME_REFUSED),
            ({}, CancelOutcome.CANCEL_OUTCOME_STILL_RUNNING),
        ):
            run = await start(client)
            invocation = await host.invoked()
            async with asyncio.TaskGroup() as group:
                cancel = group.create_task(client.runs.cancel(run, timeout_s=2 if outcome else 0.1))
                told = await host.next()
                assert told.cancel.call == invocation.call
                if outcome:
                    assert await host.complete(invocation, **outcome) == OK
            report = cancel.result().report
            assert [entry.outcome for entry in report.entries] == [expected]
            assert report.complete is bool(outcome)
            assert report.entries[0].name == invocation.call
            assert (await client.runs.wait(run, timeout_s=10)).state == RunState.RUN_STATE_CANCELLED


async def test_leaving_a_watch_cancels_nothing(home: Home, client: Client) -> None:
    async with daemon(home):
        created = await client.runs.start("slow")
        async for item in client.watch(after_revision=created.revision):
            if isinstance(item, Event) and item.HasField("run_started"):
                break
        run = await client.runs.wait(created.run.name, timeout_s=0)
        assert run.state == RunState.RUN_STATE_RUNNING
        ended = await client.runs.wait(created.run.name, timeout_s=10)
        assert ended.state == SUCCEEDED
