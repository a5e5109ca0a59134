"""Chat Completions, by OpenAI's SDK: at OpenAI, and at every server that speaks as it does."""

import asyncio
import importlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from agentd.agent.budget import FREE, NO_USAGE, ModelUsage
from agentd.agent.message import (
    AssistantMessage,
    Message,
    ModelChunk,
    ModelError,
    ModelErrorKind,
    ModelReply,
    ModelRequest,
    StopReason,
    TextDelta,
    ToolResult,
    ToolUse,
    UserMessage,
)
from agentd.agent.tool import Tool
from agentd.context.models.encoding import Encoder, schema_json, sound
from agentd.context.models.failures import classify, presentable, retry_after_s
from agentd.context.models.settings import CONNECT_TIMEOUT_S, ModelSettings, ProviderSettings

if TYPE_CHECKING:
    import openai as sdk

BASE_URL = "https://api.openai.com/v1"
_NO_KEY = "none"

_STOP_REASONS = {
    "stop": StopReason.END_TURN,
    "tool_calls": StopReason.TOOL_USE,
    "function_call": StopReason.TOOL_USE,
    "length": StopReason.MAX_TOKENS,
    "content_filter": StopReason.REFUSAL,
}
"""Source: the SDK's `types/chat/chat_completion_chunk.py`. Others count as the end of the turn."""


class OpenAIProvider:
    """A connection to one server that speaks Chat Completions."""

    def __init__(self, settings: ProviderSettings, module: Any, transport: Any) -> None:
        self.settings = settings
        self.sdk: Any = module
        self.transport_error: type[Exception] = transport.HTTPError
        self.client: sdk.AsyncOpenAI = module.AsyncOpenAI(
            api_key=settings.key or _NO_KEY,
            base_url=settings.base_url or BASE_URL,
            max_retries=0,
            timeout=transport.Timeout(settings.idle_timeout_s, connect=CONNECT_TIMEOUT_S),
        )
        self.encoder = Encoder(encode_message)

    def model(self, settings: ModelSettings) -> "OpenAIModel":
        """Return one of the provider's models."""
        return OpenAIModel(self, settings)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()


async def connect(settings: ProviderSettings, _model: ModelSettings) -> OpenAIProvider:
    """Return a connection, importing the SDK in a thread: that takes a third of a second."""
    module = await asyncio.to_thread(importlib.import_module, "openai")
    transport = await asyncio.to_thread(importlib.import_module, "httpx2")
    return OpenAIProvider(settings, module, transport)


class OpenAIModel:
    """A model behind Chat Completions."""

    def __init__(self, provider: OpenAIProvider, settings: ModelSettings) -> None:
        self._provider = provider
        self._prices = settings.prices or FREE
        self._effort = settings.effort

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """Answer a request: TextDeltas, then one ModelReply. Raises ModelError."""
        provider = self._provider
        body = encode_request(
            request,
            provider.encoder,
            official=not provider.settings.base_url,
            effort=self._effort,
        )
        answer = Answer()
        try:
            stream = await provider.client.post(
                "/chat/completions",
                cast_to=object,
                content=body,
                stream=True,
                stream_cls=provider.sdk.AsyncStream[object],
            )
            async with stream:
                async for event in stream:
                    text = answer.feed(event)
                    if text:
                        yield TextDelta(text)
        except (provider.sdk.OpenAIError, provider.transport_error, ValueError) as error:
            raise self._failure(error, answer.usage.priced(self._prices)) from None
        if answer.finish is None:
            raise ModelError(
                ModelErrorKind.TRANSIENT,
                f"{provider.settings.name}: the stream ended before the answer did",
                usage=answer.usage.priced(self._prices),
            )
        reply = answer.reply()
        yield ModelReply(reply.message, reply.stop_reason, reply.usage.priced(self._prices))

    def _failure(self, error: Exception, usage: ModelUsage) -> ModelError:
        settings, module = self._provider.settings, self._provider.sdk
        detail = error.body if isinstance(error, module.APIError) else None
        if isinstance(error, module.APIStatusError):
            status, headers = error.status_code, error.response.headers
            where = f"{settings.name} (HTTP {status})"
            said = error.response.reason_phrase
        else:
            status, headers, where = 0, {}, settings.name
            said = f"{type(error).__name__}: {error}"
        labels: tuple[str, ...] = ()
        if isinstance(detail, dict):
            said = str(detail.get("message") or said)
            labels = (str(detail.get("code")), str(detail.get("type")))
        return ModelError(
            classify(status, labels, said),
            presentable(f"{where}: {said}", settings.key),
            retry_after_s=retry_after_s(headers),
            usage=usage,
        )


class _Call(msgspec.Struct):
    """A call as it grows."""

    reference: str
    name: str
    arguments: list[str] = msgspec.field(default_factory=list)


class Answer:
    """An answer as it grows, chunk by chunk."""

    def __init__(self) -> None:
        self.finish: str | None = None
        self.usage = NO_USAGE
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def feed(self, chunk: Any) -> str:
        """Take one chunk of the stream; return the text that it adds to the answer.

        Source: the SDK's `types/chat/chat_completion_chunk.py`, with every field optional.
        """
        if not isinstance(chunk, dict):
            return ""
        if isinstance(chunk.get("usage"), dict):
            self.usage = _usage(chunk["usage"])
        match chunk.get("choices"):
            case [{"delta": dict(delta)} as choice, *_]:
                self.finish = choice.get("finish_reason") or self.finish
            case [{"finish_reason": str(finish)}, *_]:
                self.finish = finish
                return ""
            case _:
                return ""
        for call in delta.get("tool_calls") or ():
            self._call(call)
        if delta.get("refusal"):
            self._refusals.append(sound(delta["refusal"]))
        text = delta.get("content")
        if not text or not isinstance(text, str):
            return ""
        self._texts.append(sound(text))
        return self._texts[-1]

    def _call(self, delta: dict[str, Any]) -> None:
        """Begin a call, or continue one.

        Servers differ: some leave out the index, the id, or both, and some send every call with
        the index 0. A new id or, without an index, a name begins a call.
        """
        function = delta.get("function") or {}
        reference, name = delta.get("id") or "", function.get("name") or ""
        index = delta.get("index")
        if index is None:
            call = None if name or not self._calls else self._calls[-1]
        else:
            call = self._by_index.get(index)
        if call is None or (reference and call.reference and reference != call.reference):
            call = _Call(reference, name)
            self._calls.append(call)
        else:
            call.reference = call.reference or reference
            call.name = call.name or name
        if index is not None:
            self._by_index[index] = call
        if function.get("arguments"):
            call.arguments.append(function["arguments"])

    def reply(self) -> ModelReply:
        """Return the finished answer, its usage without a cost."""
        calls = tuple(
            ToolUse(call.reference, call.name, sound("".join(call.arguments)) or "{}")
            for call in self._calls
        )
        text = "".join(self._texts)
        stop = _STOP_REASONS.get(self.finish or "", StopReason.END_TURN)
        if self._refusals:
            text, stop = text or "".join(self._refusals), StopReason.REFUSAL
        elif calls and stop is StopReason.END_TURN:
            stop = StopReason.TOOL_USE
        return ModelReply(AssistantMessage(text, calls), stop, self.usage)


def encode_request(
    request: ModelRequest, encoder: Encoder, *, official: bool, effort: str = ""
) -> bytes:
    """Return the body of a request."""
    messages = [piece for _, pieces in encoder(request.messages) for piece in pieces]
    if request.instructions.strip():
        messages.insert(0, _message("system", request.instructions))
    limit = b"max_completion_tokens" if official else b"max_tokens"
    parts = [
        b'{"model":',
        msgspec.json.encode(request.model),
        b',"%s":%d' % (limit, request.max_output_tokens),
        b',"stream":true,"stream_options":{"include_usage":true}',
        b',"messages":[',
        b",".join(messages),
        b"]",
    ]
    if request.tools:
        parts += b',"tools":[', b",".join(_tool(tool) for tool in request.tools), b"]"
        if effort:
            parts += b',"reasoning_effort":', msgspec.json.encode(effort)
    parts.append(b"}")
    return b"".join(parts)


def encode_message(message: Message) -> tuple[bytes, ...]:
    """Return a message in the provider's shape, or nothing for one without content."""
    match message:
        case UserMessage(text=text):
            return (_message("user", text),) if text.strip() else ()
        case ToolResult(reference=reference, content=content):
            body = {"role": "tool", "tool_call_id": reference, "content": content}
            return (msgspec.json.encode(body),)
        case AssistantMessage(text=text, calls=calls):
            return _assistant(text, calls)
        case _:
            assert_never(message)


def _assistant(text: str, calls: tuple[ToolUse, ...]) -> tuple[bytes, ...]:
    if not text.strip() and not calls:
        return ()
    body: dict[str, object] = {"role": "assistant", "content": text if text.strip() else None}
    if calls:
        body["tool_calls"] = [
            {
                "id": call.reference,
                "type": "function",
                "function": {"name": call.tool, "arguments": call.arguments_json},
            }
            for call in calls
        ]
    return (msgspec.json.encode(body),)


def _message(role: str, text: str) -> bytes:
    return msgspec.json.encode({"role": role, "content": text})


def _tool(tool: Tool) -> bytes:
    head = msgspec.json.encode({"name": tool.id, "description": tool.description})
    return b'{"type":"function","function":%s,"parameters":%s}}' % (head[:-1], schema_json(tool))


def _usage(raw: dict[str, Any]) -> ModelUsage:
    details = raw.get("prompt_tokens_details") or {}
    return ModelUsage(
        raw.get("prompt_tokens") or 0,
        raw.get("completion_tokens") or 0,
        details.get("cached_tokens") or 0,
        details.get("cache_write_tokens") or 0,
    )
