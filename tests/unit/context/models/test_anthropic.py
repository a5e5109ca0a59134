"""The Anthropic adapter over real HTTP, against a server that speaks the provider's protocol."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from agentd.agent.budget import ModelUsage, Prices
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
from agentd.context.models import anthropic
from agentd.context.models.anthropic import AnthropicProvider
from agentd.context.models.settings import Adapter, ModelSettings, ProviderSettings
from tests.providers.server import KEY, Fail, FakeProvider, Opaque, Raw, Say, Text, Use

TOOL = Tool("w", "get_weather", "The weather", '{"type":"object","properties":{"city":{}}}')
PRICES = Prices(input=10, output=100, cache_read=1, cache_write=20)


@pytest.fixture
async def server() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as server:
        yield server


@pytest.fixture
async def provider(server: FakeProvider) -> AsyncIterator[AnthropicProvider]:
    settings = ProviderSettings("anthropic", Adapter.ANTHROPIC, server.url, KEY)
    provider = await anthropic.connect(settings, ModelSettings("m"))
    yield provider
    await provider.close()


def request(
    *messages: Message, tools: tuple[Tool, ...] = (), instructions: str = "Be brief."
) -> ModelRequest:
    return ModelRequest("claude", instructions, messages or (UserMessage("hi"),), tools, 1000)


async def chunks(provider: AnthropicProvider, asked: ModelRequest) -> list[ModelChunk]:
    model = provider.model(ModelSettings("claude", prices=PRICES))
    return [chunk async for chunk in model.stream(asked)]


async def reply(provider: AnthropicProvider, asked: ModelRequest) -> ModelReply:
    last = (await chunks(provider, asked))[-1]
    assert isinstance(last, ModelReply)
    return last


async def failure(provider: AnthropicProvider) -> ModelError:
    with pytest.raises(ModelError) as error:
        await chunks(provider, request())
    assert KEY not in str(error.value)
    return error.value


async def test_text_streams_and_the_reply_has_all_of_it(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    server.play(Say((Text(("Hel", "lo ", "wörld")),), usage={"output_tokens": 3}))
    assert await chunks(provider, request()) == [
        TextDelta("Hel"),
        TextDelta("lo "),
        TextDelta("wörld"),
        ModelReply(
            AssistantMessage("Hello wörld"),
            StopReason.END_TURN,
            ModelUsage(10, 3, cost_nanos=400),
        ),
    ]


async def test_calls_in_parallel_keep_their_ids_and_their_arguments_as_they_were_given(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    pieces = ('{"city":', ' "Pa', 'ris", "n": 1.0}')
    server.play(
        Say((Text(("Two.",)), Use("toolu_1", "get_weather", pieces), Use("toolu_2", "now", ())))
    )
    answered = await reply(provider, request(tools=(TOOL,)))
    assert answered.stop_reason is StopReason.TOOL_USE
    assert answered.message.calls == (
        ToolUse("toolu_1", "get_weather", '{"city": "Paris", "n": 1.0}'),
        ToolUse("toolu_2", "now", "{}"),
    )


async def test_malformed_arguments_are_passed_on_and_can_be_sent_back(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    server.play(Say((Use("toolu_1", "get_weather", ('{"city": "Par',)),)))
    message = (await reply(provider, request(tools=(TOOL,)))).message
    assert message.calls[0].arguments_json == '{"city": "Par'
    result = ToolResult("toolu_1", "get_weather", "not JSON", is_error=True)
    await reply(provider, request(UserMessage("hi"), message, result, tools=(TOOL,)))
    sent = server.requests[-1].body["messages"]
    assert sent[1]["content"][0]["input"] == {"malformed_arguments": '{"city": "Par'}
    assert sent[2]["content"][0]["is_error"] is True


async def test_usage_counts_the_cache_and_is_priced(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 30}
    server.play(Say((Text(("x",)),), usage=usage | {"output_tokens": 2}))
    assert (await reply(provider, request())).usage == ModelUsage(
        135, 2, 100, 30, cost_nanos=5 * 10 + 100 * 1 + 30 * 20 + 2 * 100
    )


async def test_thinking_is_kept_verbatim_and_sent_back_in_its_place(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    thinking = Opaque(
        {"type": "thinking", "thinking": "", "signature": ""},
        (
            {"type": "thinking_delta", "thinking": "Let me "},
            {"type": "thinking_delta", "thinking": "think"},
            {"type": "signature_delta", "signature": "c2ln"},
        ),
    )
    redacted = Opaque({"type": "redacted_thinking", "data": "AAAA"})
    use = Use("toolu_1", "get_weather", ('{"city":"Paris"}',))
    server.play(Say((thinking, Text(("One. ",)), redacted, Text(("Two.",)), use)))
    message = (await reply(provider, request(tools=(TOOL,)))).message
    assert message.text == "One. Two."
    await reply(
        provider,
        request(UserMessage("hi"), message, ToolResult("toolu_1", "get_weather", "{}")),
    )
    assert server.requests[-1].body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Let me think", "signature": "c2ln"},
        {"type": "text", "text": "One. "},
        {"type": "redacted_thinking", "data": "AAAA"},
        {"type": "text", "text": "Two."},
        {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}},
    ]


async def test_what_was_kept_is_left_out_when_the_message_was_changed_or_is_anothers(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    other = '{"provider":"other","content":[{"type":"thinking"}]}'
    stale = '{"provider":"anthropic","content":[{"type":"redacted_thinking","data":"A"},9]}'
    for opaque in (other, stale):
        await reply(
            provider,
            request(UserMessage("a"), AssistantMessage("b", (), opaque), UserMessage("c")),
        )
        content = server.requests[-1].body["messages"][1]["content"]
        assert content == [{"type": "text", "text": "b"}]


async def test_reasoning_that_the_provider_does_not_take_back_is_left_out(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    stale = Fail(
        400,
        "invalid_request_error",
        "messages.1.content.0: Invalid `signature` in `thinking` block. "
        "The block is bound to a different conversation.",
    )
    kept = '{"provider":"anthropic","content":[{"type":"redacted_thinking","data":"A"},1]}'
    asked = request(UserMessage("a"), AssistantMessage("b", (), kept), UserMessage("c"))
    server.play(stale)
    assert (await reply(provider, asked)).message.text == "Hello there"
    sent = [len(request.body["messages"][1]["content"]) for request in server.requests]
    assert sent == [2, 1]
    server.play(stale, stale)
    with pytest.raises(ModelError) as error:
        await reply(provider, asked)
    assert error.value.kind is ModelErrorKind.INVALID_REQUEST
    assert len(server.requests) == 4


async def test_results_in_a_row_become_one_message_and_blank_text_is_left_out(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    calls = (ToolUse("a", "get_weather", "{}"), ToolUse("b", "get_weather", "{}"))
    await reply(
        provider,
        request(
            UserMessage("hi"),
            AssistantMessage(" \n", calls),
            ToolResult("a", "get_weather", "1"),
            ToolResult("b", "get_weather", "2"),
            UserMessage("go on"),
            AssistantMessage(""),
            UserMessage("really"),
            tools=(TOOL,),
        ),
    )
    messages = server.requests[-1].body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    kinds = [block["type"] for block in messages[2]["content"]]
    assert kinds == ["tool_result", "tool_result", "text", "text"]
    assert [block["type"] for block in messages[1]["content"]] == ["tool_use", "tool_use"]


async def test_the_stable_prefix_is_marked_for_the_cache_and_nothing_else_changes_in_it(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    second = Tool("w", "now")
    history: list[Message] = [UserMessage("hi")]
    bodies: list[dict[str, Any]] = []
    for _ in range(2):
        await reply(provider, request(*history, tools=(TOOL, second)))
        bodies.append(server.requests[-1].body)
        history += [AssistantMessage("x"), UserMessage("more")]
    mark = {"type": "ephemeral"}
    for body in bodies:
        assert body["system"][-1]["cache_control"] == mark
        assert body["tools"][-1]["cache_control"] == mark
        assert "cache_control" not in body["tools"][0]
        assert body["messages"][-1]["content"][-1].pop("cache_control") == mark
        assert "cache_control" not in json.dumps(body["messages"])
    assert bodies[1]["messages"][:1] == bodies[0]["messages"]
    assert bodies[1]["tools"] == bodies[0]["tools"]


async def test_references_that_the_provider_would_refuse_are_replaced(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    first = AssistantMessage("", (ToolUse("", "now", "{}"), ToolUse("", "get_weather", "{}")))
    second = AssistantMessage("", (ToolUse("functions.now:0", "now", "{}"),))
    await reply(
        provider,
        request(
            UserMessage("hi"),
            first,
            ToolResult("", "get_weather", "rain"),
            ToolResult("", "now", "noon"),
            second,
            ToolResult("functions.now:0", "now", "one"),
        ),
    )
    messages = server.requests[-1].body["messages"]
    results = [block for message in messages[2::2] for block in message["content"]]
    assert [(block["tool_use_id"], block["content"]) for block in results] == [
        ("call_2", "rain"),
        ("call_1", "noon"),
        ("call_3", "one"),
    ]


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("end_turn", StopReason.END_TURN),
        ("max_tokens", StopReason.MAX_TOKENS),
        ("stop_sequence", StopReason.END_TURN),
        ("refusal", StopReason.REFUSAL),
        ("model_context_window_exceeded", StopReason.MAX_TOKENS),
        ("something_new", StopReason.END_TURN),
    ],
)
async def test_stop_reasons(
    server: FakeProvider, provider: AnthropicProvider, stop: str, expected: StopReason
) -> None:
    server.play(Say((Text(("x",)),), stop=stop))
    assert (await reply(provider, request())).stop_reason is expected


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (Fail(429, "rate_limit_error"), ModelErrorKind.RATE_LIMITED),
        (Fail(529, "overloaded_error"), ModelErrorKind.OVERLOADED),
        (Fail(503, "api_error"), ModelErrorKind.TRANSIENT),
        (Fail(503), ModelErrorKind.OVERLOADED),
        (Fail(500, "api_error"), ModelErrorKind.TRANSIENT),
        (Fail(502), ModelErrorKind.TRANSIENT),
        (Fail(504, "timeout_error"), ModelErrorKind.TRANSIENT),
        (Fail(401, "authentication_error"), ModelErrorKind.AUTHENTICATION),
        (Fail(403, "permission_error"), ModelErrorKind.AUTHENTICATION),
        (Fail(402, "billing_error"), ModelErrorKind.AUTHENTICATION),
        (
            Fail(400, "invalid_request_error", "Your credit balance is too low"),
            ModelErrorKind.AUTHENTICATION,
        ),
        (
            Fail(400, "invalid_request_error", "prompt is too long: 200001 tokens > 200000"),
            ModelErrorKind.CONTEXT_EXCEEDED,
        ),
        (
            Fail(400, "invalid_request_error", "input and max_tokens exceed context limit"),
            ModelErrorKind.CONTEXT_EXCEEDED,
        ),
        (Fail(413, "request_too_large"), ModelErrorKind.CONTEXT_EXCEEDED),
        (Fail(400, "invalid_request_error"), ModelErrorKind.INVALID_REQUEST),
        (Fail(404, "not_found_error"), ModelErrorKind.INVALID_REQUEST),
        (Fail(422), ModelErrorKind.INVALID_REQUEST),
    ],
)
async def test_refusals_are_classified_and_not_repeated(
    server: FakeProvider, provider: AnthropicProvider, fail: Fail, kind: ModelErrorKind
) -> None:
    server.play(fail)
    error = await failure(provider)
    assert error.kind is kind
    assert fail.message in error.message
    assert len(server.requests) == 1


async def test_retry_after_is_read_as_seconds_and_as_a_date(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    server.play(
        Fail(429, "rate_limit_error", headers={"retry-after": "7"}),
        Fail(429, "rate_limit_error", headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        Fail(429, "rate_limit_error", headers={"retry-after": "soon"}),
    )
    assert [(await failure(provider)).retry_after_s for _ in range(3)] == [7.0, 0.0, None]


async def test_a_key_that_is_refused_is_not_shown(server: FakeProvider) -> None:
    settings = ProviderSettings("anthropic", Adapter.ANTHROPIC, server.url, "wrong-key-9876")
    provider = await anthropic.connect(settings, ModelSettings("m"))
    error = await failure(provider)
    await provider.close()
    assert error.kind is ModelErrorKind.AUTHENTICATION
    assert "9876" not in error.message
    assert "9876" not in repr(settings)


@pytest.mark.parametrize(
    ("type", "kind"),
    [
        ("overloaded_error", ModelErrorKind.OVERLOADED),
        ("api_error", ModelErrorKind.TRANSIENT),
        ("rate_limit_error", ModelErrorKind.RATE_LIMITED),
    ],
)
async def test_an_error_inside_the_stream_has_its_usage(
    server: FakeProvider, provider: AnthropicProvider, type: str, kind: ModelErrorKind
) -> None:
    error = {"type": type, "message": "sorry"}
    server.play(Say((Text(("a", "b")),), error_after=4, error=error))
    failed = await failure(provider)
    assert failed.kind is kind
    assert failed.usage == ModelUsage(10, 1, cost_nanos=200)


@pytest.mark.parametrize("cut", [0, 1, 4, 7])
async def test_a_stream_that_is_cut_is_transient(
    server: FakeProvider, provider: AnthropicProvider, cut: int
) -> None:
    server.play(Say((Text(("a", "b")),), cut_after=cut))
    assert (await failure(provider)).kind is ModelErrorKind.TRANSIENT


@pytest.mark.parametrize("end", [0, 1, 4, 7])
async def test_a_stream_that_ends_too_early_is_transient(
    server: FakeProvider, provider: AnthropicProvider, end: int
) -> None:
    server.play(Say((Text(("a", "b")),), end_after=end))
    failed = await failure(provider)
    assert failed.kind is ModelErrorKind.TRANSIENT
    assert failed.usage.input_tokens == (10 if end else 0)


@pytest.mark.parametrize(
    "event",
    [
        b"event: message_start\ndata: {not json\n\n",
        b'event: x\ndata: {"type":"content_block_delta","index":3,"delta":{"type":"x"}}\n\n',
        b'event: news\ndata: {"type":"news"}\n\n',
        b"event: message_start\ndata: []\n\n",
    ],
)
async def test_a_stream_of_garbage_is_transient(
    server: FakeProvider, provider: AnthropicProvider, event: bytes
) -> None:
    server.play(Raw((event,)))
    assert (await failure(provider)).kind is ModelErrorKind.TRANSIENT


async def test_halves_of_characters_do_not_reach_the_transcript(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    use = Use("toolu_1", "say", ('{"t":"', "\ud83d", "\ude00", '"}'))
    server.play(Say((Text(("a\ud83d",)), use)))
    first, reply = await chunks(provider, request())
    assert first == TextDelta("a\ufffd")
    assert isinstance(reply, ModelReply)
    message = reply.message
    assert message.text == "a\ufffd"
    assert message.calls[0].arguments_json == '{"t":"😀"}'


async def test_nobody_listening_is_transient() -> None:
    settings = ProviderSettings("anthropic", Adapter.ANTHROPIC, "http://127.0.0.1:9", KEY)
    lost = await anthropic.connect(settings, ModelSettings("m"))
    assert (await failure(lost)).kind is ModelErrorKind.TRANSIENT
    await lost.close()


async def test_silence_beyond_the_limit_is_transient(server: FakeProvider) -> None:
    settings = ProviderSettings(
        "anthropic", Adapter.ANTHROPIC, server.url, KEY, idle_timeout_s=0.05
    )
    provider = await anthropic.connect(settings, ModelSettings("m"))
    server.play(Say((Text(("a", "b")),), hold_after=4))
    assert (await failure(provider)).kind is ModelErrorKind.TRANSIENT
    await provider.close()


async def test_closing_the_iterator_closes_the_connection(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    server.play(Say((Text(("a", "b")),), hold_after=4))
    async with aclosing(provider.model(ModelSettings("claude")).stream(request())) as stream:
        assert await anext(stream) == TextDelta("a")
    async with asyncio.timeout(10):
        await server.gone.wait()


async def test_cancelling_the_reader_closes_the_connection(
    server: FakeProvider, provider: AnthropicProvider
) -> None:
    server.play(Say((Text(("a", "b")),), hold_after=4))
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in provider.model(ModelSettings("claude")).stream(request()):
            begun.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(read())
        await begun.wait()
        task.cancel()
        await server.gone.wait()
