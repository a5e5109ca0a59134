"""What a request brings to say who asks, over any carrier: the daemon's token and a namespace."""

import hmac
from functools import lru_cache

from agentd.agent.ids import Namespace, check_id
from agentd.errors import Denied, Reason

NAMESPACE_KEY = "agentd-namespace"
"""The metadata key, or header, that names the namespace of a request."""


def bears(authorization: str | bytes, token: str) -> bool:
    """Whether an `authorization` carries the token, compared in constant time."""
    given = authorization if isinstance(authorization, bytes) else authorization.encode()
    return hmac.compare_digest(given, f"Bearer {token}".encode())


def unauthenticated() -> Denied:
    """Return the error of a request without the token."""
    return Denied(Reason.UNAUTHENTICATED, "bring the daemon's token: 'authorization: Bearer …'")


@lru_cache(maxsize=1024)
def checked_namespace(value: str) -> Namespace:
    """Return a namespace. Raises InvalidRequest (INVALID_FIELD) for what is no id."""
    return Namespace(check_id(value, NAMESPACE_KEY))
