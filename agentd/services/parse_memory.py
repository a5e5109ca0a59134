"""Read requests about memories into the vocabulary. Every refusal is INVALID_FIELD."""

from collections.abc import Sequence
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from agentd.agent.ids import Namespace, parse_name
from agentd.agent.memory import Memory, MemoryId, MemoryKind, check_scope
from agentd.agent.permission import Labels
from agentd.errors import invalid_field
from agentd.runtime.memories import MAX_SUPERSEDED
from agentd.runtime.shelving import MemoryQuery
from agentd.services import checks, parse
from agentd.services.checks import KIB
from agentd.v1 import memory_pb2

MAX_QUERY_BYTES = 32 * KIB
MAX_KINDS = 16
MAX_SECONDS = 253_402_300_799
"""The end of the year 9999."""


class Filter(Protocol):
    """The fields of every request for some memories."""

    @property
    def scope(self) -> str:
        """The scope; empty means any."""

    @property
    def kinds(self) -> Sequence[int]:
        """The kinds; empty means any."""


def memory_id(name: str, field: str = "name") -> MemoryId:
    """Return the id of `memories/{memory}`."""
    return MemoryId(parse_name(name, "memories", field))


def memory(message: memory_pb2.Memory, namespace: Namespace) -> Memory:
    """Return a memory that is to be created; its id is empty when the message has no name."""
    checks.count(message.supersedes, "memory.supersedes", at_most=MAX_SUPERSEDED)
    checks.long_text(message.text, "memory.text", at_most_bytes=checks.MAX_TEXT_BYTES, needed=True)
    run = message.source_run
    return Memory(
        namespace=namespace,
        id=memory_id(message.name, "memory.name") if message.name else MemoryId(""),
        kind=checks.choice(message.kind, MemoryKind, "memory.kind"),
        scope=check_scope(message.scope, "memory.scope") if message.scope else "",
        text=message.text,
        source_run=parse.run_id(run, "memory.source_run") if run else None,
        labels=Labels(message.untrusted, message.private),
        supersedes=tuple(
            memory_id(name, f"memory.supersedes[{index}]")
            for index, name in enumerate(message.supersedes)
        ),
        expire_time_ms=time_ms(message.expire_time, "memory.expire_time")
        if message.HasField("expire_time")
        else 0,
    )


def query(
    request: Filter, namespace: Namespace, *, include_superseded: bool = False
) -> MemoryQuery:
    """Return which memories are meant."""
    checks.count(request.kinds, "kinds", at_most=MAX_KINDS)
    return MemoryQuery(
        namespace,
        (check_scope(request.scope, "scope"),) if request.scope else (),
        frozenset(
            checks.choice(kind, MemoryKind, f"kinds[{index}]")
            for index, kind in enumerate(request.kinds)
        ),
        include_superseded,
    )


def fingerprint(query: MemoryQuery) -> tuple[str, ...]:
    """Return what makes the list of a query another one than that of another query."""
    kinds = ",".join(sorted(kind.name for kind in query.kinds))
    return (*query.scopes, kinds, str(query.include_superseded))


def search_text(value: str) -> str:
    """Return what is to be looked for."""
    return checks.long_text(value, "query", at_most_bytes=MAX_QUERY_BYTES, needed=True)


def time_ms(value: Timestamp, field: str) -> int:
    """Return a time in whole milliseconds since the epoch."""
    if not 0 <= value.seconds <= MAX_SECONDS or not 0 <= value.nanos < 10**9:
        raise invalid_field(field, "is not a valid time")
    return int(value.seconds) * 1000 + int(value.nanos) // 1_000_000
