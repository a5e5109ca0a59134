"""What agentd is given to do: scripts of its model, and the tool that adds two integers."""

from collections.abc import Mapping

import msgspec

from agentd.agent.hosting import Invocation, Outcome, Succeeded
from agentd.agent.tool import EffectClass, Tool

TOOLSET = "bench"
PATH = f"{TOOLSET}/add"
SCHEMA = (
    '{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},'
    '"required":["a","b"]}'
)
FOR_EVER_MS = 3_600_000

ScriptSource = Mapping[str, object]

_ASK = {"calls": [{"tool": "add", "arguments": {"a": 1, "b": 2}}]}
_ENDLESS = 0
"""A turn that is repeated so often answers every further request."""


class _Numbers(msgspec.Struct):
    a: int
    b: int


_decode = msgspec.json.Decoder(_Numbers).decode


async def add(invocation: Invocation) -> Outcome:
    """Add two integers."""
    numbers = _decode(invocation.arguments_json)
    return Succeeded(str(numbers.a + numbers.b))


def manifest(effect: EffectClass = EffectClass.NON_IDEMPOTENT) -> Tool:
    """Return the tool's manifest. Unless it may be repeated, a step waits for its intent too."""
    return Tool(TOOLSET, "add", "Adds two integers.", SCHEMA, effect=effect)


def asking(steps: int) -> ScriptSource:
    """Return the script of a run of so many steps; 0 means without end."""
    turns: list[object] = [{**_ASK, "repeat": steps}]
    if steps != _ENDLESS:
        turns.append({"text": "done"})
    return {"conversations": [{"turns": turns}]}


def asking_once() -> ScriptSource:
    """Return the script of a run that takes one step and then waits for its model."""
    waiting = {"text": "done", "delay_ms": FOR_EVER_MS}
    return {"conversations": [{"turns": [_ASK, waiting]}]}


def silent() -> ScriptSource:
    """Return the script of a run whose model does not answer."""
    return {"conversations": [{"turns": [{"text": "done", "delay_ms": FOR_EVER_MS}]}]}
