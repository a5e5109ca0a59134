"""Ask a model on behalf of a run, and turn whatever comes of it into one fact."""

import re
from collections.abc import Awaitable, Callable
from typing import Protocol

from agentd.agent.effects import AskModel
from agentd.agent.events import (
    ModelFailed,
    ModelReplied,
    RequestedCall,
)
from agentd.agent.ids import CallId, RunIdentity
from agentd.agent.lifecycle_events import PhaseAnswered
from agentd.agent.message import (
    AssistantMessage,
    ModelError,
    ModelErrorKind,
    ModelReply,
    ModelRequest,
    Purpose,
    TextDelta,
    ToolUse,
)
from agentd.agent.spec import RunSpec
from agentd.agent.state import State
from agentd.agent.tool import CallError, CallErrorReason
from agentd.context.transcript import Transcript
from agentd.log import get_logger
from agentd.runtime.judging import Judging
from agentd.runtime.ports import Clock, Entropy, Models
from agentd.runtime.redacting import Unsettled
from agentd.runtime.submitting import Submitting, offered, prices_of
from agentd.runtime.watch import Delta
from agentd.tools.schema import compile_arguments
from agentd.tools.toolkit import Toolkit

BASE_DELAY_MS = 500
MAX_DELAY_MS = 60_000
MAX_RETRY_AFTER_S = 600.0
"""A provider that asks for a longer pause is not waited for."""
MAX_CALLS = 128
"""Calls of one answer that are executed; the model is told that the others were not."""

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")
"""What providers refuse in a tool's name, even in one that a model made up."""

_log = get_logger()


class Asker(Protocol):
    """The run that asks."""

    identity: RunIdentity
    spec: RunSpec
    state: State
    transcript: Transcript | None

    @property
    def toolkit(self) -> Toolkit:
        """The run's tools."""
        ...


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
        clock: Clock,
        entropy: Entropy,
        instructions: Callable[[RunIdentity, int], Awaitable[str]],
        publish_delta: Callable[[Delta], None],
        judging: Judging,
        timeout_s: float,
        unsettled: Unsettled,
    ) -> None:
        self._models = models
        self._clock = clock
        self._entropy = entropy
        self._instructions = instructions
        self._publish_delta = publish_delta
        self._judging = judging
        self._unsettled = unsettled
        self._submitting = Submitting(judging)
        self.timeout_s = timeout_s
        """How long one request may take in all."""

    async def ask(self, run: Asker, effect: AskModel) -> ModelReplied | PhaseAnswered | ModelFailed:
        """Send one request and return its outcome as a fact."""
        try:
            reply = await self._stream(run, effect)
            answered = self._submitting.answered(run, effect, reply) if effect.thread else None
            return answered or self._replied(run, effect, reply)
        except ModelError as error:
            return self._failed(run, effect, error)

    def timed_out(self, run: Asker, effect: AskModel) -> ModelFailed:
        """Return the fact for a request that was cancelled because its time was up."""
        message = f"no answer within {self.timeout_s:g} s"
        return self._failed(run, effect, ModelError(ModelErrorKind.TRANSIENT, message))

    async def _stream(self, run: Asker, effect: AskModel) -> ModelReply:
        model = await self._models.open(effect.model)
        instructions = await self._instructions(run.identity, run.spec.agent_revision)
        chunks = model.stream(_request(run, effect, instructions))
        index, text = 0, ""
        try:
            async for chunk in chunks:
                held = 0
                if isinstance(chunk, TextDelta):
                    text += chunk.text
                    # What may be the beginning of a secret waits for what comes after it.
                    held = self._unsettled(text)
                piece, text = text[: len(text) - held], text[len(text) - held :]
                if piece:
                    delta = Delta(run.identity, effect.turn, effect.attempt, index, piece)
                    self._publish_delta(delta)
                    index += 1
                if isinstance(chunk, ModelReply):
                    return chunk
        finally:
            await chunks.aclose()
        raise ModelError(ModelErrorKind.TRANSIENT, "the stream ended without an answer")

    def _replied(self, run: Asker, effect: AskModel, reply: ModelReply) -> ModelReplied:
        assert run.transcript is not None
        transcript = run.transcript.of(effect.thread)
        toolkit = run.toolkit
        calls: list[RequestedCall] = []
        uses: list[ToolUse] = []
        references: set[str] = set()
        for index, use in enumerate(reply.message.calls):
            call = CallId(f"c{effect.turn}-{index + 1}")
            fallback = f"call_{run.identity.key}_{call}"
            reference = transcript.unique_reference(use.reference, fallback)
            reference = fallback if reference in references else reference
            references.add(reference)
            known = use.tool in toolkit.by_alias
            name = use.tool if known else _FORBIDDEN.sub("_", use.tool)[:64]
            uses.append(ToolUse(reference, name or "unnamed", use.arguments_json))
            calls.append(self._requested(run, effect, call, index, use))
        message = AssistantMessage(reply.message.text, tuple(uses), reply.message.opaque_json)
        usage = reply.usage.priced(prices_of(run.state, effect))
        return ModelReplied(
            effect.turn, effect.attempt, message, reply.stop_reason, tuple(calls), usage
        )

    def _requested(
        self, run: Asker, effect: AskModel, call: CallId, index: int, use: ToolUse
    ) -> RequestedCall:
        """Check and judge a call of an answer, so that a wrong one goes back to the model as a
        clear error."""
        found = run.toolkit.by_alias.get(use.tool)
        simulates = effect.purpose is Purpose.SIMULATION
        if found is None or (simulates and not found[1].simulate):
            names = ", ".join(sorted(run.toolkit.by_alias)) or "none"
            message = f"There is no tool {use.tool[:80]!r}. The tools are: {names}."
            return RequestedCall(call, CallError(CallErrorReason.UNKNOWN_TOOL, message))
        granted, tool = found
        if index < MAX_CALLS:
            fault = compile_arguments(tool).check(use.arguments_json)
        else:
            fault = f"Not executed: at most {MAX_CALLS} calls may be made at once."
        if fault is None:
            asked = self._judging.requested(run.state, call, granted, tool, use.arguments_json)
            if simulates:
                return self._submitting.simulated(asked)
            if effect.thread:
                return self._submitting.departing(run.state, effect, use.tool, asked)
            return asked
        refusal = CallError(CallErrorReason.INVALID_ARGUMENTS, fault)
        return RequestedCall(call, refusal, granted.path, granted.effect, granted.reconcile)

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
            usage=error.usage.priced(prices_of(run.state, effect)),
        )


def _request(run: Asker, effect: AskModel, instructions: str) -> ModelRequest:
    assert run.transcript is not None
    transcript = run.transcript.of(effect.thread)
    return ModelRequest(
        model=effect.model.partition("/")[2],
        instructions=instructions,
        messages=transcript.messages,
        tools=offered(run, effect),
        max_output_tokens=effect.reservation.max_output_tokens,
        key=effect.key,
        run=f"runs/{run.identity.id}",
        turn=transcript.answers + 1 if effect.thread else effect.turn,
        attempt=effect.attempt,
        purpose=effect.purpose,
    )
