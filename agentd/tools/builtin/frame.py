"""The frame of the daemon's own tools: their manifests, their refusals and their results."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from agentd.agent.hosting import Invocation, Outcome, Succeeded
from agentd.agent.permission import NO_LABELS, Labels
from agentd.agent.tool import EffectClass, Tool

A = TypeVar("A")


class LocalTool(Protocol):
    """A tool that the daemon executes in its own process."""

    @property
    def manifest(self) -> Tool:
        """Return the tool as models see it."""

    def needs(self, arguments: Mapping[str, Any], workspace: str) -> Sequence[str]:
        """Return the permissions of a call, whose arguments fit the schema. Never raises."""

    async def __call__(self, invocation: Invocation) -> Outcome:
        """Execute or simulate a call. Nothing that it began outlives its cancellation."""


class Refused(Exception):
    """Says in one sentence, for the model, why a call failed."""


class Shapes(msgspec.Struct, frozen=True):
    """What a tool takes and returns."""

    arguments: type[msgspec.Struct]
    result: type[msgspec.Struct]


def manifest_of(
    path: str,
    description: str,
    shapes: Shapes,
    effect: EffectClass,
    *,
    simulate: bool = False,
    labels: Labels = NO_LABELS,
) -> Tool:
    """Return the manifest of `toolset/tool`, with the schemas of its structs."""
    toolset, _, name = path.partition("/")
    return Tool(
        toolset,
        name,
        description,
        _schema(shapes.arguments),
        _schema(shapes.result),
        effect,
        simulate=simulate,
        labels=labels,
    )


def decode(arguments_json: str, arguments: type[A]) -> A:
    """Return a call's arguments, or raise Refused."""
    try:
        return msgspec.json.decode(arguments_json or "{}", type=arguments)
    except msgspec.DecodeError as error:
        raise Refused(f"arguments: {error}") from None


def succeeded(result: msgspec.Struct) -> Succeeded:
    """Return a result as the outcome of its call."""
    return Succeeded(msgspec.json.encode(result).decode())


def _schema(shape: type[msgspec.Struct]) -> str:
    _, components = msgspec.json.schema_components((shape,), ref_template="#/$defs/{name}")
    schema = components.pop(shape.__name__)
    for part in (schema, *components.values()):
        part.pop("title", None)
        part.pop("description", None)  # The struct's own docstring
    if components:
        schema["$defs"] = components
    return msgspec.json.encode(schema).decode()
