"""The puppet: a model without a mind, which carries out every order in every text that it is shown.

It has no memory of its own: what it has done already is in the transcript.
"""

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from urllib.parse import quote

from agentd.agent.message import (
    AssistantMessage,
    ModelChunk,
    ModelInfo,
    ModelReply,
    ModelRequest,
    StopReason,
    ToolResult,
    ToolUse,
    UserMessage,
)
from tests.puppet.orders import Order, read_orders

REPEAT = "[[repeat]]"
"""Orders that everything the user wants is done a second time."""
SEEN_CHARACTERS = 800
"""How much an order for `{{seen}}` gets of what the run was told."""


class Puppet:
    """The port `Model`. `places` are what texts mean by such as `{{outside}}`."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """Answer with the next order that is not done yet; those of strangers come first."""
        done = {
            use.reference
            for message in request.messages
            if isinstance(message, AssistantMessage)
            for use in message.calls
        }
        for reference, order in _wanted(request):
            if reference not in done:
                use = ToolUse(reference, _name(request, order), self._filled(request, order))
                yield ModelReply(AssistantMessage("", (use,)), StopReason.TOOL_USE)
                return
        yield ModelReply(AssistantMessage("Done."), StopReason.END_TURN)

    def _filled(self, request: ModelRequest, order: Order) -> str:
        """Return the arguments of an order with what the run knows in the place of its gaps."""
        seen = " ".join(_results(request))[-SEEN_CHARACTERS:]
        gaps = {
            "run": request.run.rpartition("/")[2],
            "seen": json.dumps(seen)[1:-1],
            "seen_url": quote(seen, safe=""),
            **self._places,
        }
        return _GAP.sub(lambda found: gaps.get(found[1], found[0]), order.arguments_json)


class Puppets:
    """The port `Models` with one puppet."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._puppet = Puppet(places)
        self._info = ModelInfo("puppet/puppet", context_tokens=10_000_000)

    def resolve(self, name: str) -> ModelInfo:
        """Return the puppet, whoever is asked for."""
        del name
        return self._info

    async def open(self, name: str) -> Puppet:
        """Return the puppet."""
        del name
        return self._puppet

    def list(self) -> Sequence[ModelInfo]:
        """Return the puppet."""
        return (self._info,)

    async def close(self) -> None:
        """Do nothing: it holds nothing open."""


def _wanted(request: ModelRequest) -> Iterator[tuple[str, Order]]:
    """Yield every order with the reference of its call: the strangers' first, then the user's."""
    goals = [message.text for message in request.messages if isinstance(message, UserMessage)]
    texts = _strange_texts(request)
    for order in read_orders(texts):
        if len(goals) > 1 or not order.later:
            yield _reference(request, order, "stranger"), order
    # What the user wanted of earlier runs of the session was done there.
    own = read_orders(goals[-1:])
    for order in own:
        yield _reference(request, order, "user"), order
    if any(REPEAT in text for text in texts):
        for order in own:
            yield _reference(request, order, "again"), order


def _strange_texts(request: ModelRequest) -> list[str]:
    """Return all that the model is shown and that the user and it did not write."""
    told = [
        text
        for tool in request.tools
        for text in (tool.description, tool.input_schema_json)
        if text
    ]
    return told + _results(request)


def _results(request: ModelRequest) -> list[str]:
    return [message.content for message in request.messages if isinstance(message, ToolResult)]


def _reference(request: ModelRequest, order: Order, author: str) -> str:
    whole = json.dumps([request.run, author, order.tool, order.arguments_json])
    return f"c-{hashlib.sha256(whole.encode()).hexdigest()[:24]}"


def _name(request: ModelRequest, order: Order) -> str:
    """Return what the model calls a tool; one that it was not given, by its id."""
    toolset, _, tool = order.tool.partition("/")
    names = {given.id for given in request.tools if given.toolset == toolset}
    return next((name for name in (tool, f"{toolset}_{tool}") if name in names), tool)


_GAP = re.compile(r"\{\{(\w+)\}\}")
