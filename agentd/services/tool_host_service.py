"""Serve ToolHostService: let client processes host tools."""
# ruff: noqa: N802  (methods bear the contract's names)

import math
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TypeVar, assert_never

from agentd.agent.hosting import (
    Completion,
    Failed,
    LeaseRef,
    LeaseStatus,
    NotExecuted,
    Outcome,
    OutcomeUnknown,
    Progress,
    Registration,
    Stopped,
    Succeeded,
)
from agentd.agent.ids import LOCAL_HOST, HostId, check_id, parse_name
from agentd.errors import InvalidRequest, invalid_field
from agentd.runtime.hosting import Hosting
from agentd.services import checks, convert_host, parse
from agentd.services.caller import Caller
from agentd.tools.names import is_reserved
from agentd.v1 import tool_host_service_pb2 as pb

MAX_TOOLS = 256
MAX_BATCH = 1000
MAX_CAPACITY = 10_000
DEFAULT_CAPACITY = 16
MAX_NOTE_BYTES = 4 * checks.KIB
MAX_ERROR_BYTES = 16 * checks.KIB
"""Longer messages of a failed call are cut: refusing them would lose the outcome."""
MAX_TOKEN = 256

R = TypeVar("R", pb.Completion, pb.ProgressReport, pb.LeaseExtension)
T = TypeVar("T")


class ToolHostService:
    """The methods of `agentd.v1.ToolHostService`."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting

    async def WatchCalls(
        self, request: pb.WatchCallsRequest, caller: Caller
    ) -> AsyncGenerator[pb.WatchCallsResponse, None]:
        """Register a host and its tools, then stream what the host is to do."""
        watch = self._hosting.watch_calls(_registration(request, caller))
        async with aclosing(watch):  # At once: a host that is gone must not be given calls.
            async for instructions in watch:
                yield pb.WatchCallsResponse(
                    instructions=[convert_host.instruction(each) for each in instructions]
                )

    async def CompleteCalls(
        self, request: pb.CompleteCallsRequest, caller: Caller
    ) -> pb.CompleteCallsResponse:
        """Record the outcomes of calls. One that is not valid does not touch the others."""
        checks.count(request.completions, "completions", at_most=MAX_BATCH)
        reports, faulty = _read(request.completions, _completion)
        statuses = await self._hosting.complete(caller.namespace, reports)
        return pb.CompleteCallsResponse(statuses=_answers(faulty, statuses))

    async def ReportProgress(
        self, request: pb.ReportProgressRequest, caller: Caller
    ) -> pb.ReportProgressResponse:
        """Pass the progress of calls on, and extend their leases."""
        checks.count(request.reports, "reports", at_most=MAX_BATCH)
        reports, faulty = _read(request.reports, _progress)
        statuses = await self._hosting.report_progress(caller.namespace, reports)
        return pb.ReportProgressResponse(statuses=_answers(faulty, statuses))

    async def ExtendLeases(
        self, request: pb.ExtendLeasesRequest, caller: Caller
    ) -> pb.ExtendLeasesResponse:
        """Extend leases."""
        checks.count(request.leases, "leases", at_most=MAX_BATCH)
        leases, faulty = _read(request.leases, _lease)
        statuses = await self._hosting.extend(caller.namespace, leases)
        return pb.ExtendLeasesResponse(statuses=_answers(faulty, statuses))


def _registration(request: pb.WatchCallsRequest, caller: Caller) -> Registration:
    host = check_id(request.host, "host")
    if host == LOCAL_HOST:
        raise invalid_field("host", f"{host!r} is the daemon itself")
    toolset = parse_name(request.toolset, "toolsets", "toolset")
    if is_reserved(toolset):
        raise invalid_field("toolset", f"{toolset!r} is a name of the daemon's own tools")
    checks.count(request.tools, "tools", at_most=MAX_TOOLS)
    tools = tuple(
        parse.tool(tool, toolset, f"tools[{index}]") for index, tool in enumerate(request.tools)
    )
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        if tool.id in seen:
            raise invalid_field(f"tools[{index}].name", f"{tool.id!r} is declared twice")
        seen.add(tool.id)
    return Registration(
        namespace=caller.namespace,
        host=HostId(host),
        toolset=toolset,
        tools=tools,
        capacity=checks.number(request.capacity, "capacity", most=MAX_CAPACITY) or DEFAULT_CAPACITY,
    )


def _read(reports: Iterable[R], parse_one: Callable[[R], T]) -> tuple[list[T], list[str | None]]:
    """Return the reports that are valid; and for each report None, or the call that an invalid one
    names. A host's other outcomes must not be lost because one cannot be read."""
    valid: list[T] = []
    faulty: list[str | None] = []
    for report in reports:
        try:
            valid.append(parse_one(report))
            faulty.append(None)
        except InvalidRequest:
            faulty.append(report.call)
    return valid, faulty


def _answers(faulty: Sequence[str | None], statuses: Sequence[LeaseStatus]) -> list[pb.LeaseStatus]:
    """Return one answer for each report, in order."""
    counted = iter(statuses)
    return [
        convert_host.lease_status(next(counted))
        if call is None
        else pb.LeaseStatus(call=call, result=pb.LEASE_RESULT_INVALID)
        for call in faulty
    ]


def _lease(report: pb.Completion | pb.ProgressReport | pb.LeaseExtension) -> LeaseRef:
    run, call = parse.call_name(report.call, "call")
    attempt = checks.number(report.attempt, "attempt", least=1)
    token = checks.text(report.lease_token, "lease_token", at_most=MAX_TOKEN, needed=True)
    return LeaseRef(run, call, attempt, token)


def _completion(report: pb.Completion) -> Completion:
    return Completion(_lease(report), _outcome(report))


def _outcome(report: pb.Completion) -> Outcome:
    match report.WhichOneof("outcome"):
        case "result_json":
            return Succeeded(report.result_json)
        case "error_message":
            return Failed(_shortened(report.error_message))
        case "stopped":
            return Stopped()
        case "unknown":
            return OutcomeUnknown(_shortened(report.unknown.message))
        case "not_executed":
            return NotExecuted()
        case None:
            raise invalid_field("outcome", "is required")
        case other:
            assert_never(other)


def _progress(report: pb.ProgressReport) -> Progress:
    note = checks.long_text(report.message, "message", at_most_bytes=MAX_NOTE_BYTES)
    if math.isnan(report.fraction) or report.fraction > 1:
        raise invalid_field("fraction", "must be 0 to 1, or negative")
    return Progress(_lease(report), note, report.fraction)


def _shortened(message: str) -> str:
    encoded = message.encode()
    if len(encoded) <= MAX_ERROR_BYTES:
        return message
    return encoded[: MAX_ERROR_BYTES - 3].decode(errors="ignore") + "\N{HORIZONTAL ELLIPSIS}"
