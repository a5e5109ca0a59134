"""Text for terminals: nothing that a model or a tool wrote can move a cursor or hide a line."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_ESCAPES: Mapping[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "\u2421",
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    # Marks that reorder text can make it read as something else than it is.
    **{code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}


def clean(text: str) -> str:
    """Return text whose control characters are shown instead of obeyed. Newlines and tabs stay."""
    return text.replace("\r\n", "\n").translate(_ESCAPES)


def line(text: str, width: int = 0) -> str:
    """Return text as one clean line, cut to a width with an ellipsis; 0 means any width."""
    flat = clean(re.sub(r"\s+", " ", text).strip())
    return flat if not width or len(flat) <= width else flat[: max(width - 1, 0)] + "…"


def lower(name: str, prefix: str) -> str:
    """Return an enum value as words: `RUN_STATE_SUCCEEDED` without `RUN_STATE_`, in lower case."""
    return name.removeprefix(prefix).lower().replace("_", " ")


def age(since: datetime, now: datetime | None = None) -> str:
    """Return how long ago something was, in its largest unit: `42s`, `7m`, `3h`, `12d`."""
    seconds = int(((now or datetime.now(UTC)) - since).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


def age_of_time(since: Any) -> str:
    """Return how long ago a protobuf Timestamp was."""
    return age(since.ToDatetime(tzinfo=UTC))


def dollars(nanos: int) -> str:
    """Return an amount of billionths of a US dollar; empty for nothing."""
    return f"${nanos / 1e9:.4f}" if nanos else ""


def seconds_of(text: str) -> float:
    """Return the seconds of `90`, `90s`, `1.5m`, `2h`, `500ms`. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 90s, 5m or 2h")
    units = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
    return float(match[1]) * units[match[2]]


def resource(text: str, collection: str) -> str:
    """Return a resource name, given it or only its id."""
    return text if text.startswith(collection + "/") else f"{collection}/{text}"


def sentence(parts: Iterable[str]) -> str:
    """Join what is not empty with a middle dot."""
    return " · ".join(part for part in parts if part)


_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
"""Unicode's categories of characters that show nothing, or change how others are shown."""


def exact_json(text: str) -> str:
    """Return JSON in one canonical form, in which nothing can hide: sorted, indented, and every
    character escaped that is not plainly seen. What is no JSON, or would not be the same number in
    that form, is returned as it stands, escaped likewise."""
    shown = text
    try:
        value = json.loads(text)
        canonical = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
        if _exact(canonical) == _exact(text):
            shown = canonical
    except (ValueError, RecursionError):
        pass
    return "".join(char if _is_plain(char) else _escape(char) for char in shown)


def _exact(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def _is_plain(char: str) -> bool:
    return char in " \n" or unicodedata.category(char) not in _HIDDEN


def _escape(char: str) -> str:
    """Return a character as JSON escapes it."""
    return json.dumps(char, ensure_ascii=True)[1:-1]
