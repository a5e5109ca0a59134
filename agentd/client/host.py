"""Offers functions of this process as tools, and executes the calls that the daemon hands out."""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self

import grpc.aio

from agentd.client.errors import from_rpc_error
from agentd.client.execution import EXECUTE, Execution, make_execution, unknown_outcome
from agentd.client.functions import hosted_tool
from agentd.client.reports import Reports
from agentd.client.transport import Transport
from agentd.errors import (
    AgentdError,
    Denied,
    InvalidRequest,
    Reason,
    Unavailable,
    Unsupported,
)
from agentd.v1.tool_host_service_pb2 import (
    HostInstruction,
    Invocation,
    WatchCallsRequest,
)
from agentd.v1.tool_pb2 import Tool

DEFAULT_CAPACITY = 16
REGISTER_S = 30.0
DRAIN_S = 10.0
THREAD_NAME = "agentd-tool"
STOP_S = 2.0

_LOG = logging.getLogger("agentd.client")


class ToolHost:
    """A host of tools: `async with ToolHost(...)` registers them, and executes calls inside.

    Coroutine functions run on the event loop, others in threads. Entering raises InvalidRequest for
    tools that the daemon refuses, and Unavailable when it cannot be reached for 30 s. Later, a cut
    stream is opened again for as long as it takes: leases outlive the stream and the daemon, so
    what runs goes on, and outcomes are reported until the daemon answers. The body is cancelled
    and Conflict (HOST_REPLACED) raised when another process takes over this host's id.

    Leaving takes no more calls, lets those in progress end for `drain_s`, then stops them.
    """

    def __init__(
        self,
        transport: Transport,
        toolset: str,
        functions: Sequence[Callable[..., Any]],
        *,
        host: str = "",
        capacity: int = DEFAULT_CAPACITY,
        drain_s: float = DRAIN_S,
    ) -> None:
        toolset = toolset.removeprefix("toolsets/")
        hosted = [hosted_tool(function, toolset) for function in functions]
        self.tools: tuple[Tool, ...] = tuple(tool.manifest for tool in hosted)
        self.toolset = toolset
        self.id = host or f"host-{uuid.uuid4().hex}"
        self._id_is_ours = not host
        self._capacity = capacity
        self._drain_s = drain_s
        self._transport = transport
        self._hosted = {tool.manifest.name: tool for tool in hosted}
        self._executing: set[asyncio.Task[None]] = set()
        self._cut: AgentdError | None = None

    async def __aenter__(self) -> Self:
        self._serving = self._serve()
        await self._serving.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._serving.__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        self._reports = Reports(self._transport)
        self._registered = asyncio.Event()
        self._threads = ThreadPoolExecutor(self._capacity, thread_name_prefix=THREAD_NAME)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                reports = self._reports
                follow = group.create_task(self._follow())
                loops = [group.create_task(reports.send_outcomes())]
                loops.append(group.create_task(reports.send_notes()))
                try:
                    await self._register()
                    loops.append(group.create_task(reports.extend_leases()))
                    yield
                    follow.cancel()
                    await _within(self._drain_s, reports.idle.wait())
                finally:
                    follow.cancel()
                    await self._stop()
                    for task in (*loops, *self._executing):
                        task.cancel()
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _register(self) -> None:
        if not await _within(REGISTER_S, self._registered.wait()):
            raise self._cut or Unavailable(Reason.UNREACHABLE, "the daemon does not register tools")

    async def _stop(self) -> None:
        """Stop what still runs, and give its outcomes a moment to be reported."""
        for execution in list(self._reports.active.values()):
            execution.stop("its host goes down")
        await _within(STOP_S, self._reports.idle.wait())

    async def _follow(self) -> None:
        """Do what the daemon says, over one stream after another."""
        pauses = self._transport.retry.pauses()
        while True:
            try:
                async with aclosing(self._instructions()) as instructions:
                    async for instruction in instructions:
                        pauses = self._transport.retry.pauses()
                        self._obey(instruction)
                cut: AgentdError = Unavailable(Reason.UNREACHABLE, "the daemon ended the stream")
            except AgentdError as error:
                replaced = error.reason is Reason.HOST_REPLACED
                if replaced or isinstance(error, InvalidRequest | Denied | Unsupported):
                    raise
                cut = error
            _LOG.info("connecting again as %s: %s", self.id, cut)
            self._cut = cut
            await asyncio.sleep(next(pauses) + (cut.retry_after_s or 0))

    async def _instructions(self) -> AsyncGenerator[HostInstruction]:
        request = WatchCallsRequest(
            host=self.id,
            toolset=f"toolsets/{self.toolset}",
            tools=self.tools,
            capacity=self._capacity,
        )
        call = self._transport.stream(request)
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                for instruction in message.instructions:
                    yield instruction
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._transport.address) from error
        finally:
            call.cancel()

    def _obey(self, instruction: HostInstruction) -> None:
        match instruction.WhichOneof("instruction"):
            case "welcome":
                welcome = instruction.welcome
                self._reports.lease_s = welcome.lease_duration.ToTimedelta().total_seconds()
                for lease in welcome.leases:
                    self._readopt(lease)
                self._registered.set()
            case "invoke":
                self._begin(instruction.invoke)
            case "cancel":
                cancel = instruction.cancel
                execution = self._reports.active.get((cancel.call, cancel.attempt))
                if execution is not None:
                    execution.stop(cancel.reason or "the call was cancelled")
            case "drain":
                _LOG.info("the daemon goes down; calls in progress go on")
            case _:  # A kind that a newer daemon knows is ignored, as the contract says.
                pass

    def _readopt(self, lease: Invocation) -> None:
        """Go on with a lease from before this stream.

        Under an id that this object made, an EXECUTE that never came here was never executed, so
        it begins now. Under an id given from outside, an earlier process may have begun it.
        """
        key = lease.call, lease.attempt
        known = key in self._reports.active or self._reports.has_ended(key)
        if self._id_is_ours or lease.kind != EXECUTE or known:
            self._begin(lease)
        else:
            execution = make_execution(lease)
            execution.completion = unknown_outcome(lease, f"the host {self.id} was restarted")
            self._reports.add(execution)
            self._reports.send(execution)

    def _begin(self, invocation: Invocation) -> None:
        key = invocation.call, invocation.attempt
        execution = self._reports.active.get(key)
        if execution is not None and execution.answers(invocation):
            execution.adopt(invocation)
            return
        late = self._reports.take_late(key)
        if late is not None and late.answers(invocation):
            late.adopt(invocation)
            self._reports.add(late)
            self._reports.send(late)
            return
        if invocation.kind == EXECUTE and self._reports.has_ended(key):
            return  # Its outcome was reported while this message was under way.
        execution = make_execution(invocation, partial(self._reports.note, key))
        self._reports.add(execution)
        task = self._group.create_task(self._execute(execution))
        self._executing.add(task)
        task.add_done_callback(self._executing.discard)

    async def _execute(self, execution: Execution) -> None:
        tool = self._hosted.get(execution.invocation.tool)
        await execution.run(tool, self._threads)
        self._reports.send(execution)


async def _within(timeout_s: float, wait: Coroutine[Any, Any, object]) -> bool:
    """Wait for something to happen; return whether it did in time."""
    try:
        async with asyncio.timeout(timeout_s):
            await wait
    except TimeoutError:
        return False
    return True


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return one failure of a task group: what the body raised, or the first loop."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
