"""Anthropic's Messages API, by its SDK: the connection, the request, the streamed answer."""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, assert_never

import msgspec
from msgspec.structs import replace

from agentd.agent.budget import FREE, NO_USAGE, ModelUsage, Prices
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
    import anthropic as sdk

BASE_URL = "https://api.anthropic.com"
_CACHE_CONTROL = b',"cache_control":{"type":"ephemeral"}}'
_NO_KEY = "none"
_STALE = "bound to a different conversation"
"""What the provider says of reasoning whose instructions, tools or transcript are not those any
more under which it was signed: after a compaction, or when a tool came or went."""

_STOP_REASONS = {
    "end_turn": StopReason.END_TURN,
    "stop_sequence": StopReason.END_TURN,
    "pause_turn": StopReason.END_TURN,
    "tool_use": StopReason.TOOL_USE,
    "max_tokens": StopReason.MAX_TOKENS,
    "model_context_window_exceeded": StopReason.MAX_TOKENS,
    "refusal": StopReason.REFUSAL,
}
"""Source: the SDK's `types/stop_reason.py`. One that is new counts as the end of the turn."""


class AnthropicProvider:
    """A connection to one Anthropic-compatible server."""

    def __init__(self, settings: ProviderSettings, module: Any, transport: Any) -> None:
        self.settings = settings
        self.sdk: Any = module
        self.transport_error: type[Exception] = transport.HTTPError
        self.client: sdk.AsyncAnthropic = module.AsyncAnthropic(
            api_key=settings.key or _NO_KEY,
            base_url=settings.base_url or BASE_URL,
            max_retries=0,
            timeout=transport.Timeout(settings.idle_timeout_s, connect=CONNECT_TIMEOUT_S),
        )
        self.encoder = Encoder(encode_message)

    def model(self, settings: ModelSettings) -> "AnthropicModel":
        """Return one of the provider's models."""
        return AnthropicModel(self, settings.prices or FREE)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()


async def connect(settings: ProviderSettings, _model: ModelSettings) -> AnthropicProvider:
    """Return a connection, importing the SDK in a thread: that takes most of a second."""
    module = await asyncio.to_thread(importlib.import_module, "anthropic")
    transport = await asyncio.to_thread(importlib.import_module, "httpx2")
    return AnthropicProvider(settings, module, transport)


class AnthropicModel:
    """A model of Anthropic's."""

    def __init__(self, provider: AnthropicProvider, prices: Prices) -> None:
        self._provider = provider
        self._prices = prices

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """Answer a request: TextDeltas, then one ModelReply. Raises ModelError."""
        try:
            async with aclosing(self._answer(request)) as answer:
                async for chunk in answer:
                    yield chunk
        except _StaleReasoningError:
            async with aclosing(self._answer(_without_reasoning(request))) as answer:
                async for chunk in answer:
                    yield chunk

    async def _answer(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        body = encode_request(request, self._provider.encoder)
        answer = Answer()
        provider = self._provider
        try:
            stream = await provider.client.post(
                "/v1/messages",
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
        except (provider.sdk.APIError, provider.transport_error, ValueError) as error:
            failure = self._failure(error, answer.usage.priced(self._prices))
            if _STALE in failure.message and _has_reasoning(request):
                raise _StaleReasoningError from None
            raise failure from None
        if not answer.complete:
            raise ModelError(
                ModelErrorKind.TRANSIENT,
                f"{provider.settings.name}: the stream ended before the answer did",
                usage=answer.usage.priced(self._prices),
            )
        yield answer.reply(self._prices)

    def _failure(self, error: Exception, usage: ModelUsage) -> ModelError:
        settings = self._provider.settings
        if not isinstance(error, self._provider.sdk.APIStatusError):
            kind, reason = ModelErrorKind.TRANSIENT, f"{type(error).__name__}: {error}"
            message = presentable(f"{settings.name}: {reason}", settings.key)
            return ModelError(kind, message, usage=usage)
        status, response = error.status_code, error.response
        detail = error.body.get("error") if isinstance(error.body, dict) else None
        detail = detail if isinstance(detail, dict) else {}
        said = str(detail.get("message") or response.reason_phrase)
        return ModelError(
            classify(status, (str(detail.get("type")),), said),
            presentable(f"{settings.name} (HTTP {status}): {said}", settings.key),
            retry_after_s=retry_after_s(response.headers),
            usage=usage,
        )


class _StaleReasoningError(Exception):
    """The provider does not take its earlier reasoning back: it is to be asked without."""


class Answer:
    """An answer as it grows, event by event."""

    def __init__(self) -> None:
        self.complete = False
        self._blocks: list[dict[str, Any]] = []
        self._pieces: list[list[str]] = []
        self._stop: str | None = None
        self._counts: dict[str, int] = {}

    @property
    def usage(self) -> ModelUsage:
        """What has been counted so far."""
        read = self._counts.get("cache_read_input_tokens", 0)
        written = self._counts.get("cache_creation_input_tokens", 0)
        plain = self._counts.get("input_tokens", 0)
        if not self._counts:
            return NO_USAGE
        output = self._counts.get("output_tokens", 0)
        return ModelUsage(plain + read + written, output, read, written)

    def feed(self, event: Any) -> str:
        """Take one event of the stream; return the text that it adds to the answer.

        Source: the SDK's `lib/streaming/_messages.py`. Unknown events and deltas are passed over.
        """
        match event:
            case {
                "type": "content_block_delta",
                "index": int(index),
                "delta": {"type": _} as delta,
            }:
                return self._delta(index, delta)
            case {"type": "content_block_start", "content_block": {"type": _} as block}:
                self._blocks.append(dict(block))
                self._pieces.append([])
                if block["type"] == "text" and block.get("text"):
                    self._pieces[-1].append(sound(block["text"]))
                    return self._pieces[-1][0]
            case {"type": "message_start", "message": {"usage": dict(usage)}}:
                self._count(usage)
            case {"type": "message_delta", "delta": dict(delta)}:
                self._stop = delta.get("stop_reason")
                self._count(event.get("usage") or {})
            case {"type": "message_stop"}:
                self.complete = True
            case _:
                pass
        return ""

    def _delta(self, index: int, delta: dict[str, Any]) -> str:
        if not 0 <= index < len(self._blocks):
            return ""
        block, pieces = self._blocks[index], self._pieces[index]
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                pieces.append(sound(text))
                return pieces[-1]
            case {"type": "input_json_delta", "partial_json": str(piece)}:
                pieces.append(piece)
            case {"type": "thinking_delta", "thinking": str(piece)}:
                block["thinking"] = block.get("thinking", "") + piece
            case {"type": "signature_delta", "signature": str(signature)}:
                block["signature"] = signature
            case _:
                pass
        return ""

    def _count(self, usage: dict[str, Any]) -> None:
        self._counts |= {name: n for name, n in usage.items() if isinstance(n, int)}

    def reply(self, prices: Prices) -> ModelReply:
        """Return the finished answer."""
        texts: list[str] = []
        calls: list[ToolUse] = []
        layout: list[dict[str, Any] | int | None] = []
        opaque = False
        for block, pieces in zip(self._blocks, self._pieces, strict=True):
            whole = sound("".join(pieces))
            if block["type"] == "text":
                texts.append(whole)
                layout.append(len(texts[-1]))
            elif block["type"] == "tool_use":
                arguments = whole or msgspec.json.encode(block.get("input") or {}).decode()
                calls.append(ToolUse(str(block.get("id")), str(block.get("name")), arguments))
                layout.append(None)
            else:
                opaque = True
                layout.append(block)
        opaque_json = ""
        if opaque:
            kept = {"provider": "anthropic", "content": layout}
            opaque_json = msgspec.json.encode(kept).decode()
        message = AssistantMessage("".join(texts), tuple(calls), opaque_json)
        stop = _STOP_REASONS.get(self._stop or "", StopReason.END_TURN)
        return ModelReply(message, stop, self.usage.priced(prices))


def encode_request(request: ModelRequest, encoder: Encoder) -> bytes:
    """Return the body of a request, with what stays the same between turns marked for the
    provider's cache: the instructions, the tools, and the transcript up to its end."""
    parts = [
        b'{"model":',
        msgspec.json.encode(request.model),
        b',"max_tokens":%d,"stream":true' % request.max_output_tokens,
    ]
    if request.instructions.strip():
        parts += b',"system":[', _cached(_text_block(request.instructions)), b"]"
    if request.tools:
        tools = [_tool(tool) for tool in request.tools]
        tools[-1] = _cached(tools[-1])
        parts += b',"tools":[', b",".join(tools), b"]"
    parts += b',"messages":[', b",".join(_turns(request.messages, encoder)), b"]}"
    return b"".join(parts)


def encode_message(message: Message) -> tuple[bytes, ...]:
    """Return a message as content blocks. Text that is blank is left out: it would be refused."""
    match message:
        case UserMessage(text=text):
            return (_text_block(text),) if text.strip() else ()
        case ToolResult():
            return (_result_block(message),)
        case AssistantMessage():
            return tuple(_assistant_blocks(message))
        case _:
            assert_never(message)


def _has_reasoning(request: ModelRequest) -> bool:
    return any(isinstance(m, AssistantMessage) and m.opaque_json for m in request.messages)


def _without_reasoning(request: ModelRequest) -> ModelRequest:
    messages = [
        replace(message, opaque_json="") if isinstance(message, AssistantMessage) else message
        for message in request.messages
    ]
    return replace(request, messages=messages)


def _turns(messages: Sequence[Message], encoder: Encoder) -> list[bytes]:
    """Join blocks of the same role into turns; the last block ends what the provider caches."""
    turns: list[tuple[bool, list[bytes]]] = []
    for message, blocks in encoder(messages):
        if not blocks:
            continue
        assistant = isinstance(message, AssistantMessage)
        if turns and turns[-1][0] == assistant:
            turns[-1][1].extend(blocks)
        else:
            turns.append((assistant, list(blocks)))
    if turns and not turns[-1][0]:
        turns[-1][1][-1] = _cached(turns[-1][1][-1])
    heads = (b'{"role":"user","content":[', b'{"role":"assistant","content":[')
    return [heads[assistant] + b",".join(blocks) + b"]}" for assistant, blocks in turns]


def _assistant_blocks(message: AssistantMessage) -> Iterable[bytes]:
    """List the blocks of an answer, with what was kept verbatim where it stood."""
    text, calls = message.text, list(message.calls)
    for part in _layout(message):
        if isinstance(part, int):
            piece, text = text[:part], text[part:]
            if piece.strip():
                yield _text_block(piece)
        elif part is None:
            yield _use_block(calls.pop(0))
        else:
            yield msgspec.json.encode(part)


def _layout(message: AssistantMessage) -> list[dict[str, Any] | int | None]:
    """Return the order of an answer's blocks: the length of a text, None for a call, else a block
    that was kept verbatim. Those are left out if the message does not fit them any more."""
    plain: list[dict[str, Any] | int | None] = [len(message.text), *(None for _ in message.calls)]
    if not message.opaque_json:
        return plain
    kept = msgspec.json.decode(message.opaque_json)
    if kept.get("provider") != "anthropic":
        return plain
    layout: list[dict[str, Any] | int | None] = kept["content"]
    length = sum(part for part in layout if isinstance(part, int))
    fits = length == len(message.text) and layout.count(None) == len(message.calls)
    return layout if fits else plain


def _text_block(text: str) -> bytes:
    return msgspec.json.encode({"type": "text", "text": text})


def _use_block(call: ToolUse) -> bytes:
    arguments = call.arguments_json.encode()
    try:
        sound_object = isinstance(msgspec.json.decode(arguments), dict)
    except msgspec.DecodeError:
        sound_object = False
    if not sound_object:  # The provider takes nothing but an object.
        arguments = msgspec.json.encode({"malformed_arguments": call.arguments_json})
    head = msgspec.json.encode({"type": "tool_use", "id": call.reference, "name": call.tool})
    return head[:-1] + b',"input":' + arguments + b"}"


def _result_block(result: ToolResult) -> bytes:
    block: dict[str, object] = {
        "type": "tool_result",
        "tool_use_id": result.reference,
        "content": result.content,
    }
    if result.is_error:
        block["is_error"] = True
    return msgspec.json.encode(block)


def _tool(tool: Tool) -> bytes:
    head = msgspec.json.encode({"name": tool.id, "description": tool.description})
    return head[:-1] + b',"input_schema":' + schema_json(tool) + b"}"


def _cached(block: bytes) -> bytes:
    return block[:-1] + _CACHE_CONTROL
