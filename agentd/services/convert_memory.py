"""Translate memories into the contract's messages."""

from agentd.agent.memory import Match, Memory, MemoryStatus, Method
from agentd.services.convert import timestamp
from agentd.v1 import memory_pb2, memory_service_pb2, system_service_pb2


def memory(value: Memory) -> memory_pb2.Memory:
    """Return a memory."""
    return memory_pb2.Memory(
        name=f"memories/{value.id}",
        kind=memory_pb2.MemoryKind.Name(value.kind.value),
        scope=value.scope,
        text=value.text,
        source_run=f"runs/{value.source_run}" if value.source_run else "",
        source_revision=value.source_revision,
        create_time=timestamp(value.create_time_ms),
        expire_time=timestamp(value.expire_time_ms),
        supersedes=[f"memories/{name}" for name in value.supersedes],
        superseded_by=f"memories/{value.superseded_by}" if value.superseded_by else "",
        untrusted=value.labels.untrusted,
        private=value.labels.private,
    )


def match(value: Match) -> memory_service_pb2.MemoryMatch:
    """Return a memory that was found, and why."""
    return memory_service_pb2.MemoryMatch(
        memory=memory(value.memory),
        score=value.score,
        vector_rank=value.vector_rank,
        similarity=value.similarity,
        word_rank=value.word_rank,
    )


def method(value: Method) -> memory_service_pb2.MemorySearchMethod:
    """Return how memories were searched."""
    return memory_service_pb2.MemorySearchMethod(
        store=value.store, embedder=value.embedder, lexical=value.lexical, faults=value.faults
    )


def status(value: MemoryStatus) -> system_service_pb2.MemoryStatus:
    """Return how the memory stands."""
    return system_service_pb2.MemoryStatus(
        store=value.store,
        embedder=value.embedder,
        lexical=value.lexical,
        indexed_count=value.indexed_count,
        pending_count=value.pending_count,
        faults=value.faults,
    )
