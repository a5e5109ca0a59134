"""Make text of a foreign server fit to be shown: all of it visible, and of bounded length."""

import re
from collections.abc import Mapping
from typing import Any

_INVISIBLE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but for tab and new line: escape sequences
    "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # bidi, joiners
    "\ud800-\udfff\ue000-\uf8ff"  # halves of characters, private use
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff"  # tags: a second, hidden alphabet
    "]"
)
"""Characters that a person does not see and a model reads."""


def clean(text: str, limit: int) -> str:
    """Return a text without invisible characters, and cut to `limit` characters, which it says."""
    seen = _INVISIBLE.sub("", text[: 4 * limit].replace("\r\n", "\n"))
    if len(seen) <= limit and len(text) <= 4 * limit:
        return seen
    return f"{seen[:limit]}… ({len(text) - min(len(seen), limit)} more characters)"


def clean_json(encoded: bytes) -> bytes:
    """Return JSON without the invisible characters that JSON does not escape."""
    return _INVISIBLE.sub("", encoded.decode()).encode()


def text_of(mapping: Mapping[str, Any], key: str) -> str:
    """Return a text of a foreign mapping, or an empty one."""
    value = mapping.get(key)
    return value if isinstance(value, str) else ""
