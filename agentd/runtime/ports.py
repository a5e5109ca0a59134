"""What the engine needs from outside, as one-purpose protocols. Adapters are built by daemon.py."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from agentd.agent.events import Entry, Event, RunState
from agentd.agent.hosting import Invocation, Outcome
from agentd.agent.ids import AgentId, Namespace, RunId, RunIdentity, RunKey, SessionId
from agentd.agent.lifecycle import NewMemory, RecalledMemory
from agentd.agent.memory import Memory, MemoryId, Vector
from agentd.agent.message import ModelChunk, ModelInfo, ModelRequest
from agentd.agent.permission import Judgement, Labels, Layer
from agentd.agent.run import Run, RunView
from agentd.agent.state import State
from agentd.agent.tool import Tool
from agentd.memory.place import Hit, Place


class Clock(Protocol):
    """Wall-clock time. Waiting goes through the event loop, whose time a simulation replaces."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch."""
        ...


class Entropy(Protocol):
    """Chance, so that a simulation can replay it."""

    def id(self, prefix: str) -> str:
        """Return a new resource id that starts with the prefix and sorts by time of making."""
        ...

    def token(self) -> str:
        """Return an unguessable token of 128 bits or more."""
        ...

    def fraction(self) -> float:
        """Return a number in [0, 1), for jitter."""
        ...


class Record(msgspec.Struct, frozen=True):
    """A stored document: one revision of an agent, a session, a tool, a request claim."""

    kind: str
    namespace: Namespace
    id: str
    body: bytes
    revision: int = 1
    create_time_ms: int = 0


class StoredRun(msgspec.Struct, frozen=True):
    """A run as the journal's index knows it, which may be older than its newest events."""

    run: Run
    snapshot: State | None = None
    """The state after event `snapshot_sequence`; None means: fold from the start."""
    snapshot_sequence: int = 0
    last_sequence: int = 0
    """The sequence of the newest event in the journal."""


class Checkpoint(msgspec.Struct, frozen=True):
    """What is written to the index together with an append: at life-cycle changes and when a run is
    parked."""

    view: RunView
    state: State | None = None
    """Stored as a snapshot when given; belongs to the last event of the same append."""


class RunQuery(msgspec.Struct, frozen=True):
    """Which runs of a namespace are listed. Unset means any."""

    namespace: Namespace
    states: frozenset[RunState] = frozenset()
    agent: AgentId | None = None
    session: SessionId | None = None


class Selector(msgspec.Struct, frozen=True):
    """Which entries are read or watched. Unset means any."""

    namespace: Namespace
    runs: frozenset[RunId] = frozenset()
    agent: AgentId | None = None
    session: SessionId | None = None
    kinds: frozenset[type[Event]] = frozenset()

    def matches(self, entry: Entry) -> bool:
        """Whether the entry is selected."""
        run = entry.run
        return (
            run.namespace == self.namespace
            and (not self.runs or run.id in self.runs)
            and (self.agent is None or run.agent == self.agent)
            and (self.session is None or run.session == self.session)
            and (not self.kinds or type(entry.event) in self.kinds)
        )


class Journal(Protocol):
    """The durable log of events, with an index of runs and a store of documents beside it.

    A write resolves only after it is durable. One that raises Unavailable with reason
    OUTCOME_UNKNOWN may or may not be stored: read again before deciding anything. Exhausted with
    reason DISK_FULL means it is not stored. Cancelling the caller does not cancel the write.
    """

    @property
    def revision(self) -> int:
        """The newest durable revision; 0 for an empty journal."""
        ...

    @property
    def oldest_revision(self) -> int:
        """The lowest revision that a reader may start after; rises with retention."""
        ...

    def next_run_key(self) -> RunKey:
        """Return a key that no run has had."""
        ...

    def subscribe(self, listener: Callable[[Sequence[Entry]], None]) -> None:
        """Have durable entries passed on, in the order of their revisions, on the event loop."""
        ...

    async def create_run(
        self, run: Run, events: Sequence[Event], records: Sequence[Record] = ()
    ) -> Sequence[Entry]:
        """Store a run with its first events, and documents, in one transaction.

        Raises AlreadyExists (NAME_TAKEN) when the run's id, or one of the documents at its
        revision, exists; then nothing is stored.
        """
        ...

    async def append(
        self,
        run: RunIdentity,
        after_sequence: int,
        events: Sequence[Event],
        checkpoint: Checkpoint | None = None,
        records: Sequence[Record] = (),
    ) -> Sequence[Entry]:
        """Append events to a run whose newest event has the sequence `after_sequence`, and store
        documents, in one transaction. A document that exists at its revision is replaced.

        Raises Conflict (CONCURRENT_UPDATE) when it has another; then nothing is stored.
        """
        ...

    async def get_run(self, namespace: Namespace, run: RunId) -> StoredRun | None:
        """Return a run of the index."""
        ...

    async def list_runs(
        self, query: RunQuery, *, before: RunKey | None, limit: int
    ) -> Sequence[StoredRun]:
        """Return runs with keys below `before`, newest first."""
        ...

    async def unfinished_runs(self) -> Sequence[StoredRun]:
        """Return every run of every namespace without a terminal state, oldest first."""
        ...

    async def read_run(
        self, run: RunIdentity, *, after_sequence: int = 0, limit: int = 0
    ) -> Sequence[Entry]:
        """Return the events of one run in order. A limit of 0 means all."""
        ...

    async def scan(
        self, selector: Selector, *, after_revision: int, limit: int
    ) -> tuple[Sequence[Entry], int]:
        """Return matching entries in order, and the revision up to which everything was looked at.

        Looks at a bounded stretch of the journal: fewer entries than the limit, or none, does not
        mean the end; a second value equal to `revision` does. Raises OutOfRange (COMPACTED) below
        `oldest_revision`.
        """
        ...

    async def put(self, records: Sequence[Record], *, expected_revision: int | None = None) -> None:
        """Store documents in one transaction.

        With `expected_revision`, the newest stored revision of the first record's id must be that
        (0: none), else Conflict (CONCURRENT_UPDATE). Without, an existing one of the same
        revision is replaced.
        """
        ...

    async def get(
        self, kind: str, namespace: Namespace, id: str, revision: int = 0
    ) -> Record | None:
        """Return a document at a revision; 0 means the newest."""
        ...

    async def list_newest(
        self, kind: str, namespace: Namespace, *, after: str, limit: int
    ) -> Sequence[Record]:
        """Return documents at their newest revisions with ids above `after`, ordered by id."""
        ...

    async def list_revisions(
        self, kind: str, namespace: Namespace, id: str, *, before: int, limit: int
    ) -> Sequence[Record]:
        """Return the revisions of one document below `before` (0: all), newest first."""
        ...

    async def namespaces(self, kind: str) -> Sequence[Namespace]:
        """Return the namespaces that have documents of a kind."""
        ...

    async def delete(self, kind: str, namespace: Namespace, id: str) -> bool:
        """Delete every revision of a document; return whether there was one."""
        ...


class Model(Protocol):
    """A model of some provider."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """Answer a request: any number of TextDelta, then exactly one ModelReply.

        Raises ModelError. Closing the iterator early stops the request at the provider.
        """
        ...


class Models(Protocol):
    """The models that are configured."""

    def resolve(self, name: str) -> ModelInfo:
        """Return a model by `provider/model`, by a bare model name that one provider lists, or the
        default for an empty name.

        Raises NotFound (MODEL_NOT_FOUND) naming what exists, or Conflict (NO_MODEL) when the name
        is empty and no model is ready.
        """
        ...

    async def open(self, name: str) -> Model:
        """Return the adapter of `provider/model`, loading what it needs off the event loop.

        Raises ModelError (AUTHENTICATION or INVALID_REQUEST) when it cannot be used.
        """
        ...

    def list(self) -> Sequence[ModelInfo]:
        """Return the models that are known by name, ordered by name."""
        ...

    async def close(self) -> None:
        """Release connections and loaded models."""
        ...


class LocalTool(Protocol):
    """A tool that runs in the daemon's own process, on its event loop."""

    @property
    def manifest(self) -> Tool:
        """The tool as a model and a person see it. Lists no permission: `needs` tells them."""
        ...

    def needs(self, arguments: Mapping[str, Any], workspace: str) -> Sequence[str]:
        """Return the permissions that a call needs, such as `fs.read:/srv/data/a.txt`.

        The arguments are schema-checked. Raises ValueError or InvalidRequest for arguments that
        make no sense all the same; the model is told.
        """
        ...

    async def __call__(self, invocation: Invocation) -> Outcome:
        """Execute a call, or say what it would do.

        Cancelling it stops everything it began; one that knows its outcome all the same leaves with
        `CancelledError(outcome)`.
        """
        ...


class Workspaces(Protocol):
    """The folders that the daemon's own tools work in."""

    def own(self, run: RunIdentity) -> str:
        """Return the absolute path of a run's own folder, which need not exist; empty when runs
        have none."""
        ...

    def named(self, path: str) -> str:
        """Return the path of an existing folder that a client names for a run. Blocks.

        Raises Denied (PERMISSION_DENIED) and InvalidRequest (INVALID_FIELD).
        """
        ...


class Remembering(Protocol):
    """What runs of the protocol `lifecycle` know of earlier work. Both raise AgentdError when it
    does not work: the run goes on without."""

    async def recall(self, run: RunIdentity, query: str) -> Sequence[RecalledMemory]:
        """Return what may help with a goal, best first: as many as a prompt should hold."""
        ...

    async def remember(
        self, run: RunIdentity, key: str, memories: Sequence[NewMemory], labels: Labels
    ) -> Sequence[str]:
        """Store what a run has learned, which has seen what `labels` say; return the names.

        What was stored under the same run and key before is not stored again: after a crash,
        nobody knows whether it was.
        """
        ...


class Judge(Protocol):
    """Says whether calls may be executed: `agentd/tools/permissions.py`."""

    def __call__(
        self, layers: Sequence[Layer], needs: Sequence[str], labels: Labels, *, outward: bool
    ) -> Judgement:
        """Judge a call by what it needs, and by what its run has seen."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors of length 1, whose cosine says how near the texts are."""

    @property
    def name(self) -> str:
        """Names the vectors: those of other names are never compared. Lower-case letters, digits
        and hyphens."""
        ...

    @property
    def lexical(self) -> bool:
        """Whether it compares spellings, and no meanings."""
        ...

    @property
    def floor(self) -> float:
        """The cosine below which two texts have nothing to do with each other."""
        ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return a vector for each text. Raises Unavailable (UNREACHABLE)."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


class MemoryStore(Protocol):
    """An index of memories, which can be made again from the journal: it may lack some for a while
    and have some that are gone. Requests raise Unavailable (UNREACHABLE) when it does not work, and
    Exhausted (LIMIT_REACHED) when too many wait."""

    @property
    def name(self) -> str:
        """What holds the vectors."""
        ...

    @property
    def faults(self) -> Sequence[str]:
        """What does not work, for people."""
        ...

    async def put(self, memories: Sequence[Memory]) -> None:
        """Have words find these, in place of what has their names; their vectors come later."""
        ...

    async def put_vectors(
        self, embedder: str, vectors: Sequence[tuple[Namespace, MemoryId, Vector]]
    ) -> None:
        """Have vectors find memories; those that are not there any more are left out."""
        ...

    async def remove(self, namespace: Namespace, ids: Sequence[MemoryId]) -> None:
        """Forget memories, those that are not there too."""
        ...

    async def by_words(self, place: Place, query: str, limit: int) -> Sequence[Hit]:
        """Return memories that share words with the query, the best first."""
        ...

    async def by_vector(
        self, place: Place, embedder: str, vector: Vector, limit: int
    ) -> Sequence[Hit]:
        """Return the memories whose vectors are nearest, the nearest first."""
        ...

    async def known(self, namespace: Namespace, after: str, limit: int) -> Sequence[MemoryId]:
        """Return the names above `after` of what is there, in order."""
        ...

    async def namespaces(self) -> Sequence[Namespace]:
        """Return the namespaces of which something is there."""
        ...

    async def without_vector(
        self, embedder: str, limit: int
    ) -> Sequence[tuple[Namespace, MemoryId]]:
        """Return memories that have no vector of this embedder."""
        ...

    async def count_without_vector(self, embedder: str) -> int:
        """Return how many memories have no vector of this embedder."""
        ...

    async def expired(self, now_ms: int, limit: int) -> Sequence[tuple[Namespace, MemoryId]]:
        """Return memories whose time has come, the oldest first."""
        ...

    async def count(self, namespace: Namespace | None = None) -> int:
        """Return how many memories are there."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...
