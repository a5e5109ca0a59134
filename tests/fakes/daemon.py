"""A scripted daemon's side of ToolHostService: streams of instructions, and leases."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from agentd.v1.tool_host_service_pb2 import (
    CompleteCallsRequest,
    CompleteCallsResponse,
    Completion,
    ExtendLeasesRequest,
    ExtendLeasesResponse,
    HostInstruction,
    HostWelcome,
    Invocation,
    InvocationKind,
    LeaseResult,
    LeaseStatus,
    ReportProgressRequest,
    ReportProgressResponse,
    WatchCallsRequest,
    WatchCallsResponse,
)
from tests.fakes.server import Context, ScriptedServer

WAIT_S = 10.0
OK = LeaseResult.LEASE_RESULT_OK


class HostedCalls:
    """Hands out calls on one stream after another and collects what is reported."""

    def __init__(self, server: ScriptedServer) -> None:
        self.completions: list[Completion] = []
        self.verdict: Callable[[Completion], LeaseResult] = lambda _completion: OK
        self.lease_verdict: Callable[[Any], LeaseResult] = lambda _lease: OK
        self.lease_s = 30.0
        self.leases: tuple[Invocation, ...] = ()
        self.registrations: list[WatchCallsRequest] = []
        self.changed = asyncio.Condition()
        self._instructions: list[HostInstruction] = []
        self._cut: Callable[[Context], Any] | None = None
        self._streams_ended = 0
        self._server = server
        server.answers["WatchCalls"] = self._watch
        server.answers["CompleteCalls"] = self._complete
        server.answers["ExtendLeases"] = self._extend
        server.answers["ReportProgress"] = self._progress

    async def invoke(self, tool: str, arguments_json: str = "{}", **fields: Any) -> Invocation:
        """Hand out a call on the present stream."""
        invocation = make_invocation(tool, arguments_json, **fields)
        await self.instruct(HostInstruction(invoke=invocation))
        return invocation

    async def instruct(self, instruction: HostInstruction) -> None:
        async with self.changed:
            self._instructions.append(instruction)
            self.changed.notify_all()

    async def cut(self, end: Callable[[Context], Any] | None = None) -> None:
        """End the present stream, with an error if `end` makes one, and await the next one."""

        async def quietly(_context: Context) -> None:
            """End with OK."""

        before = len(self.registrations)
        async with self.changed:
            self._cut = end or quietly
            self.changed.notify_all()
        if end is None:
            await self.until(lambda: len(self.registrations) > before)

    async def outcomes(self, count: int) -> Sequence[Completion]:
        """Return the completions once there are as many."""
        await self.until(lambda: len(self.completions) >= count)
        return self.completions

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S), self.changed:
            await self.changed.wait_for(condition)

    async def _watch(
        self, request: WatchCallsRequest, context: Context
    ) -> AsyncIterator[WatchCallsResponse]:
        welcome = HostWelcome(leases=self.leases)
        welcome.lease_duration.FromNanoseconds(round(self.lease_s * 1e9))
        async with self.changed:
            self.registrations.append(request)
            self.changed.notify_all()
        yield WatchCallsResponse(instructions=[HostInstruction(welcome=welcome)])
        while True:
            async with self.changed:
                await self.changed.wait_for(lambda: self._instructions or self._cut)
                instructions, self._instructions = self._instructions, []
                end, self._cut = self._cut, None
            if instructions:
                yield WatchCallsResponse(instructions=instructions)
            if end is not None:
                await end(context)
                return

    async def _complete(
        self, request: CompleteCallsRequest, _context: Context
    ) -> CompleteCallsResponse:
        statuses = [
            LeaseStatus(call=completion.call, result=self.verdict(completion))
            for completion in request.completions
        ]
        async with self.changed:
            self.completions.extend(request.completions)
            self.changed.notify_all()
        return CompleteCallsResponse(statuses=statuses)

    async def _extend(
        self, request: ExtendLeasesRequest, _context: Context
    ) -> ExtendLeasesResponse:
        async with self.changed:
            self.changed.notify_all()
        return ExtendLeasesResponse(
            statuses=[
                LeaseStatus(call=lease.call, result=self.lease_verdict(lease))
                for lease in request.leases
            ]
        )

    async def _progress(
        self, request: ReportProgressRequest, _context: Context
    ) -> ReportProgressResponse:
        async with self.changed:
            self.changed.notify_all()
        return ReportProgressResponse(
            statuses=[LeaseStatus(call=report.call, result=OK) for report in request.reports]
        )


def make_invocation(
    tool: str, arguments_json: str = "{}", *, number: int = 1, attempt: int = 1, **fields: Any
) -> Invocation:
    """Return an invocation of `toolset/tool` for the call `c1-{number}`."""
    toolset, _, name = tool.partition("/")
    values: dict[str, Any] = {
        "call": f"runs/a/calls/c1-{number}",
        "kind": InvocationKind.INVOCATION_KIND_EXECUTE,
        "tool": f"toolsets/{toolset}/tools/{name}",
        "arguments_json": arguments_json,
        "attempt": attempt,
        "lease_token": f"token-{number}-{attempt}",
        "idempotency_key": f"key-{number}",
    }
    return Invocation(**{**values, **fields})
