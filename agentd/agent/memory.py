"""What agents remember beyond a run. Pure data."""

import re
from enum import Enum
from typing import NewType

import msgspec

from agentd.agent.ids import Namespace, RunId
from agentd.agent.permission import NO_LABELS, Labels
from agentd.errors import invalid_field

MemoryId = NewType("MemoryId", str)
Vector = tuple[float, ...]
"""Coordinates of a text's meaning, of length 1."""

SHARED_SCOPE = "shared"
"""The scope of what is remembered without naming one."""

_SCOPE = re.compile(r"[A-Za-z0-9_.:@/-]{1,256}\Z")


class MemoryKind(Enum):
    """What sort of thing is remembered; the values are those of `agentd.v1.MemoryKind`."""

    WORKING = 1
    """Of use for a while: it always has a time at which it is forgotten."""
    EPISODE = 2
    """What happened."""
    FACT = 3
    """What is so. The same fact is kept once, and a later one may supersede it."""
    LESSON = 4
    """What to do another time."""

    def __init__(self, value: int) -> None:
        self.kept_once = value in (3, 4)
        """Whether remembering the same text again changes nothing."""


class Memory(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing remembered. Its text never changes: what contradicts it supersedes it."""

    namespace: Namespace
    id: MemoryId
    kind: MemoryKind
    scope: str
    text: str
    source_run: RunId | None = None
    source_revision: int = 0
    """The journal's revision when it was remembered."""
    labels: Labels = NO_LABELS
    """What its run had seen when it was remembered, which recalling it brings into another run."""
    supersedes: tuple[MemoryId, ...] = ()
    superseded_by: MemoryId | None = None
    """Set when it no longer holds: it is history, and not recalled."""
    create_time_ms: int = 0
    expire_time_ms: int = 0
    """0 means that it is never forgotten by itself."""

    def is_over(self, now_ms: int) -> bool:
        """Whether it is forgotten by itself."""
        return bool(self.expire_time_ms) and self.expire_time_ms <= now_ms


class Match(msgspec.Struct, frozen=True):
    """A memory that was found, and why. Ranks count from 1; 0 means: not found in this way."""

    memory: Memory
    score: float
    """How well it fits, 0 to 1; comparable within one answer only."""
    vector_rank: int = 0
    similarity: float = 0.0
    """The cosine between its vector and the query's; 0 without a vector rank."""
    word_rank: int = 0

    @property
    def why(self) -> str:
        """Return why it was found, for people: `vector #1 (0.83), words #2`."""
        parts = []
        if self.vector_rank:
            parts.append(f"vector #{self.vector_rank} ({self.similarity:.2f})")
        if self.word_rank:
            parts.append(f"words #{self.word_rank}")
        return ", ".join(parts)


class Method(msgspec.Struct, frozen=True):
    """How memories were searched."""

    store: str
    """What holds the vectors, such as `chroma`; empty when only words were compared."""
    embedder: str
    """What made the vectors, such as `minilm-l6-v2-int8`."""
    lexical: bool
    """Whether only spellings were compared, and no meanings."""
    faults: tuple[str, ...] = ()
    """What did not work, for people; each made the answer poorer, and none made it wrong."""


class Recall(msgspec.Struct, frozen=True):
    """What a search found, best first, and how."""

    matches: tuple[Match, ...]
    method: Method


class MemoryStatus(msgspec.Struct, frozen=True):
    """How the memory stands."""

    store: str
    embedder: str
    lexical: bool
    indexed_count: int
    pending_count: int
    """Memories that words find already and vectors do not yet."""
    faults: tuple[str, ...] = ()


def check_scope(value: str, field: str) -> str:
    """Return a scope, or raise InvalidRequest naming the field. A permission's scope may have `*`
    in it, and a memory's may not."""
    if not _SCOPE.match(value):
        raise invalid_field(
            field,
            f"{value[:80]!r} is not a scope: letters, digits and any of '_.:@/-', 1 to 256",
        )
    return value
