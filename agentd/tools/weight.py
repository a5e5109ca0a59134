"""Weigh a schema: how many of its parts apply to one value, each reference followed.

A schema of a kilobyte can apply a thousand million parts: each level refers twice to the next.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_PLAIN_DATA = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose value is data, not schemas."""
_DEFINITIONS = frozenset({"$defs", "definitions"})
"""Keywords whose schemas count only where something refers to them."""
_NAMED = frozenset({"properties", "dependentSchemas"})
"""Keywords whose value maps free names to schemas."""


class TooHeavy(Exception):
    """Says in one sentence why a schema cannot be run."""


def weigh(schema: dict[str, Any], limit: int, *, cut: bool = False) -> None:
    """Raise TooHeavy for a schema that applies more parts than the limit.

    A reference by which a schema would contain itself counts as nothing; with `cut`, it is taken
    out of the schema, and references that are not paths are refused.
    """
    try:
        _Scales(schema, limit, cut=cut).weigh(schema)
    except RecursionError:
        raise TooHeavy("its references lead too deep") from None


class _Scales:
    """Weighs the parts of one schema."""

    def __init__(self, root: dict[str, Any], limit: int, *, cut: bool) -> None:
        self._root = root
        self._limit = limit
        self._cut = cut
        self._weights: dict[int, int] = {}
        self._open: set[int] = set()

    def weigh(self, schema: Any) -> int:
        """Return the weight of a part."""
        if isinstance(schema, list):
            return sum(self.weigh(item) for item in schema)
        if not isinstance(schema, dict):
            return 0
        if id(schema) not in self._weights:
            self._open.add(id(schema))
            weight = 1 + self._follow(schema)
            weight += sum(self._weigh_keyword(key, value) for key, value in schema.items())
            if weight > self._limit:
                raise TooHeavy(f"more than {self._limit} of its parts apply to one value")
            self._open.remove(id(schema))
            self._weights[id(schema)] = weight
        return self._weights[id(schema)]

    def _weigh_keyword(self, key: str, value: Any) -> int:
        if key in _PLAIN_DATA or key in _DEFINITIONS:
            return 0
        if key in _NAMED and isinstance(value, dict):
            return sum(self.weigh(item) for item in value.values())
        return self.weigh(value)

    def _follow(self, schema: dict[str, Any]) -> int:
        if self._cut and "$dynamicRef" in schema:
            raise TooHeavy("it has a dynamic reference")
        if "$ref" not in schema:
            return 0
        target = self._target(schema["$ref"])
        if id(target) in self._open:
            if self._cut:
                del schema["$ref"]  # It would contain itself: there, anything will do.
            return 0
        return self.weigh(target)

    def _target(self, reference: Any) -> Any:
        target: Any = self._root
        path = unquote(reference) if isinstance(reference, str) else ""
        if path != "#" and not path.startswith("#/"):
            if not self._cut:
                return None  # By an anchor or an id: the checker finds out where it leads.
            raise TooHeavy("it refers to something by other means than a path within it")
        for part in path.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            match target:
                case Mapping() if key in target:
                    target = target[key]
                case list() if key.isdecimal() and int(key) < len(target):
                    target = target[int(key)]
                case _:
                    raise TooHeavy("it refers to nothing within it")
        return target
