"""Where a search looks, and what it comes back with."""

import msgspec

from agentd.agent.ids import Namespace
from agentd.agent.memory import MemoryId, MemoryKind, Vector


class Place(msgspec.Struct, frozen=True):
    """The memories that may be found. Empty sets mean any."""

    namespace: Namespace
    now_ms: int
    scopes: frozenset[str] = frozenset()
    kinds: frozenset[MemoryKind] = frozenset()


class Hit(msgspec.Struct, frozen=True):
    """A memory that was found."""

    id: MemoryId
    similarity: float = 0.0
    """The cosine, of what a vector found."""


class Row(msgspec.Struct, frozen=True):
    """A vector and whose it is."""

    key: int
    """The memory's row in the ledger."""
    namespace: Namespace
    id: MemoryId
    scope: str
    kind: int
    vector: Vector
