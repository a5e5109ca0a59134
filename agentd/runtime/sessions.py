"""Keep sessions: their names, their order, and which runs they have had."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import msgspec
from msgspec.structs import replace

from agentd.agent.events import RunState
from agentd.agent.ids import Namespace, RunId, SessionId
from agentd.agent.spec import Session
from agentd.errors import AlreadyExists, Conflict, NotFound, Reason
from agentd.runtime.claims import KeyedLocks, RequestClaims, request_digest
from agentd.runtime.ports import Clock, Entropy, Journal, Record, RunQuery

_SESSION = "session"
_SESSION_ORDER = "session-order"
"""The same bodies under ids that sort by age, newest first."""
_SESSION_RUN = "session-run"
"""The runs of a session: revision n of a session's id holds the id of its n-th run."""
_UNFINISHED = frozenset(state for state in RunState if not state.ended)


class SessionView(msgspec.Struct, frozen=True):
    """A session and how it stands."""

    session: Session
    last_run: RunId | None
    run_count: int
    update_time_ms: int

    @property
    def cursor(self) -> str:
        """The session's place in `list_sessions`."""
        return f"{10**16 - self.session.create_time_ms:016d}-{self.session.id}"


class Sessions:
    """Sessions, over the journal's documents. Nobody else writes these."""

    def __init__(
        self, journal: Journal, clock: Clock, entropy: Entropy, claims: RequestClaims
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self._claims = claims
        self._locks = KeyedLocks()

    async def create_session(self, session: Session, *, request_id: str = "") -> SessionView:
        """Store a session; an empty id is replaced by a new one.

        Raises AlreadyExists (NAME_TAKEN), InvalidRequest (REQUEST_ID_REUSED).
        """
        namespace, method, digest = session.namespace, "CreateSession", request_digest(session)
        async with self._claims.hold(namespace, request_id):
            answer = await self._claims.find(namespace, request_id, method, digest)
            if answer is not None:
                return await self.get_session(namespace, SessionId(answer))
            session_id = session.id or SessionId(self._entropy.id("s"))
            now = self._clock.now_ms()
            created = SessionView(replace(session, id=session_id, create_time_ms=now), None, 0, now)
            body = msgspec.msgpack.encode(created.session)
            claim = self._claims.records(namespace, request_id, method, digest, session_id)
            async with self.hold_session(namespace, session_id):
                if await self._journal.get(_SESSION, namespace, session_id):
                    raise _name_taken(session_id)
                await self._journal.put(
                    [
                        Record(_SESSION, namespace, session_id, body, 1, now),
                        Record(_SESSION_ORDER, namespace, created.cursor, body, 1, now),
                        *claim,
                    ],
                    expected_revision=0,
                )
            return created

    async def get_session(self, namespace: Namespace, session: SessionId) -> SessionView:
        """Return a session, or raise NotFound (SESSION_NOT_FOUND)."""
        record = await self._journal.get(_SESSION, namespace, session)
        if record is None:
            raise NotFound(
                Reason.SESSION_NOT_FOUND,
                f"there is no session {session!r}",
                metadata={"session": f"sessions/{session}"},
            )
        return await self._view(record)

    async def list_sessions(
        self, namespace: Namespace, *, after: str, limit: int
    ) -> Sequence[SessionView]:
        """Return sessions with cursors above `after`, newest first."""
        records = await self._journal.list_newest(
            _SESSION_ORDER, namespace, after=after, limit=limit
        )
        return [await self._view(record) for record in records]

    async def delete_session(self, namespace: Namespace, session: SessionId) -> None:
        """Delete a session.

        Raises NotFound (SESSION_NOT_FOUND), Conflict (SESSION_BUSY) while one of its runs is
        unfinished.
        """
        async with self.hold_session(namespace, session):
            view = await self.get_session(namespace, session)
            query = RunQuery(namespace, _UNFINISHED, session=session)
            busy = await self._journal.list_runs(query, before=None, limit=1)
            if busy:
                raise _session_busy(session, busy[0].run.identity.id)
            # In this order a crash leaves a session that can be deleted again.
            await self._journal.delete(_SESSION_ORDER, namespace, view.cursor)
            await self._journal.delete(_SESSION_RUN, namespace, session)
            await self._journal.delete(_SESSION, namespace, session)

    def hold_session(
        self, namespace: Namespace, session: SessionId
    ) -> AbstractAsyncContextManager[None]:
        """Keep others from deleting a session, or from counting a run of it, meanwhile."""
        return self._locks.hold((namespace, session))

    async def session_run(self, namespace: Namespace, session: SessionId, run: RunId) -> Record:
        """Return what is to be stored in the transaction that creates the session's next run.

        Call it under `hold_session`, and hold that until the run is stored. Raises NotFound
        (SESSION_NOT_FOUND).
        """
        view = await self.get_session(namespace, session)
        now, body = self._clock.now_ms(), run.encode()
        return Record(_SESSION_RUN, namespace, session, body, view.run_count + 1, now)

    async def _view(self, record: Record) -> SessionView:
        session = msgspec.msgpack.decode(record.body, type=Session)
        last = await self._journal.get(_SESSION_RUN, record.namespace, session.id)
        if last is None:
            return SessionView(session, None, 0, session.create_time_ms)
        return SessionView(session, RunId(last.body.decode()), last.revision, last.create_time_ms)


def _name_taken(session: SessionId) -> AlreadyExists:
    name = f"sessions/{session}"
    return AlreadyExists(Reason.NAME_TAKEN, f"{name} exists", metadata={"name": name})


def _session_busy(session: SessionId, run: RunId) -> Conflict:
    return Conflict(
        Reason.SESSION_BUSY,
        f"sessions/{session} has the unfinished run runs/{run}",
        metadata={"session": f"sessions/{session}", "run": f"runs/{run}"},
    )
