"""Take secrets out of facts before they are recorded, and so out of all that is made of facts."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

Redact = Callable[[str], str]
Unsettled = Callable[[str], int]
"""Returns how many characters at the end of a text that goes on cannot be redacted yet."""

T = TypeVar("T")


def none_unsettled(_: str) -> int:
    """Say that every piece of a text can be passed on as it comes: there are no secrets."""
    return 0


def redacted(value: T, redact: Redact) -> T:
    """Return a text, or a struct with every text in it, redacted; the same object where nothing was
    found."""
    found: T = _redacted(value, redact)
    return found


def _redacted(value: Any, redact: Redact) -> Any:
    if type(value) is str:
        return redact(value)
    if type(value) is tuple:
        items = tuple(_redacted(item, redact) for item in value)
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if isinstance(value, msgspec.Struct):
        changed = {}
        for name in value.__struct_fields__:
            before = getattr(value, name)
            after = _redacted(before, redact)
            if after is not before:
                changed[name] = after
        return replace(value, **changed) if changed else value
    return value
