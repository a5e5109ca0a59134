"""Ask a model on behalf of a run, and turn whatever comes of it into one fact."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from agentd.agent.effects import AskModel
from agentd.agent.events import (
    GrantedTool,
    ModelFailed,
    ModelReplied,
    RequestedCall,
)
from agentd.agent.ids import CallId, RunIdentity
from agentd.agent.message import (
    AssistantMessage,
    ModelError,
    ModelErrorKind,
    ModelReply,
    ModelRequest,
    TextDelta,
    ToolUse,
)
from agentd.agent.spec import RunSpec
from agentd.agent.state import State
from agentd.agent.tool import CallError, CallErrorReason, Tool
from agentd.context.transcript import Transcript
from agentd.runtime.ports import Clock, Entropy, Models
from agentd.runtime.watch import Delta
from agentd.tools.registry import Registry
from agentd.tools.schema import compile_arguments

BASE_DELAY_MS = 500
MAX_DELAY_MS = 60_000
MAX_RETRY_AFTER_S = 600.0
"""A provider that asks for a longer pause is not waited for."""
MAX_CALLS = 128
"""Calls of one answer that are executed; the model is told that the others were not."""

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")
"""What providers refuse in a tool's name, even in one that a model made up."""

_log = structlog.get_logger()


class Asker(Protocol):
    """The run that asks."""

    identity: RunIdentity
    spec: RunSpec
    state: State


def retry_delay_ms(attempt: int, retry_after_s: float | None, fraction: float) -> int:
    """Return how long to wait after a failed attempt, counted from 1: twice as long each time with
    half of it left to chance, and never shorter than the provider asks for.

    `fraction` is a number in [0, 1).
    """
    ceiling = min(BASE_DELAY_MS * 2 ** (attempt - 1), MAX_DELAY_MS)
    delay = int(ceiling / 2 + ceiling / 2 * fraction)
    return max(delay, int((retry_after_s or 0.0) * 1000))


class Asking:
    """Model requests of every run."""

    def __init__(
        self,
        *,
        models: Models,
        registry: Registry,
        clock: Clock,
        entropy: Entropy,
        instructions: Callable[[RunIdentity, int], Awaitable[str]],
        publish_delta: Callable[[Delta], None],
        timeout_s: float = 900.0,
    ) -> None:
        self._models = models
        self._registry = registry
        self._clock = clock
        self._entropy = entropy
        self._instructions = instructions
        self._publish_delta = publish_delta
        self._timeout_s = timeout_s

    async def ask(
        self, run: Asker, effect: AskModel, transcript: Transcript
    ) -> ModelReplied | ModelFailed:
        """Send one request and return its outcome as a fact."""
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._stream(run, effect, transcript)
        except ModelError as error:
            return self._failed(run, effect, error)
        except TimeoutError:
            message = f"no answer within {self._timeout_s:g} s"
            return self._failed(run, effect, ModelError(ModelErrorKind.TRANSIENT, message))
        return self._replied(run, effect, transcript, reply)

    async def _stream(self, run: Asker, effect: AskModel, transcript: Transcript) -> ModelReply:
        model = await self._models.open(effect.model)
        instructions = await self._instructions(run.identity, run.spec.agent_revision)
        request = _request(run, effect, transcript, instructions, self._tools(run))
        index = 0
        chunks = model.stream(request)
        try:
            async for chunk in chunks:
                if isinstance(chunk, ModelReply):
                    return chunk
                if isinstance(chunk, TextDelta) and chunk.text:
                    delta = Delta(run.identity, effect.turn, effect.attempt, index, chunk.text)
                    self._publish_delta(delta)
                    index += 1
        finally:
            close = getattr(chunks, "aclose", None)
            if close:
                await close()
        raise ModelError(ModelErrorKind.TRANSIENT, "the stream ended without an answer")

    def _tools(self, run: Asker) -> Sequence[Tool]:
        assert run.state.started is not None
        return [self._aliased(tool) for tool in run.state.started.tools]

    def _aliased(self, granted: GrantedTool) -> Tool:
        tool = self._registry.by_digest(granted.digest)
        if tool.id == granted.alias:
            return tool
        return Tool(
            tool.toolset,
            granted.alias,
            tool.description,
            tool.input_schema_json,
            tool.output_schema_json,
            tool.effect,
            tool.timeout_ms,
        )

    def _replied(
        self, run: Asker, effect: AskModel, transcript: Transcript, reply: ModelReply
    ) -> ModelReplied:
        started = run.state.started
        assert started is not None
        granted = {tool.alias: tool for tool in started.tools}
        calls: list[RequestedCall] = []
        uses: list[ToolUse] = []
        references: set[str] = set()
        for index, use in enumerate(reply.message.calls):
            call = CallId(f"c{effect.turn}-{index + 1}")
            fallback = f"call_{run.identity.key}_{call}"
            reference = transcript.unique_reference(use.reference, fallback)
            reference = fallback if reference in references else reference
            references.add(reference)
            name = use.tool if use.tool in granted else _FORBIDDEN.sub("_", use.tool)[:64]
            uses.append(ToolUse(reference, name or "unnamed", use.arguments_json))
            calls.append(self._requested(call, index, use, granted))
        message = AssistantMessage(reply.message.text, tuple(uses), reply.message.opaque_json)
        usage = reply.usage.priced(started.prices)
        return ModelReplied(
            effect.turn, effect.attempt, message, reply.stop_reason, tuple(calls), usage
        )

    def _requested(
        self, call: CallId, index: int, use: ToolUse, granted: dict[str, GrantedTool]
    ) -> RequestedCall:
        tool = granted.get(use.tool)
        if tool is None:
            names = ", ".join(sorted(granted)) or "none"
            message = f"There is no tool {use.tool[:80]!r}. The tools are: {names}."
            return RequestedCall(call, CallError(CallErrorReason.UNKNOWN_TOOL, message))
        fault: str | None
        if index >= MAX_CALLS:
            fault = f"Not executed: at most {MAX_CALLS} calls may be made at once."
        else:
            fault = compile_arguments(self._registry.by_digest(tool.digest)).check(
                use.arguments_json
            )
        refusal = CallError(CallErrorReason.INVALID_ARGUMENTS, fault) if fault else None
        return RequestedCall(call, refusal, tool.path, tool.effect, tool.reconcile)

    def _failed(self, run: Asker, effect: AskModel, error: ModelError) -> ModelFailed:
        started = run.state.started
        assert started is not None
        delay_ms = 0
        retry_after_s = error.retry_after_s or 0.0
        patient = retry_after_s <= MAX_RETRY_AFTER_S
        if error.kind.retryable and effect.attempt < started.max_attempts and patient:
            fraction = self._entropy.fraction()
            delay_ms = retry_delay_ms(effect.attempt, error.retry_after_s, fraction)
        _log.warning(
            "model_request_failed",
            kind=error.kind.name,
            attempt=effect.attempt,
            retry_delay_ms=delay_ms,
        )
        return ModelFailed(
            effect.turn,
            effect.attempt,
            error.kind,
            error.message[:4096],
            retry_at_ms=self._clock.now_ms() + delay_ms if delay_ms else 0,
            retry_delay_ms=delay_ms,
            usage=error.usage.priced(started.prices),
        )


def _request(
    run: Asker,
    effect: AskModel,
    transcript: Transcript,
    instructions: str,
    tools: Sequence[Tool],
) -> ModelRequest:
    return ModelRequest(
        model=effect.model.partition("/")[2],
        instructions=instructions,
        messages=transcript.messages,
        tools=tools,
        max_output_tokens=effect.reservation.max_output_tokens,
        key=effect.key,
        run=f"runs/{run.identity.id}",
        turn=effect.turn,
        attempt=effect.attempt,
    )
