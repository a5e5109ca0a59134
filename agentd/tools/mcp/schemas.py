"""Make the input schema of a foreign tool ours: clean prose, our dialect, a bounded cost.

A schema is a program that we run on arguments which its author can suggest to the model. Of a
server that is not trusted we run only what ends soon; the rest is left to the server itself, which
has to check its arguments anyway.
"""

import re
from typing import Any

import msgspec

from agentd.tools.mcp.text import clean
from agentd.tools.weight import TooHeavy, weigh

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
        try:
            weigh(copy, MAX_WEIGHT, cut=True)
        except TooHeavy as error:
            raise Unusable(str(error)) from None
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
