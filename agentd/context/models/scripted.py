"""A model that answers from a script: for tests, demonstrations and benchmarks."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence

from agentd.agent.budget import FREE, Prices
from agentd.agent.message import (
    AssistantMessage,
    Message,
    ModelChunk,
    ModelError,
    ModelErrorKind,
    ModelReply,
    ModelRequest,
    TextDelta,
    ToolResult,
    ToolUse,
    UserMessage,
)
from agentd.context.models.script import (
    PLACEHOLDER,
    Conversation,
    Fault,
    Script,
    ScriptError,
    Turn,
    load_script,
    pieces,
)
from agentd.context.models.settings import ModelSettings, ProviderSettings

CONTEXT_TOKENS = 200_000
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


class ScriptedModel:
    """A model that answers from a script. It keeps nothing between requests."""

    def __init__(self, script: Script, prices: Prices = FREE) -> None:
        self._script = script
        self._prices = prices

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """Answer as the script says. Raises ModelError where it says so, or has no answer."""
        turn = self._turn(request)
        reply, deltas = self._reply(turn, request)
        if turn.delay_s:
            await asyncio.sleep(turn.delay_s)
        fault = _fault(turn, request.attempt)
        if fault:
            deltas = deltas[: fault.after_chunks]
        for index, delta in enumerate(deltas):
            if index and turn.chunk_delay_s:
                await asyncio.sleep(turn.chunk_delay_s)
            yield delta
        if fault:
            usage = fault.usage if fault.usage.cost_nanos else fault.usage.priced(self._prices)
            raise ModelError(
                fault.kind, fault.message, retry_after_s=fault.retry_after_s, usage=usage
            )
        yield reply

    def _turn(self, request: ModelRequest) -> Turn:
        for conversation in self._script.conversations:
            if _holds(conversation, request):
                turn = _pick(conversation, request)
                if turn:
                    return turn
                break
        raise ModelError(
            ModelErrorKind.INVALID_REQUEST,
            f"{self._script.source}: there is no answer for turn {request.turn}",
        )

    def _reply(self, turn: Turn, request: ModelRequest) -> tuple[ModelReply, Sequence[TextDelta]]:
        text, deltas, calls = turn.text, turn.deltas, turn.calls
        if turn.templated:
            values = _values(request)
            text = PLACEHOLDER.sub(lambda found: values[found.group(1)], text)
            deltas = pieces(text, turn.chunks)
            calls = tuple((tool, _fill(arguments, values)) for tool, arguments in calls)
        if calls:
            run = _UNSAFE.sub("-", request.run) or "scripted"
            uses = tuple(
                ToolUse(f"{run}-{request.turn}-{index}", tool, arguments)
                for index, (tool, arguments) in enumerate(calls, 1)
            )
        else:
            uses = ()
        usage = turn.usage if turn.usage.cost_nanos else turn.usage.priced(self._prices)
        return ModelReply(AssistantMessage(text, uses), turn.stop, usage), deltas


class ScriptedProvider:
    """A script that was read from its file."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def model(self, settings: ModelSettings) -> ScriptedModel:
        """Return the model that answers from the script."""
        return ScriptedModel(self._script, settings.prices or FREE)

    async def close(self) -> None:
        """Do nothing: a script holds nothing open."""


async def connect(_provider: ProviderSettings, model: ModelSettings) -> ScriptedProvider:
    """Read a model's script in a thread. Raises ModelError (INVALID_REQUEST)."""
    assert model.path is not None
    try:
        return ScriptedProvider(await asyncio.to_thread(load_script, model.path))
    except ScriptError as error:
        raise ModelError(ModelErrorKind.INVALID_REQUEST, str(error)) from error


def _holds(conversation: Conversation, request: ModelRequest) -> bool:
    """Whether every condition of the conversation holds for the request."""
    if conversation.purpose and conversation.purpose is not request.purpose:
        return False
    if conversation.goal and not conversation.goal.search(_goal(request)):
        return False
    if conversation.last and not conversation.last.search(_last_user(request.messages)):
        return False
    pattern = conversation.instructions
    return pattern is None or pattern.search(request.instructions) is not None


def _pick(conversation: Conversation, request: ModelRequest) -> Turn | None:
    """Return the turn that answers the request."""
    turns = conversation.turns
    number = request.turn if conversation.by_turn else _answers(request.messages) + 1
    if number <= len(turns) and turns[number - 1].last_turn == number:
        return turns[number - 1]
    for turn in turns:
        if not turn.last_turn or number <= turn.last_turn:
            return turn
    return None


def _fault(turn: Turn, attempt: int) -> Fault | None:
    for fault in turn.faults:
        if not fault.last_attempt or attempt <= fault.last_attempt:
            return fault
    return None


def _goal(request: ModelRequest) -> str:
    """Return the user's text that began the run: the newest one before the run's first answer.

    A session's transcript holds earlier runs too; this run has given `turn - 1` answers.
    """
    answers = request.turn - 1
    text = ""
    for message in reversed(request.messages):
        if isinstance(message, AssistantMessage):
            if answers == 0 and text:
                break
            answers -= 1
        elif isinstance(message, UserMessage) and answers <= 0:
            text = message.text
    return text


def _last_user(messages: Sequence[Message]) -> str:
    for message in reversed(messages):
        if isinstance(message, UserMessage):
            return message.text
    return ""


def _answers(messages: Sequence[Message]) -> int:
    """Count the answers since the newest text of the user."""
    count = 0
    for message in reversed(messages):
        if isinstance(message, UserMessage):
            break
        count += isinstance(message, AssistantMessage)
    return count


def _values(request: ModelRequest) -> dict[str, str]:
    result = ""
    for message in reversed(request.messages):
        if isinstance(message, ToolResult):
            result = message.content
            break
    return {
        "goal": _goal(request),
        "last_user": _last_user(request.messages),
        "last_result": result,
        "run": request.run,
        "turn": str(request.turn),
    }


def _fill(arguments: str, values: Mapping[str, str]) -> str:
    """Replace placeholders inside the strings of a JSON text."""
    return PLACEHOLDER.sub(
        lambda found: json.dumps(values[found.group(1)], ensure_ascii=False)[1:-1], arguments
    )
