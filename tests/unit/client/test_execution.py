"""An attempt is executed, and what became of it is said truthfully."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from agentd.client import (
    Client,
    NotExecuted,
    OutcomeUnknown,
    ToolContext,
    ToolFailed,
    ToolStopped,
    tool,
)
from agentd.v1.tool_host_service_pb2 import (
    Cancellation,
    Completion,
    HostInstruction,
    Invocation,
    InvocationKind,
    LeaseResult,
    ReportProgressRequest,
)
from tests.fakes.daemon import HostedCalls
from tests.fakes.server import ScriptedServer
from tests.unit.client.offered import Gate, add, named

RECONCILE = InvocationKind.INVOCATION_KIND_RECONCILE
SIMULATE = InvocationKind.INVOCATION_KIND_SIMULATE
STALE = LeaseResult.LEASE_RESULT_STALE_LEASE
INVALID = LeaseResult.LEASE_RESULT_INVALID
OK = LeaseResult.LEASE_RESULT_OK


async def double(text: str) -> str:
    await asyncio.sleep(0)
    return text * 2


def cancellation(invocation: Invocation) -> HostInstruction:
    return HostInstruction(
        cancel=Cancellation(
            call=invocation.call,
            attempt=invocation.attempt,
            lease_token=invocation.lease_token,
            reason="changed my mind",
        )
    )


async def outcome(calls: HostedCalls) -> Completion:
    return (await calls.outcomes(1))[0]


async def test_functions_and_coroutines_are_executed(client: Client, calls: HostedCalls) -> None:
    async with client.host("math", [add, double]):
        await calls.invoke("math/add", '{"a": 2}', number=1)
        await calls.invoke("math/double", '{"text": "ha"}', number=2)
        results = {c.call[-1]: c.result_json for c in await calls.outcomes(2)}
    assert results == {"1": "3", "2": '"haha"'}
    assert {c.lease_token for c in calls.completions} == {"token-1-1", "token-2-1"}
    registration = calls.registrations[0]
    assert registration.toolset == "toolsets/math"
    assert [t.name for t in registration.tools] == [
        "toolsets/math/tools/add",
        "toolsets/math/tools/double",
    ]
    assert registration.capacity == 16


@pytest.mark.parametrize(
    ("raised", "kind", "text"),
    [
        (ToolFailed("no such file"), "error_message", "no such file"),
        (ValueError("odd"), "error_message", "ValueError: odd"),
        (SystemExit(3), "error_message", "SystemExit: 3"),
        (StopIteration(), "error_message", "RuntimeError: the tool raised StopIteration"),
        (ToolStopped(), "stopped", ""),
        (OutcomeUnknown("lost sight"), "unknown", "lost sight"),
    ],
)
async def test_what_a_tool_raises_is_its_outcome(
    client: Client, calls: HostedCalls, raised: BaseException, kind: str, text: str
) -> None:
    def work() -> None:
        raise raised

    async with client.host("x", [work]):
        await calls.invoke("x/work")
        completion = await outcome(calls)
    assert completion.WhichOneof("outcome") == kind
    assert text in (completion.error_message, completion.unknown.message, "")


async def test_what_cannot_be_executed_is_said(client: Client, calls: HostedCalls) -> None:
    def data() -> bytes:
        return b"x"

    async with client.host("x", [add, data]):
        await calls.invoke("x/other", number=1)
        await calls.invoke("x/add", '{"a": "two"}', number=2)
        await calls.invoke("x/data", number=3)
        errors = {c.call[-1]: c.error_message for c in await calls.outcomes(3)}
    assert "does not offer" in errors["1"]
    assert "do not fit" in errors["2"]
    assert "JSON has no bytes" in errors["3"]


async def test_the_context_tells_and_reports(
    server: ScriptedServer, client: Client, calls: HostedCalls
) -> None:
    seen: list[ToolContext] = []
    noted = threading.Event()

    def work(context: ToolContext, path: str) -> str:
        seen.append(context)
        context.progress("reading", 0.5)
        noted.wait(10)
        return path

    deadline = Timestamp()
    deadline.FromDatetime(datetime(2100, 1, 1, tzinfo=UTC))
    async with client.host("x", [work]):
        await calls.invoke("x/work", '{"path": "a"}', deadline=deadline, permissions=["fs.read:*"])
        await calls.until(lambda: bool(server.named(ReportProgressRequest)))
        noted.set()
        await outcome(calls)
    context = seen[0]
    assert (context.run, context.call) == ("runs/a", "runs/a/calls/c1-1")
    assert (context.attempt, context.idempotency_key) == (1, "key-1")
    assert context.deadline == datetime(2100, 1, 1, tzinfo=UTC)
    assert context.permissions == ("fs.read:*",)
    report = server.named(ReportProgressRequest)[0].reports[0]
    assert (report.message, report.fraction, report.lease_token) == ("reading", 0.5, "token-1-1")


async def test_probes_and_predictions(client: Client, calls: HostedCalls) -> None:
    def found(order: int) -> str:
        if order == 2:
            raise NotExecuted
        return f"order {order} was placed"

    @tool(reconcile=found, simulate=lambda order: f"would place {order}")
    def place(order: int) -> str:
        raise AssertionError(order)

    async with client.host("shop", [place, add]):
        await calls.invoke("shop/place", '{"order": 1}', number=1, kind=RECONCILE)
        await calls.invoke("shop/place", '{"order": 2}', number=2, kind=RECONCILE)
        await calls.invoke("shop/place", '{"order": 3}', number=3, kind=SIMULATE)
        await calls.invoke("shop/add", '{"a": 3}', number=4, kind=RECONCILE)
        done = {c.call[-1]: c for c in await calls.outcomes(4)}
    assert done["1"].result_json == '"order 1 was placed"'
    assert done["2"].HasField("not_executed")
    assert done["3"].result_json == '"would place 3"'
    assert done["4"].HasField("unknown")


@pytest.mark.parametrize(
    ("effect", "expected"),
    [("read_only", "stopped"), ("idempotent", "stopped"), ("irreversible", "unknown")],
)
async def test_a_cancelled_coroutine_tells_the_truth(
    client: Client, calls: HostedCalls, effect: Any, expected: str
) -> None:
    gate = Gate()
    async with client.host("x", [tool(effect=effect)(named(gate))]):
        invocation = await calls.invoke("x/wait")
        await gate.entered.wait()
        await calls.instruct(cancellation(invocation))
        completion = await outcome(calls)
    assert completion.WhichOneof("outcome") == expected


async def test_a_coroutine_may_refuse_to_stop(client: Client, calls: HostedCalls) -> None:
    entered = asyncio.Event()

    async def stubborn() -> str:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "too late"
        raise AssertionError

    async with client.host("x", [stubborn]):
        invocation = await calls.invoke("x/stubborn")
        await entered.wait()
        await calls.instruct(cancellation(invocation))
        assert (await outcome(calls)).result_json == '"too late"'


async def test_a_thread_is_asked_to_stop(client: Client, calls: HostedCalls) -> None:
    entered = asyncio.Event()
    loop = asyncio.get_running_loop()

    def patient(context: ToolContext) -> None:
        loop.call_soon_threadsafe(entered.set)
        assert context.wait_stopping(10)
        assert context.stop_reason == "changed my mind"
        context.raise_if_stopping()

    async with client.host("x", [patient]):
        invocation = await calls.invoke("x/patient")
        await entered.wait()
        await calls.instruct(cancellation(invocation))
        assert (await outcome(calls)).HasField("stopped")


async def test_a_thread_that_has_not_begun_does_not_begin(
    client: Client, calls: HostedCalls
) -> None:
    entered = asyncio.Event()
    release = threading.Event()
    loop = asyncio.get_running_loop()
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        loop.call_soon_threadsafe(entered.set)
        release.wait(10)

    async with client.host("x", [work, double], capacity=1):
        await calls.invoke("x/work", '{"number": 1}', number=1)
        await entered.wait()
        waiting = await calls.invoke("x/work", '{"number": 2}', number=2)
        await calls.invoke("x/double", '{"text": ""}', number=3)
        await calls.outcomes(1)  # By now the second call waits for the thread.
        await calls.instruct(cancellation(waiting))
        completion = (await calls.outcomes(2))[1]
        assert completion.call == waiting.call
        assert completion.HasField("stopped")
        release.set()
        await calls.outcomes(3)
    assert begun == [1]


async def test_a_deadline_stops_the_tool(client: Client, calls: HostedCalls) -> None:
    deadline = Timestamp()
    deadline.FromDatetime(datetime.now(UTC) + timedelta(seconds=0.05))
    gate = Gate()
    async with client.host("x", [named(gate)]):
        await calls.invoke("x/wait", deadline=deadline)
        completion = await outcome(calls)
    assert "its deadline passed" in completion.unknown.message
