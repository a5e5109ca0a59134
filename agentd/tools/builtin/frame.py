"""The frame of the daemon's own tools: their manifests, their refusals and their results."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar, assert_never

import msgspec

from agentd.agent.hosting import (
    Failed,
    Invocation,
    InvocationKind,
    Outcome,
    OutcomeUnknown,
    Succeeded,
)
from agentd.agent.permission import NO_LABELS, Labels
from agentd.agent.tool import EffectClass, Tool

MAX_ANSWER_BYTES = 128 * 1024
"""The most that a tool collects of names and lines. As JSON it may take six times that, which is
still less than what a result may have."""

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


def unfit(manifest: Tool, invocation: Invocation) -> Outcome | None:
    """Return the answer to a kind of invocation that a tool does not do; None if it does it."""
    match invocation.kind:
        case InvocationKind.EXECUTE:
            return None
        case InvocationKind.SIMULATE:
            return None if manifest.simulate else Failed(f"{manifest.path} cannot be simulated")
        case InvocationKind.RECONCILE:
            return OutcomeUnknown(f"{manifest.path} keeps no record of what it did")
        case _:
            assert_never(invocation.kind)


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
