"""The OpenAI adapter over real HTTP, against a server that speaks the provider's protocol."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import pytest

from agentd.agent.budget import NO_USAGE, ModelUsage, Prices
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
from agentd.context.models import openai
from agentd.context.models.encoding import Encoder
from agentd.context.models.openai import OpenAIProvider, encode_message, encode_request
from agentd.context.models.settings import Adapter, ModelSettings, ProviderSettings
from tests.providers.server import KEY, Fail, FakeProvider, Opaque, Raw, Say, Text, Use

TOOL = Tool("w", "get_weather", "The weather", '{"type":"object","properties":{"city":{}}}')
PRICES = Prices(input=10, output=100, cache_read=1, cache_write=20)


@pytest.fixture
async def server() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as server:
        yield server


@pytest.fixture
async def provider(server: FakeProvider) -> AsyncIterator[OpenAIProvider]:
    settings = ProviderSettings("openai", Adapter.OPENAI, f"{server.url}/v1", KEY)
    provider = await openai.connect(settings, ModelSettings("m"))
    yield provider
    await provider.close()


def request(*messages: Message, tools: tuple[Tool, ...] = ()) -> ModelRequest:
    return ModelRequest("gpt", "Be brief.", messages or (UserMessage("hi"),), tools, 1000)


async def chunks(
    provider: OpenAIProvider, asked: ModelRequest, *, effort: str = ""
) -> list[ModelChunk]:
    model = provider.model(ModelSettings("gpt", prices=PRICES, effort=effort))
    return [chunk async for chunk in model.stream(asked)]


async def reply(provider: OpenAIProvider, asked: ModelRequest) -> ModelReply:
    last = (await chunks(provider, asked))[-1]
    assert isinstance(last, ModelReply)
    return last


async def failure(provider: OpenAIProvider) -> ModelError:
    with pytest.raises(ModelError) as error:
        await chunks(provider, request())
    assert KEY not in str(error.value)
    return error.value


def raw(*deltas: Mapping[str, Any], finish: str = "stop") -> Raw:
    choices = [*({"delta": delta} for delta in deltas), {"delta": {}, "finish_reason": finish}]
    events = [json.dumps({"choices": [choice]}) for choice in choices]
    return Raw(tuple(f"data: {event}\n\n".encode() for event in (*events, "[DONE]")))


async def test_text_streams_and_the_reply_has_all_of_it(
    server: FakeProvider, provider: OpenAIProvider
) -> None:
    server.play(Say((Text(("Hel", "lo ", "wörld")),)))
    assert await chunks(provider, request()) == [
        TextDelta("Hel"),
        TextDelta("lo "),
        TextDelta("wörld"),
        ModelReply(
            AssistantMessage("Hello wörld"),
            StopReason.END_TURN,
            ModelUsage(10, 20, cost_nanos=2100),
        ),
    ]
    body = server.requests[0].body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["stream_options"] == {"include_usage": True}


async def test_calls_in_parallel_keep_their_ids_and_their_arguments_as_they_were_given(
    server: FakeProvider, provider: OpenAIProvider
) -> None:
    pieces = ('{"city":', ' "Pa', 'ris", "n": 1.0')
    server.play(
        Say((Text(("Two.",)), Use("call_a", "get_weather", pieces), Use("call_b", "now", ())))
    )
    answered = await reply(provider, request(tools=(TOOL,)))
    assert answered.stop_reason is StopReason.TOOL_USE
    assert answered.message.calls == (
        ToolUse("call_a", "get_weather", '{"city": "Paris", "n": 1.0'),
        ToolUse("call_b", "now", "{}"),
    )
    results = [ToolResult(use.reference, use.tool, "1") for use in answered.message.calls]
    await reply(provider, request(UserMessage("hi"), answered.message, *results, tools=(TOOL,)))
    sent = server.requests[-1].body["messages"][2]["tool_calls"][0]["function"]
    assert sent["arguments"] == '{"city": "Paris", "n": 1.0'


async def test_usage_counts_the_cache_and_is_priced(
    server: FakeProvider, provider: OpenAIProvider
) -> None:
    usage = {
        "prompt_tokens": 150,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 30},
    }
    server.play(Say((Text(("x",)),), usage=usage))
    assert (await reply(provider, request())).usage == ModelUsage(
        150, 2, 100, 30, cost_nanos=20 * 10 + 100 * 1 + 30 * 20 + 2 * 100
    )


async def test_an_answer_without_usage_is_an_answer(
    server: FakeProvider, provider: OpenAIProvider
) -> None:
    server.play(Say((Text(("x",)),), without_usage=True))
    assert (await reply(provider, request())).usage == NO_USAGE


def call(index: int | None, id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    delta: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    if index is not None:
        delta["index"] = index
    if id is not None:
        delta["id"] = id
    return {"tool_calls": [delta]}


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        (
            [call(None, None, "a", '{"x"'), call(None, None, None, ":1}"), call(None, "", "b", "")],
            [("", "a", '{"x":1}'), ("", "b", "{}")],
        ),
        (
            [call(0, "i", "a", "{}"), call(0, "j", "b", "{}")],
            [("i", "a", "{}"), ("j", "b", "{}")],
        ),
        (
            [call(0, "i", "a", ""), call(1, "j", "b", "{"), call(0, "i", "", "{}")],
            [("i", "a", "{}"), ("j", "b", "{")],
        ),
    ],
)
async def test_calls_of_servers_that_leave_things_out(
    server: FakeProvider,
    provider: OpenAIProvider,
    deltas: list[dict[str, Any]],
    calls: list[tuple[str, str, str]],
) -> None:
    server.play(raw(*deltas))
    answered = await reply(provider, request(tools=(TOOL,)))
    assert answered.stop_reason is StopReason.TOOL_USE
    assert [
        (use.reference, use.tool, use.arguments_json) for use in answered.message.calls
    ] == calls


async def test_calls_without_ids_get_some_when_they_are_sent_back(
    server: FakeProvider, provider: OpenAIProvider
) -> None:
    answer = AssistantMessage("", (ToolUse("", "now", "{}"), ToolUse("", "now", "{}")))
    results = (ToolResult("", "now", "1"), ToolResult("", "now", "2"))
    await reply(provider, request(UserMessage("hi"), answer, *results))
    sent = server.requests[-1].body["messages"][3:]
    assert [message["tool_call_id"] for message in sent] == ["call_1", "call_2"]


async def test_blank_messages_are_left_out(server: FakeProvider, provider: OpenAIProvider) -> None:
    await reply(provider, request(UserMessage("a"), AssistantMessage(" "), UserMessage("b")))
    assert [message["role"] for message in server.requests[-1].body["messages"]] == [
        "system",
        "user",
        "user",
    ]


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("stop", StopReason.END_TURN),
        ("length", StopReason.MAX_TOKENS),
        ("content_filter", StopReason.REFUSAL),
        ("something_new", StopReason.END_TURN),
    ],
)
async def test_stop_reasons(
    server: FakeProvider, provider: OpenAIProvider, stop: str, expected: StopReason
) -> None:
    server.play(Say((Text(("x",)),), stop=stop))
    assert (await reply(provider, request())).stop_reason is expected


async def test_a_refusal_is_one_and_says_why(
    server: FakeProvider, provider: OpenAIProvider
) -> None:
    server.play(Say((Opaque({"refusal": "I cannot "}), Opaque({"refusal": "do that."}))))
    answered = await reply(provider, request())
    assert answered.stop_reason is StopReason.REFUSAL
    assert answered.message.text == "I cannot do that."


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (Fail(429, "requests", code="rate_limit_exceeded"), ModelErrorKind.RATE_LIMITED),
        (
            Fail(429, "insufficient_quota", code="insufficient_quota"),
            ModelErrorKind.AUTHENTICATION,
        ),
        (
            Fail(429, "tokens", "Request too large for gpt", "rate_limit_exceeded"),
            ModelErrorKind.CONTEXT_EXCEEDED,
        ),
        (Fail(500, "server_error"), ModelErrorKind.TRANSIENT),
        (Fail(502), ModelErrorKind.TRANSIENT),
        (Fail(503), ModelErrorKind.OVERLOADED),
        (Fail(504), ModelErrorKind.TRANSIENT),
        (Fail(529), ModelErrorKind.OVERLOADED),
        (
            Fail(401, "invalid_request_error", code="invalid_api_key"),
            ModelErrorKind.AUTHENTICATION,
        ),
        (Fail(403), ModelErrorKind.AUTHENTICATION),
        (
            Fail(400, "invalid_request_error", code="context_length_exceeded"),
            ModelErrorKind.CONTEXT_EXCEEDED,
        ),
        (
            Fail(400, "BadRequestError", "This model's maximum context length is 4096 tokens"),
            ModelErrorKind.CONTEXT_EXCEEDED,
        ),
        (
            Fail(400, "exceed_context_size_error", "the request exceeds it"),
            ModelErrorKind.CONTEXT_EXCEEDED,
        ),
        (
            Fail(400, "invalid_request_error", code="content_policy_violation"),
            ModelErrorKind.REFUSED,
        ),
        (Fail(413), ModelErrorKind.CONTEXT_EXCEEDED),
        (Fail(400, "invalid_request_error"), ModelErrorKind.INVALID_REQUEST),
        (Fail(404, code="model_not_found"), ModelErrorKind.INVALID_REQUEST),
        (Fail(422), ModelErrorKind.INVALID_REQUEST),
    ],
)
async def test_refusals_are_classified_and_not_repeated(
    server: FakeProvider, provider: OpenAIProvider, fail: Fail, kind: ModelErrorKind
) -> None:
    server.play(fail)
    error = await failure(provider)
    assert error.kind is kind
    assert fail.message in error.message
    assert len(server.requests) == 1


async def test_retry_after_is_read(server: FakeProvider, provider: OpenAIProvider) -> None:
    server.play(Fail(429, headers={"retry-after": "2.5"}))
    assert (await failure(provider)).retry_after_s == 2.5


async def test_a_key_that_is_refused_is_not_shown(server: FakeProvider) -> None:
    settings = ProviderSettings("openai", Adapter.OPENAI, f"{server.url}/v1", "sk-wrong-9876")
    provider = await openai.connect(settings, ModelSettings("m"))
    error = await failure(provider)
    await provider.close()
    assert error.kind is ModelErrorKind.AUTHENTICATION
    assert "9876" not in error.message
    assert "9876" not in repr(settings)


async def test_a_key_that_the_provider_shows_in_part_is_not_shown(
    server: FakeProvider, provider: OpenAIProvider
) -> None:
    server.play(Fail(401, message="Incorrect API key provided: sk-te***6789."))
    assert "6789" not in (await failure(provider)).message


async def test_another_server_needs_no_key() -> None:
    async with FakeProvider(key="") as server:
        settings = ProviderSettings("ollama", Adapter.OPENAI, f"{server.url}/v1")
        provider = await openai.connect(settings, ModelSettings("m"))
        assert (await reply(provider, request())).message.text == "Hello there"
        await provider.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "server_error", "message": "sorry"}, ModelErrorKind.TRANSIENT),
        ({"code": "rate_limit_exceeded", "message": "slow"}, ModelErrorKind.RATE_LIMITED),
        ({"message": "exceeds the context size"}, ModelErrorKind.CONTEXT_EXCEEDED),
        ({"message": "who knows"}, ModelErrorKind.TRANSIENT),
    ],
)
async def test_an_error_inside_the_stream_is_classified(
    server: FakeProvider, provider: OpenAIProvider, error: dict[str, str], kind: ModelErrorKind
) -> None:
    server.play(Say((Text(("a", "b")),), error_after=2, error=error))
    failed = await failure(provider)
    assert failed.kind is kind
    assert error["message"] in failed.message


@pytest.mark.parametrize("cut", [0, 1, 3])
async def test_a_stream_that_is_cut_is_transient(
    server: FakeProvider, provider: OpenAIProvider, cut: int
) -> None:
    server.play(Say((Text(("a", "b")),), cut_after=cut))
    assert (await failure(provider)).kind is ModelErrorKind.TRANSIENT


@pytest.mark.parametrize("end", [0, 1, 3])
async def test_a_stream_that_ends_too_early_is_transient(
    server: FakeProvider, provider: OpenAIProvider, end: int
) -> None:
    server.play(Say((Text(("a", "b")),), end_after=end))
    assert (await failure(provider)).kind is ModelErrorKind.TRANSIENT


@pytest.mark.parametrize(
    "event",
    [
        b"data: {not json\n\n",
        b"data: []\n\n",
        b'data: {"choices": [null]}\n\n',
        b'data: {"choices": [{"delta": {"content": [1]}}]}\n\n',
    ],
)
async def test_a_stream_of_garbage_is_transient(
    server: FakeProvider, provider: OpenAIProvider, event: bytes
) -> None:
    server.play(Raw((event,)))
    assert (await failure(provider)).kind is ModelErrorKind.TRANSIENT


async def test_nobody_listening_is_transient() -> None:
    settings = ProviderSettings("openai", Adapter.OPENAI, "http://127.0.0.1:9/v1", KEY)
    lost = await openai.connect(settings, ModelSettings("m"))
    assert (await failure(lost)).kind is ModelErrorKind.TRANSIENT
    await lost.close()


async def test_silence_beyond_the_limit_is_transient(server: FakeProvider) -> None:
    settings = ProviderSettings(
        "openai", Adapter.OPENAI, f"{server.url}/v1", KEY, idle_timeout_s=0.05
    )
    provider = await openai.connect(settings, ModelSettings("m"))
    server.play(Say((Text(("a", "b")),), hold_after=2))
    assert (await failure(provider)).kind is ModelErrorKind.TRANSIENT
    await provider.close()


async def test_closing_the_iterator_closes_the_connection(
    server: FakeProvider, provider: OpenAIProvider
) -> None:
    server.play(Say((Text(("a", "b")),), hold_after=2))
    async with aclosing(provider.model(ModelSettings("gpt")).stream(request())) as stream:
        assert await anext(stream) == TextDelta("a")
    async with asyncio.timeout(10):
        await server.gone.wait()


async def test_the_effort_goes_with_tools_only(
    server: FakeProvider, provider: OpenAIProvider
) -> None:
    await chunks(provider, request(), effort="none")
    await chunks(provider, request(tools=(TOOL,)), effort="none")
    assert [body.body.get("reasoning_effort") for body in server.requests] == [None, "none"]


def test_only_openai_itself_is_asked_with_the_newer_name_of_the_limit() -> None:
    for official, name in ((True, "max_completion_tokens"), (False, "max_tokens")):
        encoded = encode_request(request(), Encoder(encode_message), official=official)
        assert json.loads(encoded)[name] == 1000
