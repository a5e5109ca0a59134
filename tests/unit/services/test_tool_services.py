"""A host offers a tool, executes a call and reports it; what the contract forbids is refused."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from agentd.errors import Conflict, NotFound, Reason
from agentd.services.checks import KIB
from agentd.v1 import call_pb2, run_pb2, run_service_pb2, tool_pb2, tool_service_pb2
from agentd.v1 import tool_host_service_pb2 as pb
from tests.unit.services.house import CALLER, STRANGER, House, failing, house, refused

FORECAST = tool_pb2.Tool(
    name="toolsets/weather/tools/forecast",
    description="Foretells.",
    input_schema_json='{"type":"object","properties":{"city":{"type":"string"}}}',
    effect=tool_pb2.EFFECT_CLASS_READ_ONLY,
    timeout=Duration(seconds=30),
    reconcile=True,
    simulate=True,
    permissions=["process.exec:weather"],
)


def offer(**fields: Any) -> pb.WatchCallsRequest:
    return pb.WatchCallsRequest(
        **{"host": "h-1", "toolset": "toolsets/weather", "tools": [FORECAST], **fields}
    )


async def start(home: House) -> None:
    run = run_pb2.Run(name="runs/r-1", goal="weather in Paris", tools=["weather/*"])
    await home.runs.CreateRun(run_service_pb2.CreateRunRequest(run=run), CALLER)


async def ask(home: House, *reports: pb.Completion) -> list[int]:
    request = pb.CompleteCallsRequest(completions=reports)
    answer = await home.hosts.CompleteCalls(request, CALLER)
    assert [status.call for status in answer.statuses] == [report.call for report in reports]
    return [status.result for status in answer.statuses]


def report(invocation: pb.Invocation, **fields: Any) -> pb.Completion:
    names = {
        "call": invocation.call,
        "attempt": invocation.attempt,
        "lease_token": invocation.lease_token,
    }
    return pb.Completion(**{**names, **fields})


async def test_a_call_from_invocation_to_result(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.host(offer()) as stream:
        welcome = (await anext(stream)).instructions[0].welcome
        assert welcome.lease_duration.seconds > 0
        await start(home)
        invocation = (await anext(stream)).instructions[0].invoke
        assert invocation.call == "runs/r-1/calls/c1-1"
        assert invocation.kind == pb.INVOCATION_KIND_EXECUTE
        assert invocation.tool == FORECAST.name
        assert invocation.arguments_json == '{"city":"Paris"}'
        assert invocation.attempt == 1
        assert invocation.idempotency_key
        assert invocation.deadline.seconds > 1_700_000_000
        assert invocation.lease_expire_time.seconds > 1_700_000_000
        leased = await home.runs.GetCall(
            run_service_pb2.GetCallRequest(name=invocation.call), CALLER
        )
        assert leased.call.state == call_pb2.CALL_STATE_LEASED
        assert leased.call.HasField("lease_expire_time")
        assert (leased.call.host, leased.call.tool) == ("h-1", FORECAST.name)
        outcomes = await ask(
            home,
            report(invocation, result_json='{"sun":true}', lease_token="other"),
            report(invocation),  # no outcome
            report(invocation, result_json="{"),
            report(invocation, call="runs/r-1"),
            report(invocation, call="runs/r-9/calls/c1-1", stopped=pb.CallStopped()),
            report(invocation, result_json='{"sun":true}'),
        )
        assert outcomes == [
            pb.LEASE_RESULT_STALE_LEASE,
            pb.LEASE_RESULT_INVALID,
            pb.LEASE_RESULT_INVALID,
            pb.LEASE_RESULT_INVALID,
            pb.LEASE_RESULT_NOT_FOUND,
            pb.LEASE_RESULT_OK,
        ]
        waited = await home.runs.WaitRun(run_service_pb2.WaitRunRequest(name="runs/r-1"), CALLER)
        assert waited.run.output == 'The service says: {"sun":true}'
        calls = await home.runs.ListCalls(
            run_service_pb2.ListCallsRequest(parent="runs/r-1"), CALLER
        )
        (call,) = calls.calls
        assert call.state == call_pb2.CALL_STATE_SUCCEEDED
        assert call.result_json == '{"sun":true}'
        assert call.effect == tool_pb2.EFFECT_CLASS_READ_ONLY
        assert [each.result_json for each in call.evidence] == ['{"sun":true}']


async def test_calls_are_listed_by_state_and_of_every_unfinished_run(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.host(offer()) as stream:
        await anext(stream)
        await start(home)
        await anext(stream)
        for parent in ("runs/-", "runs/r-1"):
            for state, count in ((call_pb2.CALL_STATE_LEASED, 1), (call_pb2.CALL_STATE_UNKNOWN, 0)):
                request = run_service_pb2.ListCallsRequest(parent=parent, states=[state])
                answer = await home.runs.ListCalls(request, CALLER)
                assert len(answer.calls) == count
        strange = run_service_pb2.ListCallsRequest(parent="runs/-")
        assert not (await home.runs.ListCalls(strange, STRANGER)).calls


async def test_leases_are_extended_and_progress_is_noted(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.host(offer()) as stream:
        await anext(stream)
        await start(home)
        invocation = (await anext(stream)).instructions[0].invoke
        lease = pb.LeaseExtension(
            call=invocation.call, attempt=1, lease_token=invocation.lease_token
        )
        stale = pb.LeaseExtension(call=invocation.call, attempt=1, lease_token="other")
        extended = await home.hosts.ExtendLeases(
            pb.ExtendLeasesRequest(leases=[lease, stale]), CALLER
        )
        results = [status.result for status in extended.statuses]
        assert results == [pb.LEASE_RESULT_OK, pb.LEASE_RESULT_STALE_LEASE]
        assert extended.statuses[0].HasField("lease_expire_time")
        note = pb.ProgressReport(
            call=invocation.call,
            attempt=1,
            lease_token=invocation.lease_token,
            message="half",
            fraction=0.5,
        )
        progress = await home.hosts.ReportProgress(pb.ReportProgressRequest(reports=[note]), CALLER)
        assert [status.result for status in progress.statuses] == [pb.LEASE_RESULT_OK]


async def all_calls(home: House, parent: str, size: int) -> list[str]:
    names, token = [], ""
    while True:
        request = run_service_pb2.ListCallsRequest(parent=parent, page_size=size, page_token=token)
        page = await home.runs.ListCalls(request, CALLER)
        assert len(page.calls) <= size
        names += [call.name for call in page.calls]
        token = page.next_page_token
        if not token:
            return names


async def test_calls_are_listed_in_pages_and_in_the_models_order(tmp_path: Path) -> None:
    calls = [{"tool": "forecast", "arguments": {"city": str(index)}} for index in range(12)]
    script = {"conversations": [{"turns": [{"calls": calls}, {"text": "Done."}]}]}
    async with house(tmp_path, script) as home, home.host(offer()) as stream:
        await anext(stream)
        names: list[str] = []
        for run in ("runs/r-b", "runs/r-a"):
            message = run_pb2.Run(name=run, goal="g", tools=["weather/*"])
            await home.runs.CreateRun(run_service_pb2.CreateRunRequest(run=message), CALLER)
            while not any(each.HasField("invoke") for each in (await anext(stream)).instructions):
                pass
            names[:0] = [f"{run}/calls/c1-{index}" for index in range(1, 13)]
        for size in (1, 5, 12, 100):
            assert await all_calls(home, "runs/r-a", size) == names[:12]
            assert await all_calls(home, "runs/-", size) == names


async def test_a_long_error_is_cut_and_not_lost(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.host(offer()) as stream:
        await anext(stream)
        await start(home)
        invocation = (await anext(stream)).instructions[0].invoke
        message = "é" * (20 * KIB)
        assert await ask(home, report(invocation, error_message=message)) == [pb.LEASE_RESULT_OK]
        request = run_service_pb2.GetCallRequest(name=invocation.call)
        call = (await home.runs.GetCall(request, CALLER)).call
        assert call.error.reason == call_pb2.CALL_ERROR_REASON_TOOL_FAILED
        assert 16 * KIB - 4 <= len(call.error.message.encode()) <= 16 * KIB


async def test_a_host_that_connects_again_replaces_itself(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.host(offer()) as stream:
        await anext(stream)
        await start(home)
        invocation = (await anext(stream)).instructions[0].invoke
        async with home.host(offer()) as again:
            welcome = (await anext(again)).instructions[0].welcome
            assert [lease.lease_token for lease in welcome.leases] == [invocation.lease_token]
            async with failing(Conflict, Reason.HOST_REPLACED):
                await anext(stream)


async def test_shows_tools(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        other = tool_pb2.Tool(name="toolsets/papers/tools/Read_me")
        async with (
            home.host(offer()) as stream,
            home.host(offer(host="h-2", toolset="toolsets/papers", tools=[other])) as second,
        ):
            await anext(stream)
            await anext(second)
            request = tool_service_pb2.GetToolRequest(name=FORECAST.name)
            tool = (await home.tools.GetTool(request, CALLER)).tool
            expected = tool_pb2.Tool()
            expected.CopyFrom(FORECAST)
            expected.available = True
            expected.update_time.CopyFrom(tool.update_time)
            assert tool == expected
            assert tool.update_time.seconds > 1_700_000_000
            names, token = [], ""
            while True:
                page = await home.tools.ListTools(
                    tool_service_pb2.ListToolsRequest(page_size=1, page_token=token), CALLER
                )
                names += [each.name for each in page.tools]
                token = page.next_page_token
                if not token:
                    break
            assert names == [other.name, FORECAST.name]
            filtered = tool_service_pb2.ListToolsRequest(toolset="toolsets/papers")
            (read,) = (await home.tools.ListTools(filtered, CALLER)).tools
            assert read.effect == tool_pb2.EFFECT_CLASS_IRREVERSIBLE
            assert read.timeout.seconds == 600
        async with failing(NotFound, Reason.TOOL_NOT_FOUND):
            await home.tools.GetTool(request, STRANGER)
        gone = (await home.tools.GetTool(request, CALLER)).tool
        assert not gone.available


async def test_bad_tool_requests(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        async with refused("name"):
            await home.tools.GetTool(tool_service_pb2.GetToolRequest(name="weather/x"), CALLER)
        async with refused("digest"):
            await home.tools.AcceptTools(
                tool_service_pb2.AcceptToolsRequest(name="toolsets/mcp-git"), CALLER
            )
        async with failing(NotFound, Reason.TOOL_NOT_FOUND):
            await home.tools.AcceptTools(
                tool_service_pb2.AcceptToolsRequest(name="toolsets/mcp-git", digest="d"), CALLER
            )
        async with refused("toolset"):
            request = tool_service_pb2.ListToolsRequest(toolset="weather")
            await home.tools.ListTools(request, CALLER)
        async with refused("page_size"):
            await home.tools.ListTools(tool_service_pb2.ListToolsRequest(page_size=-1), CALLER)
        async with refused("page_token"):
            await home.tools.ListTools(tool_service_pb2.ListToolsRequest(page_token="x"), CALLER)


def named(name: str = "forecast", **fields: Any) -> tool_pb2.Tool:
    return tool_pb2.Tool(name=f"toolsets/weather/tools/{name}", **fields)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"host": ""}, "host"),
        ({"host": "Host"}, "host"),
        ({"host": "agentd"}, "host"),
        ({"toolset": "weather"}, "toolset"),
        ({"capacity": -1}, "capacity"),
        ({"capacity": 10_001}, "capacity"),
        ({"tools": [named(f"t{n}") for n in range(257)]}, "tools"),
        ({"tools": [named(), named()]}, "tools[1].name"),
        ({"tools": [tool_pb2.Tool(name="toolsets/other/tools/a")]}, "tools[0].name"),
        ({"tools": [tool_pb2.Tool(name="forecast")]}, "tools[0].name"),
        ({"tools": [named("1st")]}, "tools[0].name"),
        ({"tools": [named("a" * 65)]}, "tools[0].name"),
        ({"tools": [named(description="x" * (16 * KIB + 1))]}, "tools[0].description"),
        ({"tools": [named(), named("b", effect=99)]}, "tools[1].effect"),
        ({"tools": [named(timeout=Duration())]}, "tools[0].timeout"),
        ({"tools": [named(timeout=Duration(seconds=-1))]}, "tools[0].timeout"),
        ({"tools": [named(permissions=["fs.read:/a", ""])]}, "tools[0].permissions[1]"),
        ({"tools": [named(permissions=["fs.fly:/a"])]}, "tools[0].permissions[0]"),
        ({"tools": [named(permissions=["fs.read:/a"] * 257)]}, "tools[0].permissions"),
        ({"tools": [named(input_schema_json="{")]}, "tools[0].input_schema_json"),
        ({"tools": [named(input_schema_json="[]")]}, "tools[0].input_schema_json"),
        (
            {"tools": [named(), named("b", output_schema_json='{"type":1}')]},
            "tools[1].output_schema_json",
        ),
    ],
)
async def test_bad_offers(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    async with house(tmp_path) as home, home.host(offer(**fields)) as stream, refused(field):
        await anext(stream)


async def test_batches_are_bounded(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        async with refused("completions"):
            await ask(home, *[pb.Completion()] * 1001)
        async with refused("reports"):
            request = pb.ReportProgressRequest(reports=[pb.ProgressReport()] * 1001)
            await home.hosts.ReportProgress(request, CALLER)
        async with refused("leases"):
            leases = pb.ExtendLeasesRequest(leases=[pb.LeaseExtension()] * 1001)
            await home.hosts.ExtendLeases(leases, CALLER)


@pytest.mark.parametrize(
    "fields",
    [
        {"call": "c1"},
        {"attempt": 0},
        {"lease_token": ""},
        {"lease_token": "t" * 257},
        {"message": "x" * (4 * KIB + 1)},
        {"fraction": 1.5},
        {"fraction": float("nan")},
    ],
)
async def test_bad_notes_are_answered_one_by_one(tmp_path: Path, fields: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "call": "runs/r-1/calls/c1-1",
        "attempt": 1,
        "lease_token": "t",
        "fraction": -1.0,
    }
    async with house(tmp_path) as home:
        notes = [pb.ProgressReport(**{**good, **fields}), pb.ProgressReport(**good)]
        request = pb.ReportProgressRequest(reports=notes)
        answer = await home.hosts.ReportProgress(request, CALLER)
        assert [status.result for status in answer.statuses] == [
            pb.LEASE_RESULT_INVALID,
            pb.LEASE_RESULT_NOT_FOUND,
        ]
