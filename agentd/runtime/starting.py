"""Resolve what a run starts with: its agent, model, tools and the conversation it continues."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from agentd.agent.budget import Budget
from agentd.agent.events import RunStarted
from agentd.agent.ids import AgentId, Namespace, RunId, RunIdentity, SessionId
from agentd.agent.lifecycle import Terms
from agentd.agent.message import Message, ModelInfo, Purpose
from agentd.agent.permission import NO_LABELS, Labels, Layer
from agentd.agent.run import Run, RunView
from agentd.agent.spec import Agent, ProtocolKind, RunSpec
from agentd.agent.state import State
from agentd.agent.tool import Tool
from agentd.context.transcript import Transcript
from agentd.errors import invalid_field
from agentd.protocol.folding import estimate_tokens
from agentd.protocol.machine import evolve
from agentd.runtime.judging import rules_of
from agentd.runtime.kept import Kept
from agentd.runtime.library import Library
from agentd.runtime.manifests import Manifests
from agentd.runtime.ports import Clock, Journal, Models, RunQuery, Workspaces
from agentd.runtime.redacting import Redact
from agentd.runtime.terms import grant, routed, routes_of, terms_of
from agentd.tools.names import is_foreign
from agentd.tools.registry import Registry

CONVERSATIONS = 64
"""Conversations that are kept at hand."""


class RunLimits(msgspec.Struct, frozen=True):
    """Defaults and bounds of runs."""

    budget: Budget = Budget(max_turns=100)
    max_unfinished: int = 1_000_000
    """Runs that have not ended; more are refused."""
    max_parallel_calls: int = 8
    model_attempts: int = 5
    """Attempts of one model turn."""
    call_attempts: int = 3
    """Attempts of one call that may be repeated."""


class NewRun(msgspec.Struct, frozen=True):
    """A run to be created: checked, but with no default filled in."""

    namespace: Namespace
    id: RunId | None
    goal: str
    agent: AgentId
    agent_revision: int = 0
    session: SessionId | None = None
    model: str = ""
    tools: tuple[str, ...] = ()
    budget: Budget = Budget()
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    workspace: str = ""
    simulate_only: bool = False


class Starting:
    """Resolves runs. Reads, and decides nothing about them."""

    def __init__(
        self,
        *,
        journal: Journal,
        library: Library,
        models: Models,
        registry: Registry,
        clock: Clock,
        limits: RunLimits,
        manifests: Manifests,
        workspaces: Workspaces,
        settled: Callable[[], Awaitable[None]],
        redact: Redact | None,
    ) -> None:
        self._journal = journal
        self._library = library
        self._models = models
        self._registry = registry
        self._clock = clock
        self._limits = limits
        self._manifests = manifests
        self._workspaces = workspaces
        self._settled = settled
        self._redact: Redact = redact or str
        self._conversations: Kept[RunIdentity, Sequence[Message]] = Kept(CONVERSATIONS)

    def check(self, agent: Agent, model: str, patterns: Sequence[str]) -> ModelInfo:
        """Raise NotFound when a model or a tool is unknown, Conflict (NO_MODEL) when no model is
        ready; return the model that would answer."""
        info = self._models.resolve(model or agent.models.get(Purpose.EXECUTION, ""))
        for purpose, names in routes_of(agent, model).items():
            if purpose is Purpose.EXECUTION or agent.protocol is ProtocolKind.LIFECYCLE:
                for name in names:
                    self._models.resolve(name)
        self._registry.match(agent.namespace, (*agent.tools, *patterns))
        return info

    async def describe(self, request: NewRun, run_id: RunId) -> Run:
        """Return the run that a request asks for, defaults filled in.

        Raises NotFound (AGENT_NOT_FOUND, MODEL_NOT_FOUND, TOOL_NOT_FOUND), Conflict (NO_MODEL) and
        InvalidRequest (INVALID_FIELD) for what only runs that plan can do.
        """
        agent = await self._library.get_agent(
            request.namespace, request.agent, request.agent_revision
        )
        if request.simulate_only and agent.protocol is not ProtocolKind.LIFECYCLE:
            message = f"agents/{agent.id} makes no plans: its protocol is {agent.protocol.name}"
            raise invalid_field("run.simulate_only", message)
        if agent.tools or request.tools:
            await self._settled()
        self.check(agent, request.model, request.tools)
        budget = request.budget.over(agent.budget).over(self._limits.budget)
        now = self._clock.now_ms()
        key = self._journal.next_run_key()
        identity = RunIdentity(key, request.namespace, run_id, agent.id, request.session)
        spec = RunSpec(
            goal=self._redact(request.goal),
            agent_revision=agent.revision,
            budget=budget,
            model=request.model,
            tools=request.tools,
            annotations=request.annotations,
            create_time_ms=now,
            workspace=await self._folder(request.workspace),
            simulate_only=request.simulate_only,
        )
        return Run(identity, spec, RunView(last_sequence=1, update_time_ms=now))

    async def _folder(self, named: str) -> str:
        """Return the folder that a client names, once it was looked at."""
        return await asyncio.to_thread(self._workspaces.named, named) if named else ""

    async def start(self, identity: RunIdentity, spec: RunSpec) -> RunStarted:
        """Return the fact that a run starts with.

        Raises NotFound or Conflict when what it needs is not there any more.
        """
        agent = await self._library.get_kept_agent(
            identity.namespace, identity.agent, spec.agent_revision
        )
        info = self.check(agent, spec.model, spec.tools)
        tools = self._registry.match(identity.namespace, (*agent.tools, *spec.tools))
        previous = await self._previous(identity)
        earlier = await self.conversation(identity.namespace, previous) if previous else ()
        wall_ms = spec.budget.max_wall_time_ms
        granted = grant(tools)
        await self._manifests.settle(identity.namespace, granted)
        workspace = spec.workspace or self._workspaces.own(identity)
        above, labels = await self._inherited(identity, spec)
        return RunStarted(
            model=info.name,
            protocol=agent.protocol,
            tools=granted,
            previous_run=previous,
            prices=info.prices,
            context_tokens=_context_tokens(agent, tools, earlier),
            max_output_tokens=info.max_output_tokens,
            max_parallel_calls=agent.max_parallel_calls or self._limits.max_parallel_calls,
            max_attempts=self._limits.model_attempts,
            max_call_attempts=self._limits.call_attempts,
            on_unknown=agent.on_unknown,
            deadline_ms=self._clock.now_ms() + wall_ms if wall_ms else 0,
            layers=(rules_of(agent, (*agent.tools, *spec.tools), workspace), *above),
            grants=agent.grants,
            labels=labels | _said_of(tools),
            workspace=workspace,
            lifecycle=self._terms(agent, spec, tools),
            fallbacks=tuple(
                routed(self._models.resolve(name))
                for name in agent.fallbacks.get(Purpose.EXECUTION, ())
            ),
        )

    def _terms(self, agent: Agent, spec: RunSpec, tools: Sequence[Tool]) -> Terms | None:
        if agent.protocol is not ProtocolKind.LIFECYCLE:
            return None
        routes = {
            purpose: tuple(self._models.resolve(name) for name in names)
            for purpose, names in routes_of(agent, spec.model).items()
        }
        return terms_of(agent, spec, tools, routes)

    async def instructions(self, identity: RunIdentity, revision: int) -> str:
        """Return the system instructions of a run's agent revision."""
        agent = await self._library.get_kept_agent(identity.namespace, identity.agent, revision)
        return self._redact(agent.instructions)

    async def transcript(self, identity: RunIdentity, previous: RunId | None) -> Transcript:
        """Return a run's transcript as of its newest event."""
        earlier = await self.conversation(identity.namespace, previous) if previous else ()
        transcript = Transcript(earlier)
        for entry in await self._journal.read_run(identity):
            transcript.add(entry.event)
        return transcript

    async def conversation(self, namespace: Namespace, run: RunId) -> Sequence[Message]:
        """Return every message up to the end of a run that has ended, its session's earlier runs
        included."""
        chain: list[RunIdentity] = []
        known: Sequence[Message] = ()
        events = []
        present: RunId | None = run
        while present:
            stored = await self._journal.get_run(namespace, present)
            if stored is None:
                break
            identity = stored.run.identity
            if identity in self._conversations:
                known = self._conversations[identity]
                break
            chain.append(identity)
            entries = await self._journal.read_run(identity)
            events.append([entry.event for entry in entries])
            started = (entry.event for entry in entries if isinstance(entry.event, RunStarted))
            first = next(started, None)
            present = first.previous_run if first else await self._previous(identity)
        for identity, facts in zip(reversed(chain), reversed(events), strict=True):
            transcript = Transcript(known)
            for fact in facts:
                transcript.add(fact)
            known = transcript.closing()
            self.remember(identity, known)
        return known

    def remember(self, identity: RunIdentity, messages: Sequence[Message]) -> None:
        """Keep the conversation of an ended run at hand."""
        self._conversations.keep(identity, messages)

    async def _inherited(
        self, identity: RunIdentity, spec: RunSpec
    ) -> tuple[Sequence[Layer], Labels]:
        """Return the rules of a run's ancestors, and what was seen before it by those it takes text
        from: its session's earlier runs, and the run that spawned it."""
        labels, before = NO_LABELS, identity.key
        while identity.session:
            query = RunQuery(identity.namespace, session=identity.session)
            earlier = await self._journal.list_runs(query, before=before, limit=1)
            if not earlier:
                break
            before = earlier[0].run.identity.key
            if earlier[0].run.view.start_time_ms:  # What never started has seen nothing itself.
                labels = earlier[0].run.view.labels
                break
        parent = (
            await self._journal.get_run(identity.namespace, spec.parent) if spec.parent else None
        )
        if parent is None:
            return (), labels
        entries = await self._journal.read_run(parent.run.identity)
        state = State()
        for entry in entries:
            state = evolve(state, entry.event)
        return state.started.layers if state.started else (), labels | state.labels

    async def _previous(self, identity: RunIdentity) -> RunId | None:
        if identity.session is None:
            return None
        query = RunQuery(identity.namespace, session=identity.session)
        earlier = await self._journal.list_runs(query, before=identity.key, limit=1)
        return earlier[0].run.identity.id if earlier else None


def _said_of(tools: Sequence[Tool]) -> Labels:
    """Return what the manifests of tools bring into a run: a model reads them before it calls any,
    and what a foreign server says of its own is as much a stranger's text as what it answers."""
    foreign = (tool for tool in tools if is_foreign(tool.toolset))
    return Labels(untrusted=any(tool.labels.untrusted for tool in foreign))


def _context_tokens(agent: Agent, tools: Sequence[Tool], earlier: Sequence[Message]) -> int:
    size = len(agent.instructions)
    size += sum(len(tool.description) + len(tool.input_schema_json) for tool in tools)
    for message in earlier:
        size += len(getattr(message, "text", "") or getattr(message, "content", ""))
    return estimate_tokens(size)
