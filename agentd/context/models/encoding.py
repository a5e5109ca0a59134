"""Transcripts on their way to a provider: each message is encoded once, a request is a join."""

import re
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from agentd.agent.message import AssistantMessage, Message, ToolResult, ToolUse, UserMessage
from agentd.agent.tool import Tool

CACHE_BYTES = 16 * 1024 * 1024
NO_ARGUMENTS_SCHEMA = b'{"type":"object","properties":{}}'

_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")
"""What every provider takes as the id of a call: Anthropic by its pattern, OpenAI by its length."""


class Encoder:
    """Encodes messages, and remembers the bytes by the message's identity: messages never change,
    and a run's transcript holds the same ones in every request."""

    def __init__(
        self, encode: Callable[[Message], tuple[bytes, ...]], capacity_bytes: int = CACHE_BYTES
    ) -> None:
        self._encode = encode
        self._capacity = capacity_bytes
        self._size = 0
        self._kept: dict[int, tuple[Message, tuple[bytes, ...]]] = {}

    def __call__(self, messages: Sequence[Message]) -> list[tuple[Message, tuple[bytes, ...]]]:
        """Return each message with its provider's shape, in as many pieces as it has blocks."""
        settled = with_references(messages)
        if settled is not messages:  # These will not be seen again, so they are not kept.
            return [(message, self._encode(message)) for message in settled]
        kept = self._kept
        return [kept.get(id(message)) or self._keep(message) for message in messages]

    def _keep(self, message: Message) -> tuple[Message, tuple[bytes, ...]]:
        # The message is kept too, so that no other one can get its identity.
        entry = self._kept[id(message)] = (message, self._encode(message))
        self._size += sum(map(len, entry[1]))
        while self._size > self._capacity:
            _, dropped = self._kept.pop(next(iter(self._kept)))
            self._size -= sum(map(len, dropped))
        return entry


def with_references(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages with references that every provider takes.

    A transcript may have been begun by a provider that gives none, repeats them, or uses other
    letters. Then all calls are numbered anew; else the messages are returned as they are.
    """
    seen: set[str] = set()
    answers = (message for message in messages if isinstance(message, AssistantMessage))
    for call in (call for answer in answers for call in answer.calls):
        if call.reference in seen or not _REFERENCE.match(call.reference):
            return _renumbered(messages)
        seen.add(call.reference)
    return messages


def _renumbered(messages: Sequence[Message]) -> Sequence[Message]:
    renumbered: list[Message] = []
    count = 0
    open_calls: list[tuple[ToolUse, str]] = []
    for message in messages:
        match message:
            case AssistantMessage():
                open_calls = []
                for call in message.calls:
                    count += 1
                    open_calls.append((call, f"call_{count}"))
                calls = tuple(replace(call, reference=name) for call, name in open_calls)
                renumbered.append(replace(message, calls=calls))
            case ToolResult():
                renumbered.append(replace(message, reference=_answered(message, open_calls)))
            case UserMessage():
                renumbered.append(message)
    return renumbered


def _answered(result: ToolResult, open_calls: list[tuple[ToolUse, str]]) -> str:
    """Take the call that a result answers out of those that are open, and return its new name."""
    for index, (call, _) in enumerate(open_calls):
        same = call.reference == result.reference if result.reference else call.tool == result.tool
        if same:
            return open_calls.pop(index)[1]
    return open_calls.pop(0)[1] if open_calls else result.reference


def schema_json(tool: Tool) -> bytes:
    """Return the schema of a tool's arguments as JSON."""
    return tool.input_schema_json.encode() or NO_ARGUMENTS_SCHEMA


def sound(text: str) -> str:
    """Return text that is valid Unicode: halves of surrogate pairs are joined or replaced."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
