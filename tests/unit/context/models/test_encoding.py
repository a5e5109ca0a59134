"""Messages are encoded once each, and what is kept is bounded."""

from agentd.agent.message import AssistantMessage, Message, ToolResult, ToolUse, UserMessage
from agentd.context.models.encoding import Encoder, sound, with_references


def test_a_message_is_encoded_once() -> None:
    encoded: list[Message] = []

    def encode(message: Message) -> tuple[bytes, ...]:
        encoded.append(message)
        return (b"x",)

    encoder = Encoder(encode)
    history: list[Message] = [UserMessage("a"), AssistantMessage("b")]
    encoder(history)
    encoder([*history, UserMessage("a")])
    assert encoded == [*history, UserMessage("a")]


def test_what_is_kept_is_bounded() -> None:
    def encode(message: Message) -> tuple[bytes, ...]:
        assert isinstance(message, UserMessage)
        return (message.text.encode(),)

    encoder = Encoder(encode, capacity_bytes=100)
    messages = [UserMessage(f"{number:060}") for number in range(50)]
    for message in messages:
        assert encoder([message]) == [(message, (message.text.encode(),))]
    large = UserMessage("x" * 1000)
    assert encoder([large])[0][1] == (b"x" * 1000,)
    assert len(encoder._kept) <= 1


def test_good_references_are_left_alone() -> None:
    messages: list[Message] = [
        AssistantMessage("", (ToolUse("a", "t", "{}"),)),
        ToolResult("a", "t", "1"),
    ]
    assert with_references(messages) is messages


def test_references_that_repeat_are_numbered_anew() -> None:
    answer = AssistantMessage("", (ToolUse("a", "t", "{}"),))
    result = ToolResult("a", "t", "1")
    numbered = with_references([answer, result, answer, result])
    names = [
        message.calls[0].reference if isinstance(message, AssistantMessage) else message.reference
        for message in numbered
        if not isinstance(message, UserMessage)
    ]
    assert names == ["call_1", "call_1", "call_2", "call_2"]


def test_sound_text_is_left_alone_and_halves_are_joined_or_replaced() -> None:
    assert sound("wörld 😀") == "wörld 😀"
    assert sound("\ud83d\ude00") == "😀"
    assert sound("a\ude00b") == "a\ufffdb"
