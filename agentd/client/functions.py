"""Makes a tool of a Python function: its manifest from its signature, its result as JSON."""

import contextlib
import dataclasses
import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal, TypeVar, overload

from agentd.client.context import ToolContext
from agentd.client.resources import duration
from agentd.client.shapes import Shape, UnsupportedType, record_shape, shape_of
from agentd.errors import invalid_field
from agentd.v1.tool_pb2 import EffectClass, Tool

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)
Effect = Literal["read_only", "idempotent", "non_idempotent", "irreversible"]

_MARK = "__agentd_tool__"
_EFFECTS: Mapping[str, EffectClass] = {
    "": EffectClass.EFFECT_CLASS_UNSPECIFIED,
    "read_only": EffectClass.EFFECT_CLASS_READ_ONLY,
    "idempotent": EffectClass.EFFECT_CLASS_IDEMPOTENT,
    "non_idempotent": EffectClass.EFFECT_CLASS_NON_IDEMPOTENT,
    "irreversible": EffectClass.EFFECT_CLASS_IRREVERSIBLE,
}


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """What `@tool` says of a function beside its signature."""

    effect: Effect | Literal[""] = ""
    timeout_s: float | None = None
    reconcile: Function | None = None
    simulate: Function | None = None
    permissions: tuple[str, ...] = ()
    untrusted: bool = False
    private: bool = False


@overload
def tool(function: F, /) -> F: ...


@overload
def tool(
    *,
    effect: Effect | Literal[""] = ...,
    timeout: float | None = ...,
    reconcile: Function | None = ...,
    simulate: Function | None = ...,
    permissions: Sequence[str] = ...,
    untrusted: bool = ...,
    private: bool = ...,
) -> Callable[[F], F]: ...


def tool(
    function: F | None = None,
    /,
    *,
    effect: Effect | Literal[""] = "",
    timeout: float | None = None,
    reconcile: Function | None = None,
    simulate: Function | None = None,
    permissions: Sequence[str] = (),
    untrusted: bool = False,
    private: bool = False,
) -> F | Callable[[F], F]:
    """Say what calling a function a second time would do, and more; return it unchanged.

    `effect` is `read_only`, `idempotent`, `non_idempotent` or `irreversible`; without it the
    tool behaves as irreversible. `timeout` is in seconds. `reconcile` takes the same arguments and
    finds out what became of an earlier call: it returns the result that was, or raises
    NotExecuted, OutcomeUnknown or ToolFailed. `simulate` predicts a result and does nothing.
    `permissions` are what a call needs beside the tool itself. `untrusted` says that results may
    hold words of a stranger, `private` that they must not leave without a person's consent.
    """
    if effect not in _EFFECTS:
        raise invalid_field("effect", f"{effect!r} is none of {', '.join(filter(None, _EFFECTS))}")
    options = ToolOptions(
        effect, timeout, reconcile, simulate, tuple(permissions), untrusted, private
    )

    def mark(marked: F) -> F:
        setattr(marked, _MARK, options)
        return marked

    return mark if function is None else mark(function)


def options_of(function: Function) -> ToolOptions | None:
    """Return what `@tool` said of a function, or None when it has no such mark."""
    return getattr(function, _MARK, None)


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's parameters as JSON."""

    function: Function
    arguments: Shape
    context: str = ""
    """The parameter that takes the ToolContext; empty when there is none."""

    def bind(self, arguments_json: str, context: ToolContext) -> dict[str, Any]:
        """Return the keyword arguments for a call. Raises ValueError for what does not fit."""
        values: dict[str, Any] = self.arguments.decode(json.loads(arguments_json or "{}"))
        if self.context:
            values[self.context] = context
        return values


@dataclass(frozen=True, slots=True)
class HostedTool:
    """A function ready to be offered."""

    manifest: Tool
    execute: Signature
    reconcile: Signature | None
    simulate: Signature | None


def hosted_tool(function: Function, toolset: str) -> HostedTool:
    """Return a function as a tool of a toolset.

    Raises InvalidRequest, naming the function and the parameter, when a type hint has no meaning
    as JSON, or a parameter cannot be given by name.
    """
    options = options_of(function) or ToolOptions()
    text, notes = _documentation(inspect.getdoc(function) or "")
    execute = _signature(function, notes)
    name = function.__name__
    manifest = Tool(
        name=f"toolsets/{toolset}/tools/{name}",
        description=text or name.replace("_", " "),
        input_schema_json=json.dumps(execute.arguments.schema, ensure_ascii=False),
        effect=_EFFECTS[options.effect],
        reconcile=options.reconcile is not None,
        simulate=options.simulate is not None,
        permissions=options.permissions,
        untrusted_results=options.untrusted,
        private_results=options.private,
    )
    if options.timeout_s is not None:
        manifest.timeout.CopyFrom(duration(options.timeout_s))
    return HostedTool(
        manifest,
        execute,
        _signature(options.reconcile, {}) if options.reconcile else None,
        _signature(options.simulate, {}) if options.simulate else None,
    )


def encode_result(value: Any) -> str:
    """Return a tool's result as JSON. Raises TypeError or ValueError for what JSON cannot hold."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_encode_special)


def _encode_special(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("JSON has no bytes: return text, or base64")
    raise TypeError(f"{type(value).__name__} has no meaning as JSON")


def _signature(function: Function, notes: Mapping[str, str]) -> Signature:
    hints = typing.get_type_hints(function, include_extras=True)
    shapes: dict[str, Shape] = {}
    required: list[str] = []
    context = ""
    for parameter in inspect.signature(function).parameters.values():
        where = f"{function.__name__}.{parameter.name}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise invalid_field(where, "a tool's parameters are given by name")
        hint = hints.get(parameter.name, Any)
        if hint is ToolContext:
            context = parameter.name
            continue
        shapes[parameter.name] = _described(_shape(hint, where), parameter, notes)
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return Signature(function, record_shape(shapes, required), context)


def _shape(hint: Any, where: str) -> Shape:
    try:
        return shape_of(hint)
    except UnsupportedType as error:
        raise invalid_field(where, str(error)) from error


def _described(shape: Shape, parameter: inspect.Parameter, notes: Mapping[str, str]) -> Shape:
    """Add to a parameter's schema what the docstring says of it, and its default."""
    schema = dict(shape.schema)
    if parameter.name in notes:
        schema.setdefault("description", notes[parameter.name])
    if parameter.default is not parameter.empty:
        # A default that JSON cannot hold still is one; the schema just does not show it.
        with contextlib.suppress(TypeError, ValueError):
            schema["default"] = json.loads(encode_result(parameter.default))
    return replace(shape, schema=schema)


_SECTION = re.compile(
    r"^(args|arguments|parameters|returns?|yields?|raises|examples?|notes?):\s*$", re.IGNORECASE
)
_ENTRY = re.compile(r"^(\s+)\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_FIELD = re.compile(r"^:param\s+(?:[\w\[\], |.]+\s)?(\w+):\s*(.*)$")


def _documentation(text: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into the text for the model and the notes on parameters.

    Reads the forms of Google (`Args:` with indented `name: note` lines) and Sphinx
    (`:param name: note`).
    """
    lines = text.splitlines()
    end = next(
        (i for i, line in enumerate(lines) if _SECTION.match(line) or line.startswith(":")),
        len(lines),
    )
    notes: dict[str, str] = {}
    current = indent = ""
    inside = False
    for line in lines[end:]:
        section, parameter, entry = _SECTION.match(line), _FIELD.match(line), _ENTRY.match(line)
        if section:
            inside, current = section[1].lower() in ("args", "arguments", "parameters"), ""
        elif parameter:
            current = parameter[1]
            notes[current] = parameter[2].strip()
        elif inside and entry and (not current or entry[1] == indent):
            indent, current = entry[1], entry[2]
            notes[current] = entry[3].strip()
        elif current and line.startswith((" ", "\t")) and line.strip():
            notes[current] = f"{notes[current]} {line.strip()}".strip()
        else:
            current = ""
    return "\n".join(lines[:end]).strip(), notes
