"""Keep agents: their names, their revisions, and what remains of the deleted ones."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from agentd.agent.ids import DEFAULT_AGENT, AgentId, Namespace
from agentd.agent.permission import Grant
from agentd.agent.spec import Agent
from agentd.errors import AlreadyExists, Conflict, NotFound, Reason
from agentd.protocol.approvals import MAX_GRANTS
from agentd.runtime.claims import KeyedLocks, RequestClaims, request_digest
from agentd.runtime.kept import Kept
from agentd.runtime.ports import Clock, Entropy, Journal, Record

CHANGEABLE = frozenset(
    {
        "display_name",
        "instructions",
        "models",
        "tools",
        "budget",
        "protocol",
        "on_unknown",
        "max_parallel_calls",
        "permissions",
        "grants",
        "annotations",
        "require_plan_approval",
        "phase_prompts",
    }
)
"""The fields of an agent that an update may name."""
MAX_CACHED = 1024
"""The most agents whose newest revision is kept in memory."""
SHOWN = 10
"""How many of the agents that exist an error names."""

_AGENT = "agent"
"""Bodies are encoded agents; an empty one says that the agent was deleted. Revisions before it
stay, because runs in progress keep theirs, and a new agent of the same name counts on from it."""


class Library:
    """Agents, over the journal's documents. Nobody else writes these."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        entropy: Entropy,
        claims: RequestClaims,
        default_agent: Agent,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self._claims = claims
        self._default_agent = default_agent
        self._locks = KeyedLocks()
        self._newest: dict[tuple[Namespace, AgentId], Agent] = {}
        self._kept: Kept[tuple[Namespace, AgentId, int], Agent] = Kept(MAX_CACHED)
        """Revisions, which never change, that runs have asked for."""
        self._writes = 0

    async def create_agent(self, agent: Agent, *, request_id: str = "") -> Agent:
        """Store an agent at revision 1, or one above what a deleted one of its name had.

        An empty id is replaced by a new one. Raises AlreadyExists (NAME_TAKEN), InvalidRequest
        (REQUEST_ID_REUSED).
        """
        namespace, method, digest = agent.namespace, "CreateAgent", request_digest(agent)
        async with self._claims.hold(namespace, request_id):
            answer = await self._claims.find(namespace, request_id, method, digest)
            if answer is not None:
                return await self._answered(namespace, answer)
            agent_id = agent.id or AgentId(self._entropy.id("a"))
            async with self._locks.hold((namespace, agent_id)):
                last = await self._journal.get(_AGENT, namespace, agent_id)
                if last is not None and last.body:
                    raise _name_taken(agent_id)
                now, revision = self._clock.now_ms(), last.revision + 1 if last else 1
                created = replace(
                    agent, id=agent_id, revision=revision, create_time_ms=now, update_time_ms=now
                )
                claim = self._claims.records(
                    namespace, request_id, method, digest, _answer(created)
                )
                return await self._store(created, claim)

    async def get_agent(self, namespace: Namespace, agent: AgentId, revision: int = 0) -> Agent:
        """Return an agent at a revision; 0 means the newest. The agent `default` always exists.

        Raises NotFound (AGENT_NOT_FOUND) naming the agents that there are.
        """
        newest = await self._find_newest(namespace, agent)
        if newest is None:
            if agent != DEFAULT_AGENT:
                raise await self._unknown_agent(namespace, agent)
            newest = await self._make_default(namespace)
        if revision in (0, newest.revision):
            return newest
        record = await self._journal.get(_AGENT, namespace, agent, revision)
        found = _decode_agent(record) if record is not None and record.body else None
        if found is None or found.create_time_ms != newest.create_time_ms:
            raise _unknown_revision(agent, revision, newest.revision)
        return found

    async def get_kept_agent(self, namespace: Namespace, agent: AgentId, revision: int) -> Agent:
        """Return the revision that a run keeps, even when the agent was deleted since.

        Raises NotFound (AGENT_NOT_FOUND) when it never existed.
        """
        place = (namespace, agent, revision)
        kept = self._kept.get(place)
        if kept is None:
            record = await self._journal.get(_AGENT, namespace, agent, revision)
            if record is None or not record.body:
                raise _unknown_revision(agent, revision, 0)
            kept = self._kept.keep(place, _decode_agent(record))
        return kept

    async def list_agents(self, namespace: Namespace, *, after: str, limit: int) -> Sequence[Agent]:
        """Return agents at their newest revisions with ids above `after`, ordered by id."""
        agents: list[Agent] = []
        while len(agents) < limit:
            wanted = limit - len(agents)
            records = await self._journal.list_newest(_AGENT, namespace, after=after, limit=wanted)
            agents += [_decode_agent(record) for record in records if record.body]
            if len(records) < wanted:
                break
            after = records[-1].id
        return agents

    async def update_agent(
        self, agent: Agent, *, fields: frozenset[str], etag: str, request_id: str = ""
    ) -> Agent:
        """Store the next revision, with these fields taken from `agent`; none means all of
        CHANGEABLE. When nothing changes, return the present revision.

        Raises NotFound (AGENT_NOT_FOUND), Conflict (ETAG_MISMATCH) when a non-empty etag is not the
        present one's, InvalidRequest (REQUEST_ID_REUSED).
        """
        namespace, method = agent.namespace, "UpdateAgent"
        digest = request_digest((agent, sorted(fields), etag))
        async with self._claims.hold(namespace, request_id):
            answer = await self._claims.find(namespace, request_id, method, digest)
            if answer is not None:
                return await self._answered(namespace, answer)
            await self.get_agent(namespace, agent.id)
            async with self._locks.hold((namespace, agent.id)):
                present = await self._present(namespace, agent.id)
                if etag and etag != etag_of(present):
                    raise _etag_mismatch(present)
                changed = replace(present, **_changes(agent, fields or CHANGEABLE))
                if changed != present:
                    changed = replace(
                        changed,
                        revision=present.revision + 1,
                        update_time_ms=self._clock.now_ms(),
                    )
                claim = self._claims.records(
                    namespace, request_id, method, digest, _answer(changed)
                )
                if changed == present:
                    if claim:
                        await self._journal.put(claim)
                    return present
                return await self._store(changed, claim)

    async def add_grant(self, namespace: Namespace, agent: AgentId, grant: Grant) -> Agent:
        """Store the next revision, with one more grant; the present one when it has that.

        Raises NotFound (AGENT_NOT_FOUND).
        """
        async with self._locks.hold((namespace, agent)):
            present = await self._present(namespace, agent)
            if grant in present.grants:
                return present
            changed = replace(
                present,
                grants=(*present.grants, grant)[-MAX_GRANTS:],
                revision=present.revision + 1,
                update_time_ms=self._clock.now_ms(),
            )
            return await self._store(changed, ())

    async def delete_agent(self, namespace: Namespace, agent: AgentId) -> None:
        """Delete an agent. Its revisions stay for the runs that keep them.

        Raises NotFound (AGENT_NOT_FOUND).
        """
        await self.get_agent(namespace, agent)
        async with self._locks.hold((namespace, agent)):
            newest = await self._present(namespace, agent)
            gone = Record(_AGENT, namespace, agent, b"", newest.revision + 1, self._clock.now_ms())
            self._forget(namespace, agent)
            await self._journal.put([gone], expected_revision=newest.revision)
            self._forget(namespace, agent)

    async def list_agent_revisions(
        self, namespace: Namespace, agent: AgentId, *, before: int, limit: int
    ) -> Sequence[Agent]:
        """Return an agent at its revisions below `before` (0: all), newest first.

        Raises NotFound (AGENT_NOT_FOUND).
        """
        newest = await self.get_agent(namespace, agent)
        records = await self._journal.list_revisions(
            _AGENT, namespace, agent, before=before, limit=limit
        )
        revisions = (_decode_agent(record) for record in records if record.body)
        return [each for each in revisions if each.create_time_ms == newest.create_time_ms]

    async def _find_newest(self, namespace: Namespace, agent: AgentId) -> Agent | None:
        cached = self._newest.get((namespace, agent))
        if cached is not None:
            return cached
        writes = self._writes
        record = await self._journal.get(_AGENT, namespace, agent)
        if record is None or not record.body:
            return None
        found = _decode_agent(record)
        if writes == self._writes:  # What was read before a write ended may be old.
            self._remember(found)
        return found

    async def _present(self, namespace: Namespace, agent: AgentId) -> Agent:
        newest = await self._find_newest(namespace, agent)
        if newest is None:
            raise await self._unknown_agent(namespace, agent)
        return newest

    async def _make_default(self, namespace: Namespace) -> Agent:
        async with self._locks.hold((namespace, DEFAULT_AGENT)):
            found = await self._find_newest(namespace, DEFAULT_AGENT)
            if found is not None:
                return found
            last = await self._journal.get(_AGENT, namespace, DEFAULT_AGENT)
            now = self._clock.now_ms()
            made = replace(
                self._default_agent,
                namespace=namespace,
                id=DEFAULT_AGENT,
                revision=last.revision + 1 if last else 1,
                create_time_ms=now,
                update_time_ms=now,
            )
            return await self._store(made, ())

    async def _store(self, agent: Agent, claim: Sequence[Record]) -> Agent:
        body = msgspec.msgpack.encode(agent)
        record = Record(
            _AGENT, agent.namespace, agent.id, body, agent.revision, agent.update_time_ms
        )
        # Forgotten first: after a write with unknown outcome the journal is asked again.
        self._forget(agent.namespace, agent.id)
        await self._journal.put([record, *claim], expected_revision=agent.revision - 1)
        self._forget(agent.namespace, agent.id)
        self._remember(agent)
        return agent

    async def _answered(self, namespace: Namespace, answer: str) -> Agent:
        agent, _, revision = answer.partition("@")
        return await self.get_agent(namespace, AgentId(agent), int(revision))

    async def _unknown_agent(self, namespace: Namespace, agent: AgentId) -> NotFound:
        known = await self.list_agents(namespace, after="", limit=SHOWN)
        existing = ", ".join(each.id for each in known) or "none"
        return NotFound(
            Reason.AGENT_NOT_FOUND,
            f"there is no agent {agent!r}; there are: {existing}",
            metadata={"agent": f"agents/{agent}", "existing": existing},
        )

    def _remember(self, agent: Agent) -> None:
        if len(self._newest) >= MAX_CACHED:
            del self._newest[next(iter(self._newest))]
        self._newest[(agent.namespace, agent.id)] = agent

    def _forget(self, namespace: Namespace, agent: AgentId) -> None:
        self._writes += 1
        self._newest.pop((namespace, agent), None)


def etag_of(agent: Agent) -> str:
    """Return a fingerprint of one revision of an agent."""
    return request_digest(agent)[:16]


def _changes(agent: Agent, fields: Collection[str]) -> dict[str, Any]:
    """Return the values of some fields. A route is its first model and those that follow it."""
    names = {*fields, "fallbacks"} if "models" in fields else fields
    return {name: getattr(agent, name) for name in names}


def _answer(agent: Agent) -> str:
    return f"{agent.id}@{agent.revision}"


def _decode_agent(record: Record) -> Agent:
    return msgspec.msgpack.decode(record.body, type=Agent)


def _name_taken(agent: AgentId) -> AlreadyExists:
    name = f"agents/{agent}"
    return AlreadyExists(Reason.NAME_TAKEN, f"{name} exists", metadata={"name": name})


def _unknown_revision(agent: AgentId, revision: int, newest: int) -> NotFound:
    return NotFound(
        Reason.AGENT_NOT_FOUND,
        f"agents/{agent} has no revision {revision}; its newest is {newest}",
        metadata={
            "agent": f"agents/{agent}",
            "revision": str(revision),
            "newest_revision": str(newest),
        },
    )


def _etag_mismatch(present: Agent) -> Conflict:
    return Conflict(
        Reason.ETAG_MISMATCH,
        f"agents/{present.id} was changed: it is at revision {present.revision} now",
        metadata={
            "agent": f"agents/{present.id}",
            "revision": str(present.revision),
            "etag": etag_of(present),
        },
    )
