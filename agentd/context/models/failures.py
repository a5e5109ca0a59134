"""Why a provider's request failed, in the words of the vocabulary, and what its message may say."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time

from agentd.agent.message import ModelErrorKind

MESSAGE_CHARS = 400
RETRY_AFTER_LIMIT_S = 3600.0

_LABELS = {
    "api_error": ModelErrorKind.TRANSIENT,
    "authentication_error": ModelErrorKind.AUTHENTICATION,
    "billing_error": ModelErrorKind.AUTHENTICATION,
    "content_filter": ModelErrorKind.REFUSED,
    "content_policy_violation": ModelErrorKind.REFUSED,
    "context_length_exceeded": ModelErrorKind.CONTEXT_EXCEEDED,
    "exceed_context_size_error": ModelErrorKind.CONTEXT_EXCEEDED,
    # A key without credit stays so until a person tops the account up. That is the fault of the
    # credential, not of the request: neither repeating nor rewording helps, another key does.
    "insufficient_quota": ModelErrorKind.AUTHENTICATION,
    "invalid_api_key": ModelErrorKind.AUTHENTICATION,
    "overloaded_error": ModelErrorKind.OVERLOADED,
    "permission_error": ModelErrorKind.AUTHENTICATION,
    "rate_limit_error": ModelErrorKind.RATE_LIMITED,
    "rate_limit_exceeded": ModelErrorKind.RATE_LIMITED,
    # The body is larger than the provider reads: a shorter transcript helps, as it does for a
    # context that is exceeded.
    "request_too_large": ModelErrorKind.CONTEXT_EXCEEDED,
    "server_error": ModelErrorKind.TRANSIENT,
    "timeout_error": ModelErrorKind.TRANSIENT,
}
"""By the `type` or `code` of an error's body, at Anthropic, OpenAI, and llama.cpp's server."""

_STATUSES = {
    401: ModelErrorKind.AUTHENTICATION,
    402: ModelErrorKind.AUTHENTICATION,
    403: ModelErrorKind.AUTHENTICATION,
    408: ModelErrorKind.TRANSIENT,
    409: ModelErrorKind.TRANSIENT,
    413: ModelErrorKind.CONTEXT_EXCEEDED,
    429: ModelErrorKind.RATE_LIMITED,
    503: ModelErrorKind.OVERLOADED,
    529: ModelErrorKind.OVERLOADED,
}

_TOO_LONG = re.compile(
    r"prompt is too long|context (length|window|size|limit)|request too large|too many tokens",
    re.IGNORECASE,
)
_NO_CREDIT = re.compile(r"credit balance is too low", re.IGNORECASE)
_KEY_LIKE = re.compile(r"\bsk-[\w*-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def classify(status: int, labels: tuple[str, ...], message: str) -> ModelErrorKind:
    """Return why a request failed. A status below 400 means: inside a stream that had begun."""
    if status not in (401, 403) and _TOO_LONG.search(message):
        return ModelErrorKind.CONTEXT_EXCEEDED
    if status == 400 and _NO_CREDIT.search(message):
        return ModelErrorKind.AUTHENTICATION
    for label in labels:
        if label in _LABELS:
            return _LABELS[label]
    if status in _STATUSES:
        return _STATUSES[status]
    if 400 <= status < 500:
        return ModelErrorKind.INVALID_REQUEST
    return ModelErrorKind.TRANSIENT


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return what a `Retry-After` header asks for, in seconds: a number or a date (RFC 9110)."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT_S)


def presentable(message: str, secret: str) -> str:
    """Return a provider's message for people: one line, of bounded length, without the key."""
    if secret:
        message = message.replace(secret, "***")
    line = _CONTROL.sub(" ", _KEY_LIKE.sub("***", message)).strip()
    return line if len(line) <= MESSAGE_CHARS else line[: MESSAGE_CHARS - 1] + "…"
