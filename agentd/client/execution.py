"""Executes one invocation of a tool and says truthfully what became of it."""

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agentd.client.context import (
    NotExecuted,
    OutcomeUnknown,
    ToolContext,
    ToolFailed,
    ToolStopped,
)
from agentd.client.functions import HostedTool, Signature, encode_result
from agentd.v1.tool_host_service_pb2 import (
    CallNotExecuted,
    CallOutcomeUnknown,
    CallStopped,
    Completion,
    Invocation,
    InvocationKind,
)
from agentd.v1.tool_pb2 import EffectClass

EXECUTE = InvocationKind.INVOCATION_KIND_EXECUTE
RECONCILE = InvocationKind.INVOCATION_KIND_RECONCILE
SIMULATE = InvocationKind.INVOCATION_KIND_SIMULATE

_REPEATABLE = (EffectClass.EFFECT_CLASS_READ_ONLY, EffectClass.EFFECT_CLASS_IDEMPOTENT)


@dataclass(slots=True, eq=False)
class Execution:
    """One attempt of a call in this process, from its invocation until its outcome counts."""

    invocation: Invocation
    context: ToolContext
    completion: Completion | None = None
    """The outcome, once there is one."""
    _interrupt: Callable[[], object] | None = None
    """Stops the tool's own code; set only while that code may be entered or runs."""

    @property
    def key(self) -> tuple[str, int]:
        """The call and its attempt."""
        return self.invocation.call, self.invocation.attempt

    def answers(self, invocation: Invocation) -> bool:
        """Whether this attempt's outcome is what an invocation asks for. A probe asks what became
        of it, and is not answered by an outcome that says that nobody knows."""
        unknown = self.completion is not None and self.completion.HasField("unknown")
        return not (unknown and invocation.kind == RECONCILE)

    def adopt(self, invocation: Invocation) -> None:
        """Take over a lease that was given anew for the same attempt.

        A probe (RECONCILE) for an attempt that still runs here is answered with its real outcome.
        """
        self.invocation = invocation
        if self.completion is not None:
            self.completion = _addressed(self.completion, invocation)

    def stop(self, reason: str) -> None:
        """Ask the tool to stop: its context says so, a coroutine is cancelled, and a thread that
        has not begun does not begin."""
        if self.context.stopping or self.completion is not None:
            return
        self.context.ask_to_stop(reason)
        if self._interrupt is not None:
            self._interrupt()

    async def run(self, tool: HostedTool | None, threads: Executor) -> None:
        """Run the tool's function and set the completion. Ends without one only when this task is
        cancelled, which means that the host goes down: the lease outlives it."""
        outcome = await self._outcome(tool, threads)
        self.completion = _addressed(outcome, self.invocation)

    async def _outcome(self, tool: HostedTool | None, threads: Executor) -> Completion:
        kind = self.invocation.kind
        signature = _signature(tool, kind)
        if tool is None or signature is None:
            if kind == RECONCILE:
                return _unknown("this host cannot find out what became of the call")
            return Completion(error_message=f"this host does not offer {self.invocation.tool}")
        try:
            arguments = signature.bind(self.invocation.arguments_json, self.context)
        except ValueError as error:
            return Completion(error_message=f"the arguments do not fit the function: {error}")
        try:
            value = await self._value(signature.function, arguments, threads)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self.context.stopping or (task and task.cancelling() and task.uncancel()):
                raise
            return _interrupted(tool.manifest.effect, kind, self.context.stop_reason)
        except ToolStopped:
            return _before_effect(kind)
        except NotExecuted:
            return Completion(not_executed=CallNotExecuted())
        except OutcomeUnknown as error:
            return _unknown(str(error))
        except ToolFailed as error:
            return Completion(error_message=str(error) or "the tool failed")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a tool may raise anything at all
            return Completion(error_message=f"{type(error).__name__}: {error}")
        return _result(value)

    async def _value(
        self, function: Callable[..., Any], arguments: dict[str, Any], threads: Executor
    ) -> Any:
        """Enter the tool's own code, unless the call was stopped before."""
        self.context.raise_if_stopping()
        timer = self._deadline_timer()
        try:
            if inspect.iscoroutinefunction(function):
                task = asyncio.current_task()
                assert task is not None
                self._interrupt = task.cancel
                return await function(**arguments)
            future = threads.submit(contextvars.copy_context().run, _call, function, arguments)
            self._interrupt = future.cancel
            try:
                return await asyncio.wrap_future(future)
            except asyncio.CancelledError:
                if future.cancelled() and self.context.stopping:
                    raise ToolStopped(self.context.stop_reason) from None
                raise
        finally:
            self._interrupt = None
            if timer is not None:
                timer.cancel()

    def _deadline_timer(self) -> asyncio.TimerHandle | None:
        if self.context.deadline is None:
            return None
        remaining = (self.context.deadline - datetime.now(UTC)).total_seconds()
        loop = asyncio.get_running_loop()
        return loop.call_later(max(0.0, remaining), self.stop, "its deadline passed")


def make_execution(
    invocation: Invocation, report: Callable[[str, float], None] | None = None
) -> Execution:
    """Return the execution of an invocation, not started."""
    return Execution(invocation, ToolContext(invocation, report))


def unknown_outcome(invocation: Invocation, message: str) -> Completion:
    """Return the report for a lease of which this host knows nothing."""
    return _addressed(_unknown(message), invocation)


def failed_outcome(completion: Completion, message: str) -> Completion:
    """Return the report that replaces one that the daemon cannot take."""
    return Completion(
        call=completion.call,
        attempt=completion.attempt,
        lease_token=completion.lease_token,
        error_message=message,
    )


def _addressed(completion: Completion, invocation: Invocation) -> Completion:
    """Return an outcome as the report for a lease."""
    copy = Completion()
    copy.CopyFrom(completion)
    copy.call, copy.attempt = invocation.call, invocation.attempt
    copy.lease_token = invocation.lease_token
    if invocation.kind == RECONCILE and copy.HasField("stopped"):
        copy.not_executed.CopyFrom(CallNotExecuted())
    return copy


def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    try:
        return function(**arguments)
    except StopIteration as error:  # A future cannot hold it: the call would never end.
        raise RuntimeError("the tool raised StopIteration") from error


def _signature(tool: HostedTool | None, kind: InvocationKind) -> Signature | None:
    if tool is None:
        return None
    return {EXECUTE: tool.execute, RECONCILE: tool.reconcile, SIMULATE: tool.simulate}.get(kind)


def _result(value: Any) -> Completion:
    try:
        return Completion(result_json=encode_result(value))
    except (TypeError, ValueError, RecursionError) as error:
        return Completion(error_message=f"the tool ran, but its result is not JSON: {error}")


def _unknown(message: str) -> Completion:
    return Completion(unknown=CallOutcomeUnknown(message=message))


def _before_effect(kind: InvocationKind) -> Completion:
    if kind == RECONCILE:  # It is the probe that was stopped: of the call, nothing was found out.
        return _unknown("the probe was stopped")
    return Completion(stopped=CallStopped())


def _interrupted(effect: EffectClass, kind: InvocationKind, reason: str) -> Completion:
    """Return the outcome of a coroutine that was cancelled somewhere in the middle.

    Whether the effect had happened by then, only the tool knows; one that does says it with
    ToolStopped, or by returning.
    """
    if kind != EXECUTE or effect in _REPEATABLE:
        return _before_effect(kind)
    return _unknown(f"it was stopped in the middle: {reason}")
