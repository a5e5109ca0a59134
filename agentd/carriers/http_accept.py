"""Choose what an answer is written as, by the `Accept` header (RFC 9110, 12.5.1)."""

from collections.abc import Sequence
from http import HTTPStatus

from agentd.carriers.http_errors import Refused
from agentd.errors import InvalidRequest, Reason


def choose(accept: str, offered: Sequence[str]) -> str:
    """Return the offered media type that a client likes best, the first of those it likes alike.

    Raises Refused with 406 when it takes none of them.
    """
    if not accept.strip():
        return offered[0]
    ranges = [_range(part) for part in accept.lower().split(",") if part.strip()]
    best = max(offered, key=lambda kind: _quality(kind, ranges))
    if _quality(best, ranges) > 0:
        return best
    error = InvalidRequest(
        Reason.MALFORMED_REQUEST,
        f"the answer can be {' or '.join(offered)}, of which Accept takes none",
        metadata={"offered": ", ".join(offered)},
    )
    raise Refused(error, HTTPStatus.NOT_ACCEPTABLE)


def _range(text: str) -> tuple[str, float]:
    """Return a media range and its quality. What is no number counts as 1."""
    kind, *parameters = (part.strip() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return kind, float(value)
            except ValueError:
                break
    return kind, 1.0


def _quality(kind: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the quality of the most specific range that covers a media type."""
    family = kind.partition("/")[0] + "/*"
    for wanted in (kind, family, "*/*"):
        for name, quality in ranges:
            if name == wanted:
                return quality
    return 0.0
