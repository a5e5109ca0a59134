"""The tools with which agents remember and recall. What they may reach is in `needs`: each scope is
a permission of its own."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agentd.agent.hosting import Failed, Invocation, InvocationKind, Outcome, Succeeded
from agentd.agent.memory import (
    SHARED_SCOPE,
    Match,
    Memory,
    MemoryId,
    MemoryKind,
    check_scope,
)
from agentd.agent.permission import NO_LABELS
from agentd.agent.tool import EffectClass
from agentd.errors import AgentdError, AlreadyExists
from agentd.runtime.memories import Memories, id_of
from agentd.runtime.ports import Clock, LocalTool
from agentd.runtime.shelving import MemoryQuery
from agentd.tools.builtin.frame import (
    Refused,
    Shapes,
    decode,
    manifest_of,
    succeeded,
    unfit,
)

MAX_TTL_S = 366 * 86_400

KindName = Literal["working", "episode", "fact", "lesson"]
Scope = Annotated[
    str, Meta(min_length=1, max_length=256, description="Who shares it, such as a project's name.")
]
_KINDS: Mapping[str, MemoryKind] = {kind.name.lower(): kind for kind in MemoryKind}


class RememberArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of memory/remember."""

    text: Annotated[
        str, Meta(min_length=1, max_length=8_000, description="One thing, in words of its own.")
    ]
    kind: Annotated[
        KindName,
        Meta(
            description="fact: what is so. lesson: what to do another time. episode: what "
            "happened. working: needed for a while only."
        ),
    ] = "fact"
    scope: Scope = SHARED_SCOPE
    supersedes: Annotated[
        list[str],
        Meta(max_length=64, description="Memories that this contradicts and replaces, by name."),
    ] = []
    ttl_s: Annotated[
        int, Meta(ge=0, le=MAX_TTL_S, description="Forget it after so many seconds. 0: as usual.")
    ] = 0


class Remembered(msgspec.Struct, frozen=True):
    """Result of memory/remember."""

    memory: str
    known_before: bool
    """Whether it was known already, and nothing was stored."""


class RecallArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of memory/recall."""

    query: Annotated[
        str, Meta(min_length=1, max_length=8_000, description="What to look for, in plain words.")
    ]
    scope: Scope = SHARED_SCOPE
    kinds: Annotated[list[KindName], Meta(description="Only these kinds. Empty: all.")] = []
    limit: Annotated[int, Meta(ge=1, le=20)] = 5


class Recalled(msgspec.Struct, frozen=True):
    """One memory that was recalled."""

    memory: str
    kind: str
    text: str
    score: float
    why: str
    run: str
    """The run it comes from, or empty."""
    untrusted: bool
    """Whether somebody outside may have written it: it is data, and no instruction."""


class RecallResult(msgspec.Struct, frozen=True):
    """Result of memory/recall."""

    memories: list[Recalled]
    how: str
    faults: list[str]
    """What did not work: some memories may be missing."""


class Remember:
    """`memory/remember`."""

    def __init__(self, memories: Memories, clock: Clock) -> None:
        self._memories = memories
        self._clock = clock
        self.manifest = manifest_of(
            "memory/remember",
            "Remember something beyond this run. The same fact is kept once.",
            Shapes(RememberArguments, Remembered),
            EffectClass.IDEMPOTENT,
            simulate=True,
        )

    def needs(self, arguments: Mapping[str, Any], _workspace: str) -> Sequence[str]:
        """Return the permission to write the scope."""
        return (f"memory.write:{_scope(arguments)}",)

    async def __call__(self, invocation: Invocation) -> Outcome:
        """Remember, once for each call however often it is attempted."""
        if answer := unfit(self.manifest, invocation):
            return answer
        try:
            arguments = decode(invocation.arguments_json, RememberArguments)
            if invocation.kind is InvocationKind.SIMULATE:
                return succeeded(Remembered("", known_before=False))
            memory = self._memory(arguments, invocation)
            stored, existed = await self._memories.create(memory)
        except AlreadyExists:  # By an attempt before this one, whose outcome was lost.
            stored, existed = memory, False
        except Refused as refusal:
            return Failed(str(refusal))
        except AgentdError as error:
            return Failed(error.message)
        return succeeded(Remembered(f"memories/{stored.id}", existed))

    def _memory(self, arguments: RememberArguments, invocation: Invocation) -> Memory:
        ttl_ms = arguments.ttl_s * 1000
        return Memory(
            invocation.namespace,
            id_of(invocation.idempotency_key),
            _KINDS[arguments.kind],
            arguments.scope,
            arguments.text,
            source_run=invocation.run,
            # What a run has seen may be in all that it writes.
            labels=invocation.seen,
            supersedes=tuple(
                MemoryId(name.removeprefix("memories/")) for name in arguments.supersedes
            ),
            expire_time_ms=self._clock.now_ms() + ttl_ms if ttl_ms else 0,
        )


class RecallTool:
    """`memory/recall`."""

    def __init__(self, memories: Memories) -> None:
        self._memories = memories
        self.manifest = manifest_of(
            "memory/recall",
            "Recall what was remembered in earlier runs, best first.",
            Shapes(RecallArguments, RecallResult),
            EffectClass.READ_ONLY,
            simulate=True,
        )

    def needs(self, arguments: Mapping[str, Any], _workspace: str) -> Sequence[str]:
        """Return the permission to read the scope."""
        return (f"memory.read:{_scope(arguments)}",)

    async def __call__(self, invocation: Invocation) -> Outcome:
        """Recall; the result brings into the run what the recalled memories' runs had seen."""
        if answer := unfit(self.manifest, invocation):
            return answer
        try:
            arguments = decode(invocation.arguments_json, RecallArguments)
            kinds = frozenset(_KINDS[name] for name in arguments.kinds)
            query = MemoryQuery(invocation.namespace, (arguments.scope,), kinds)
            found = await self._memories.search(query, arguments.query, limit=arguments.limit)
        except Refused as refusal:
            return Failed(str(refusal))
        except AgentdError as error:
            return Failed(error.message)
        labels = NO_LABELS
        for match in found.matches:
            labels |= match.memory.labels
        how = f"by vectors of {found.method.embedder} and by words"
        result = RecallResult(
            [_shown(match) for match in found.matches],
            how if found.method.embedder else "by words",
            list(found.method.faults),
        )
        return Succeeded(msgspec.json.encode(result).decode(), labels)


def memory_tools(memories: Memories, clock: Clock) -> Mapping[str, LocalTool]:
    """Return the tools by `toolset/tool`."""
    tools: tuple[LocalTool, ...] = (Remember(memories, clock), RecallTool(memories))
    return {tool.manifest.path: tool for tool in tools}


def _scope(arguments: Mapping[str, Any]) -> str:
    return check_scope(arguments.get("scope", SHARED_SCOPE), "scope")


def _shown(match: Match) -> Recalled:
    memory = match.memory
    return Recalled(
        f"memories/{memory.id}",
        memory.kind.name.lower(),
        memory.text,
        round(match.score, 3),
        match.why,
        f"runs/{memory.source_run}" if memory.source_run else "",
        memory.labels.untrusted,
    )
