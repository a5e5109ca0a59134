"""What a type hint means as JSON: its JSON Schema (2020-12), and the value that JSON stands for."""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NotRequired, Required, Union

Schema = dict[str, Any]


class UnsupportedType(TypeError):
    """A type hint that has no meaning as JSON."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A type as JSON."""

    schema: Schema
    decode: Callable[[Any], Any]
    """Turn a parsed JSON value into a value of the type, or raise ValueError."""


def shape_of(hint: Any, within: tuple[type, ...] = ()) -> Shape:
    """Return the shape of a type hint.

    Knows Any, None, bool, int, float, str, list and Sequence, dict and Mapping with str keys,
    Literal, Enum, Optional and Union, Annotated with a description, dataclasses and TypedDict.
    Raises UnsupportedType for anything else, and for a type that contains itself (`within`).
    """
    if hint is Any:
        return Shape({}, lambda value: value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _annotated(hint, within)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if origin is typing.Literal:
        return _choice(arguments)
    if origin in (Union, types.UnionType):
        return _union([shape_of(argument, within) for argument in arguments])
    if hint in (list, Sequence) or origin in (list, Sequence):
        return _array(shape_of(arguments[0] if arguments else Any, within))
    if hint in (dict, Mapping) or origin in (dict, Mapping):
        return _mapping(arguments, within)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enumeration(hint)
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or typing.is_typeddict(hint)):
        return _record(hint, within)
    raise UnsupportedType(f"{hint!r} has no meaning as JSON")


def _scalar(name: str, kinds: tuple[type, ...], convert: Callable[[Any], Any]) -> Shape:
    def decode(value: Any) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ValueError(f"{value!r} is not of the type {name}")
        return convert(value)

    return Shape({"type": name}, decode)


def _whole(value: float) -> int:
    """Return an integer: to JSON Schema, 3.0 is one too."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value!r} is not an integer")
    return int(value)


_NULL = _scalar("null", (type(None),), lambda value: value)
_SCALARS: dict[Any, Shape] = {
    None: _NULL,
    type(None): _NULL,
    bool: _scalar("boolean", (bool,), bool),
    int: _scalar("integer", (int, float), _whole),
    float: _scalar("number", (int, float), float),
    str: _scalar("string", (str,), str),
}


def _annotated(hint: Any, within: tuple[type, ...]) -> Shape:
    shape = shape_of(hint.__origin__, within)
    texts = [note for note in hint.__metadata__ if isinstance(note, str)]
    if not texts:
        return shape
    return Shape({**shape.schema, "description": " ".join(texts)}, shape.decode)


def _choice(values: Sequence[Any]) -> Shape:
    def decode(value: Any) -> Any:
        for candidate in values:
            if candidate == value and type(candidate) is type(value):
                return candidate
        raise ValueError(f"{value!r} is none of {list(values)!r}")

    return Shape({"enum": list(values)}, decode)


def _enumeration(kind: type[Enum]) -> Shape:
    values = [member.value for member in kind]
    if not all(isinstance(value, str | int | float) for value in values):
        raise UnsupportedType(f"the values of {kind.__name__} must be text or numbers")
    return Shape({"enum": values}, kind)


def _union(members: Sequence[Shape]) -> Shape:
    def decode(value: Any) -> Any:
        for member in members:
            try:
                return member.decode(value)
            except ValueError:
                continue
        raise ValueError(f"{value!r} is of none of the permitted types")

    return Shape({"anyOf": [member.schema for member in members]}, decode)


def _array(item: Shape) -> Shape:
    def decode(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list")  # noqa: TRY004 - it is JSON that is wrong
        return [item.decode(element) for element in value]

    return Shape({"type": "array", "items": item.schema}, decode)


def _mapping(arguments: Sequence[Any], within: tuple[type, ...]) -> Shape:
    if arguments and arguments[0] is not str:
        raise UnsupportedType("the keys of a JSON object are text: use dict[str, ...]")
    item = shape_of(arguments[1] if arguments else Any, within)

    def decode(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} is not an object")  # noqa: TRY004 - it is JSON that is wrong
        return {key: item.decode(element) for key, element in value.items()}

    return Shape({"type": "object", "additionalProperties": item.schema}, decode)


def _record(kind: type, within: tuple[type, ...]) -> Shape:
    if kind in within:
        raise UnsupportedType(f"{kind.__name__} contains itself")
    shapes: dict[str, Shape] = {}
    required: list[str] = []
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        needed = _is_required(kind, name, hint)
        if needed is None:
            continue
        if typing.get_origin(hint) in (Required, NotRequired):
            hint = typing.get_args(hint)[0]  # noqa: PLW2901
        shapes[name] = shape_of(hint, (*within, kind))
        if needed:
            required.append(name)
    return record_shape(shapes, required, kind)


def _is_required(kind: type, name: str, hint: Any) -> bool | None:
    """Say whether a key must be there; None for what is not a key at all."""
    if not dataclasses.is_dataclass(kind):
        origin = typing.get_origin(hint)
        return origin is Required or (origin is not NotRequired and bool(kind.__total__))  # type: ignore[attr-defined]
    for entry in dataclasses.fields(kind):
        if entry.name == name and entry.init:
            missing = dataclasses.MISSING
            return entry.default is missing and entry.default_factory is missing
    return None


def record_shape(
    shapes: Mapping[str, Shape], required: Sequence[str], make: Callable[..., Any] = dict
) -> Shape:
    """Return the shape of an object with these keys and no others, made by `make(**values)`."""

    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} is not an object")  # noqa: TRY004 - it is JSON that is wrong
        missing = [name for name in required if name not in value]
        unknown = [name for name in value if name not in shapes]
        if missing or unknown:
            raise ValueError(f"missing: {missing}, unknown: {unknown}")
        return make(**{name: shapes[name].decode(element) for name, element in value.items()})

    schema: Schema = {
        "type": "object",
        "properties": {name: shape.schema for name, shape in shapes.items()},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = list(required)
    return Shape(schema, decode)
