"""Make the input schema of a foreign tool ours: clean prose, our dialect, a bounded cost.

A schema is a program that we run on arguments which its author can suggest to the model. Of a
server that is not trusted we run only what ends soon; the rest is left to the server itself, which
has to check its arguments anyway.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from agentd.tools.mcp.text import clean

MAX_PROSE = 2_000
"""The longest description within a schema, in characters."""
MAX_WEIGHT = 10_000
"""The most subschemas that may be applied to one value, each reference followed."""

_DRAFT = re.compile(r"https?://json-schema\.org/(draft-0[467]|draft/20\d\d-\d\d)/schema#?\Z")
_PROSE = frozenset({"title", "description", "$comment"})
"""Keywords whose value is text for people and models."""
_PLAIN_DATA = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose value is data, and must stay as it is."""
_DEFINITIONS = frozenset({"$defs", "definitions"})
"""Keywords whose schemas count only where something refers to them."""
_NAMED = frozenset({"properties", "dependentSchemas"})
"""Keywords whose value maps free names to schemas."""
_PATTERNS = frozenset({"pattern", "patternProperties"})
_REST = frozenset({"additionalProperties", "unevaluatedProperties"})
"""Keywords that mean something else without the patterns beside them."""


class Unusable(Exception):
    """The schema cannot be run."""


def schema_json(schema: Any, *, trusted: bool) -> str:
    """Return a schema in our dialect, or raise Unusable.

    The dialect of 2020-12 reads what most older schemas say. What it would read otherwise, such as
    `items` that is a list, is not valid in it; but for `dependencies`, which it ignores.
    """
    dialect = schema.get("$schema") if isinstance(schema, dict) else None
    if isinstance(dialect, str) and _DRAFT.match(dialect):
        schema = {key: value for key, value in schema.items() if key != "$schema"}
    copy = _copy(schema, patterns=trusted)
    if not trusted and isinstance(copy, dict):
        _Scales(copy).weigh()
    return msgspec.json.encode(copy).decode()


def _copy(schema: Any, *, patterns: bool) -> Any:
    """Copy a schema with clean prose, and with regular expressions or without."""
    match schema:
        case list():
            return [_copy(item, patterns=patterns) for item in schema]
        case dict():
            dropped = frozenset[str]()
            if not patterns:
                dropped = _PATTERNS | (_REST if "patternProperties" in schema else dropped)
            return {
                key: _copy_keyword(key, value, patterns=patterns)
                for key, value in schema.items()
                if key not in dropped
            }
        case _:
            return schema


def _copy_keyword(key: str, value: Any, *, patterns: bool) -> Any:
    if key in _PLAIN_DATA:
        return value
    if key in _PROSE and isinstance(value, str):
        return clean(value, MAX_PROSE)
    if key in _NAMED | _DEFINITIONS and isinstance(value, dict):
        return {name: _copy(item, patterns=patterns) for name, item in value.items()}
    return _copy(value, patterns=patterns)


class _Scales:
    """Weighs a schema, and cuts the references by which it would contain itself."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._weights: dict[int, int] = {}
        self._open: set[int] = set()

    def weigh(self) -> None:
        """Raise Unusable for a schema that weighs too much."""
        try:
            self._weigh(self._root)
        except RecursionError:
            raise Unusable("its references lead too deep") from None

    def _weigh(self, schema: Any) -> int:
        if isinstance(schema, list):
            return sum(self._weigh(item) for item in schema)
        if not isinstance(schema, dict):
            return 0
        if id(schema) not in self._weights:
            self._open.add(id(schema))
            weight = 1 + self._follow(schema)
            weight += sum(self._weigh_keyword(key, value) for key, value in schema.items())
            if weight > MAX_WEIGHT:
                raise Unusable(f"more than {MAX_WEIGHT} of its parts apply to one value")
            self._open.remove(id(schema))
            self._weights[id(schema)] = weight
        return self._weights[id(schema)]

    def _weigh_keyword(self, key: str, value: Any) -> int:
        if key in _PLAIN_DATA or key in _DEFINITIONS:
            return 0
        if key in _NAMED and isinstance(value, dict):
            return sum(self._weigh(item) for item in value.values())
        return self._weigh(value)

    def _follow(self, schema: dict[str, Any]) -> int:
        if "$dynamicRef" in schema:
            raise Unusable("it has a dynamic reference")
        if "$ref" not in schema:
            return 0
        target = self._target(schema["$ref"])
        if id(target) in self._open:
            del schema["$ref"]  # It would contain itself: there, anything will do.
            return 0
        return self._weigh(target)

    def _target(self, reference: Any) -> Any:
        target: Any = self._root
        path = unquote(reference) if isinstance(reference, str) else ""
        if path != "#" and not path.startswith("#/"):
            raise Unusable("it refers to something by other means than a path within it")
        for part in path.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            match target:
                case Mapping() if key in target:
                    target = target[key]
                case list() if key.isdecimal() and int(key) < len(target):
                    target = target[int(key)]
                case _:
                    raise Unusable("it refers to nothing within it")
        return target
