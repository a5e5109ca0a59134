"""Check single values of requests. Every refusal is INVALID_FIELD and names the field."""

import re
from collections.abc import Collection, Mapping, Sized
from enum import Enum
from typing import TypeVar

import msgspec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from agentd.agent.ids import check_id, check_tool_id
from agentd.errors import invalid_field

KIB = 1024
MIB = 1024 * KIB
MAX_DISPLAY_NAME = 200
MAX_REQUEST_ID = 128
MAX_REASON = 1024
MAX_MODEL_NAME = 256
MAX_TEXT_BYTES = MIB
MAX_ANNOTATIONS = 64
MAX_ANNOTATION_BYTES = 4 * KIB
MAX_PATTERNS = 1000
MAX_PATTERN = 128
MAX_DURATION_MS = 10 * 366 * 24 * 3_600_000
"""The longest of the durations that the contract sets no bound for: ten years."""

_PATTERN = re.compile(r"[A-Za-z0-9_*-]*(/[A-Za-z0-9_*-]*)?\Z")

E = TypeVar("E", bound=Enum)


def required(request: Message, field: str, path: str) -> None:
    """Refuse a message without this submessage."""
    if not request.HasField(field):
        raise invalid_field(path, "is required")


def text(value: str, field: str, *, at_most: int, needed: bool = False) -> str:
    """Return a short text of at most so many characters."""
    if needed and not value:
        raise invalid_field(field, "is required")
    if len(value) > at_most:
        raise invalid_field(field, f"has {len(value)} characters, and at most {at_most} may be")
    return value


def long_text(value: str, field: str, *, at_most_bytes: int, needed: bool = False) -> str:
    """Return a text of at most so many bytes."""
    if needed and not value:
        raise invalid_field(field, "is required")
    size = len(value.encode())
    if size > at_most_bytes:
        raise invalid_field(field, f"has {size} bytes, and at most {at_most_bytes} may be")
    return value


def json_text(value: str, field: str) -> str:
    """Return a text that is JSON."""
    long_text(value, field, at_most_bytes=MAX_TEXT_BYTES)
    try:
        msgspec.json.decode(value)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise invalid_field(field, f"is not valid JSON ({error})") from None
    return value


def number(value: int, field: str, *, least: int = 0, most: int | None = None) -> int:
    """Return a number in a range."""
    if value < least or (most is not None and value > most):
        span = f"at least {least}" if most is None else f"{least} to {most}"
        raise invalid_field(field, f"is {value}, and must be {span}")
    return value


def count(values: Sized, field: str, *, at_most: int) -> None:
    """Refuse a repeated field with too many values."""
    size = len(values)
    if size > at_most:
        raise invalid_field(field, f"has {size} entries, and at most {at_most} may be")


def choice(value: int, kind: type[E], field: str, *, unset: E | None = None) -> E:
    """Return the domain's value of an enum; 0 is `unset`, or refused without one."""
    if value == 0 and unset is not None:
        return unset
    try:
        return kind(value)
    except ValueError:
        raise invalid_field(field, f"has the value {value}, which means nothing here") from None


def duration_ms(
    value: Duration, field: str, *, least_ms: int = 0, most_ms: int = MAX_DURATION_MS
) -> int:
    """Return a duration in whole milliseconds, rounded up."""
    if abs(value.nanos) >= 1_000_000_000 or (value.seconds > 0) > (value.nanos >= 0):
        raise invalid_field(field, "is not a valid duration")
    ms = value.seconds * 1000 - (-value.nanos // 1_000_000)
    if not least_ms <= ms <= most_ms or value.seconds < 0 or value.nanos < 0:
        raise invalid_field(field, f"must be {least_ms / 1000:g} s to {most_ms / 1000:g} s")
    return ms


def request_id(value: str) -> str:
    """Return a request id; it may be empty."""
    return text(value, "request_id", at_most=MAX_REQUEST_ID)


def annotations(values: Mapping[str, str], field: str) -> dict[str, str]:
    """Return the client's data."""
    count(values, field, at_most=MAX_ANNOTATIONS)
    for key, value in values.items():
        size = len(key.encode()) + len(value.encode())
        if not key or size > MAX_ANNOTATION_BYTES:
            raise invalid_field(
                f"{field}[{key[:80]!r}]",
                f"must have a key, and at most {MAX_ANNOTATION_BYTES} bytes with it",
            )
    return dict(values)


def patterns(values: Collection[str], field: str) -> tuple[str, ...]:
    """Return patterns of tools: `toolset/tool`, with `*` for any run of characters."""
    count(values, field, at_most=MAX_PATTERNS)
    found = tuple(values)
    for index, pattern in enumerate(found):
        _check_pattern(pattern, f"{field}[{index}]")
    return found


def _check_pattern(pattern: str, field: str) -> None:
    if "*" in pattern:
        if len(pattern) > MAX_PATTERN or not _PATTERN.match(pattern):
            raise invalid_field(field, f"{pattern[:80]!r} is not a pattern of 'toolset/tool'")
        return
    toolset, separator, tool = pattern.partition("/")
    if not separator:
        raise invalid_field(field, f"{pattern[:80]!r} must have the form 'toolset/tool'")
    check_id(toolset, field)
    check_tool_id(tool, field)
