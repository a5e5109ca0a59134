"""Those who create, steer and watch runs, over connections that break."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from agentd.agent.budget import Budget
from agentd.agent.call import Call
from agentd.agent.events import Entry, RunState, WaitReason
from agentd.agent.hosting import (
    Abandon,
    Failed,
    Reconciled,
    ReconciledFailure,
    Resolution,
    Retry,
    Succeeded,
)
from agentd.agent.ids import DEFAULT_AGENT, AgentId, CallId, RunId, SessionId
from agentd.agent.lifecycle import TaskState
from agentd.agent.message import Purpose
from agentd.agent.permission import Decision, Labels, Rule
from agentd.agent.run import Run
from agentd.agent.spec import Agent, OnUnknown, ProtocolKind, Session
from agentd.agent.tool import CallState
from agentd.errors import AgentdError, Exhausted, Reason
from agentd.runtime.engine import CancelReport
from agentd.runtime.ports import RunQuery, Selector
from agentd.runtime.runtime import Runtime
from agentd.runtime.sessions import SessionView
from agentd.runtime.starting import NewRun
from tests.simulation.daemon import ConnectionLost, Daemon
from tests.simulation.models import INFO, SPARE
from tests.simulation.tools import truth
from tests.simulation.world import NAMESPACE, World

T = TypeVar("T")

PATIENT = AgentId("patient")
TELLING = AgentId("telling")
CAREFUL = AgentId("careful")
PLANNING = AgentId("planning")
APPROVED = AgentId("approved")
PLANNERS = (PLANNING, APPROVED)
RULES = (
    Rule(Decision.ALLOW, "tool.use:*"),
    Rule(Decision.ASK, "tool.use:*/irreversible"),
    Rule(Decision.ASK, "tool.use:alpha/*", after=Labels(untrusted=True)),
    Rule(Decision.DENY, "tool.use:beta/non_idempotent"),
)
SESSIONS = (SessionId("s-one"), SessionId("s-two"))
_PATTERNS = ("*", "local/*", "alpha/*", "beta/*", "local/read_only", "none/at-all")


class Refused(Exception):
    """The daemon said no, or nobody knows what it did."""


class Person:
    """Somebody with a connection to the daemon."""

    def __init__(self, world: World, daemon: Daemon, name: str) -> None:
        self.world = world
        self.daemon = daemon
        self.random = world.chance(name)

    async def ask(self, work: Callable[[Runtime], Awaitable[T]]) -> T:
        """Ask the daemon once. Raises Refused."""
        if self.wrong(0.02):
            raise Refused
        try:
            async with asyncio.timeout(self._patience()):
                answer = await self.daemon.ask(work)
        except (ConnectionLost, TimeoutError, AgentdError) as error:
            raise Refused from error
        if self.wrong(0.02):
            raise Refused
        return answer

    async def insist(self, work: Callable[[Runtime], Awaitable[T]]) -> T:
        """Ask until there is an answer other than that the daemon cannot be reached or written."""
        while True:
            try:
                return await self.ask(work)
            except Refused as refused:
                cause = refused.__cause__
                if isinstance(cause, AgentdError) and cause.reason not in _PASSING:
                    raise
            await asyncio.sleep(self.random.choice((0.1, 1.0)))

    def _patience(self) -> float:
        if self.wrong(0.05):
            return self.random.choice((0.0, 0.005, 0.1, 1.0))
        return self.random.choice((30.0, 600.0))

    def wrong(self, probability: float) -> bool:
        return self.world.goes_wrong(self.random, probability)


_PASSING = (
    Reason.OUTCOME_UNKNOWN,
    Reason.DISK_FULL,
    Reason.DRAINING,
    Reason.CONCURRENT_UPDATE,
)


class Creator(Person):
    """Creates agents, sessions and runs, repeating requests whose answer was lost."""

    async def prepare(self) -> None:
        """Create what runs need."""
        for agent, on_unknown in ((PATIENT, OnUnknown.ASK), (TELLING, OnUnknown.TELL_MODEL)):
            new = Agent(
                NAMESPACE,
                agent,
                instructions="Do it.",
                on_unknown=on_unknown,
                models={Purpose.EXECUTION: INFO.name},
                fallbacks={Purpose.EXECUTION: (SPARE.name,)} if agent == TELLING else {},
            )
            await self._create(partial(_create_agent, new))
        careful = Agent(NAMESPACE, CAREFUL, permissions=RULES)
        await self._create(partial(_create_agent, careful))
        for agent in PLANNERS:
            planner = Agent(
                NAMESPACE,
                agent,
                protocol=ProtocolKind.LIFECYCLE,
                models={Purpose.EXECUTION: INFO.name},
                fallbacks={Purpose.EXECUTION: (SPARE.name,)},
                require_plan_approval=agent == APPROVED,
            )
            await self._create(partial(_create_agent, planner))
        for session in SESSIONS:
            fresh = Session(NAMESPACE, session)
            await self._create(partial(_create_session, fresh))

    async def _create(self, work: Callable[[Runtime], Awaitable[object]]) -> None:
        try:
            await self.insist(work)
        except Refused as refused:
            cause = refused.__cause__
            if not isinstance(cause, AgentdError) or cause.reason is not Reason.NAME_TAKEN:
                raise

    async def create(self, number: int) -> None:
        """Create one run, and note that it was acknowledged."""
        random = self.random
        agent = random.choice((DEFAULT_AGENT, PATIENT, PATIENT, TELLING, CAREFUL, *PLANNERS))
        new = NewRun(
            NAMESPACE,
            None,
            f"goal {number}",
            agent,
            session=random.choice((None, None, *SESSIONS)),
            tools=tuple(random.choice(_PATTERNS) for _ in range(random.randint(0, 2))),
            budget=self._wide() if agent in PLANNERS else self._budget(),
            simulate_only=random.random() < 0.05,
        )
        request_id = f"create-{number}"
        try:
            run, _ = await self.insist(
                lambda runtime: runtime.engine.create_run(new, request_id=request_id)
            )
        except Refused:
            return  # A pattern that names no tool.
        self.world.acknowledged.runs.append(run.identity.id)
        if random.random() < 0.1:
            again, _ = await self.insist(
                lambda runtime: runtime.engine.create_run(new, request_id=request_id)
            )
            if again.identity != run.identity:
                self.world.violation(f"{request_id} made {run.identity} and {again.identity}")

    def _budget(self) -> Budget:
        random = self.random
        return Budget(
            max_turns=random.choice((0, 0, 2)),
            max_tokens=random.choice((0, 0, 0, 400, 900)),
            max_cost_nanos=random.choice((0, 0, 0, 5_000)),
            max_tool_calls=random.choice((0, 0, 1, 6)),
            max_wall_time_ms=random.choice((0, 0, 0, 15_000)),
        )

    def _wide(self) -> Budget:
        """Draw a budget in which plans can be carried out, now and then just not."""
        return Budget(
            max_turns=self.random.choice((60, 200)),
            max_tokens=self.random.choice((0, 0, 0, 9_000)),
            max_tool_calls=self.random.choice((0, 0, 6)),
        )


class Meddler(Person):
    """Does something to some run, at any moment."""

    async def meddle(self, number: int) -> None:
        """Do one thing to one run."""
        runs = self.world.acknowledged.runs
        run = self.random.choice(runs if self.random.random() < 0.2 else runs[-3:])
        action = self.random.choice(
            (
                self._send,
                self._pause,
                self._resume,
                self._cancel,
                self._cancel,
                self._read,
                self._task,
                self._task,
            )
        )
        try:
            await action(run, number)
        except Refused:
            return

    async def _send(self, run: RunId, number: int) -> None:
        text = f"message {number}"
        request_id = self.random.choice(("", f"send-{number}"))
        for _ in range(self.random.choice((1, 1, 2)) if request_id else 1):
            revision = await self.ask(
                lambda runtime: runtime.engine.send_message(
                    NAMESPACE, run, text, request_id=request_id
                )
            )
            self.world.acknowledged.messages.append((run, revision, text))

    async def _pause(self, run: RunId, _: int) -> None:
        await self.ask(lambda runtime: runtime.engine.pause_run(NAMESPACE, run))

    async def _resume(self, run: RunId, _: int) -> None:
        await self.ask(lambda runtime: runtime.engine.resume_run(NAMESPACE, run))

    async def _task(self, run: RunId, number: int) -> None:
        """Give a task up, or have it attempted once more."""
        tasks = await self.ask(lambda runtime: runtime.tasks.list(NAMESPACE, run))
        if not tasks:
            return
        running = [task for task in tasks if task.state is TaskState.RUNNING]
        task = self.random.choice(running or tasks).spec.id
        if number % 2:
            await self.ask(lambda runtime: runtime.tasks.abandon(NAMESPACE, run, task, "enough"))
        else:
            await self.ask(lambda runtime: runtime.tasks.retry(NAMESPACE, run, task, "again"))

    async def _read(self, run: RunId, _: int) -> None:
        await self.ask(lambda runtime: runtime.reading.list_calls(NAMESPACE, run))
        await self.ask(
            lambda runtime: runtime.reading.list_runs(
                RunQuery(NAMESPACE, frozenset({RunState.RUNNING})), before=None, limit=5
            )
        )

    async def _cancel(self, run: RunId, _: int) -> None:
        timeout_ms = self.random.choice((0, 500, 5_000, 60_000))

        async def cancel(runtime: Runtime) -> CancelReport:
            report, _ = await runtime.engine.cancel_run(
                NAMESPACE, run, reason="enough", timeout_ms=timeout_ms
            )
            if not report.complete:
                await self._check_report(report)
            return report

        await self.ask(cancel)
        self.world.acknowledged.cancels.append(run)

    async def _check_report(self, report: CancelReport) -> None:
        """A report that is not complete names every call that a host still has."""
        stored = await self.world.journal.get_run(NAMESPACE, report.run)
        assert stored is not None
        state = self.world.state_of(stored.run.identity)
        named = {entry.name for entry in report.entries}
        running = {f"calls/{call.id}" for call in state.calls if call.state is CallState.LEASED}
        if running - named:
            self.world.violation(f"{report} does not name {running - named}")


class Resolver(Person):
    """Decides about calls of unknown outcome, by what the world knows."""

    async def resolve(self) -> None:
        """Look at every unfinished run once."""
        for run in await self.ask(
            lambda runtime: runtime.reading.list_runs(
                RunQuery(NAMESPACE, frozenset({RunState.WAITING, RunState.PAUSED})),
                before=None,
                limit=100,
            )
        ):
            identity = run.identity
            if run.view.state is RunState.PAUSED and self.world.calm:
                await self._try(partial(_resume, identity.id))
            if run.view.wait_reason is WaitReason.INPUT and "tasks/" in run.view.wait_detail:
                await self._try(partial(_tell, identity.id))
            for call in await self.ask(partial(_list_calls, identity.id)):
                if call.state is CallState.UNKNOWN:
                    await self._decide(identity.id, call.id, call.idempotency_key)

    async def _decide(self, run: RunId, call: CallId, key: str) -> None:
        resolution = self._resolution(key)
        if resolution:
            await self._try(
                lambda runtime: runtime.engine.resolve_call(NAMESPACE, run, call, resolution, "")
            )

    def _resolution(self, key: str) -> Resolution | None:
        made = self.world.ledger.of(key)
        if any(execution.applied for execution in made):
            match truth(key):
                case Succeeded(result_json=result):
                    return Reconciled(result)
                case Failed(message=message):
                    return ReconciledFailure(message)
        if any(execution.running for execution in made):
            return Abandon() if self.world.calm else None
        return self.random.choice((Retry(), Abandon()))

    async def _try(self, work: Callable[[Runtime], Awaitable[object]]) -> None:
        try:
            await self.ask(work)
        except Refused:
            return


class Watcher(Person):
    """Watches everything, or one session, from wherever it was cut off."""

    def __init__(self, world: World, daemon: Daemon, name: str, selector: Selector) -> None:
        super().__init__(world, daemon, name)
        self.selector = selector
        self.seen: list[Entry] = []
        self._after = 0

    async def watch(self) -> None:
        """Watch for ever; connect again after each cut."""
        while True:
            try:
                async with asyncio.timeout(self.random.uniform(0, 60) if self.wrong(0.5) else None):
                    await self.daemon.ask(self._read)
            except Exhausted as cut:
                if cut.metadata.get("last_revision") != str(self._after):
                    self.world.violation(f"cut at {cut.metadata}, after {self._after}")
            except (ConnectionLost, TimeoutError):
                pass
            except AgentdError as error:
                self.world.violation(f"watching after {self._after} failed: {error}")
            await asyncio.sleep(self.random.choice((0.0, 1.0, 10.0)))

    async def _read(self, runtime: Runtime) -> None:
        stream = runtime.watches.watch(
            self.selector,
            after_revision=self._after,
            include_deltas=self.random.random() < 0.5,
            progress_interval_s=self.random.choice((None, 1.0)),
        )
        async with aclosing(stream):
            async for batch in stream:
                self.seen += batch.entries
                self._after = max(self._after, batch.progress_revision)
                if self.wrong(0.1):
                    await asyncio.sleep(self.random.uniform(0, 10))


async def _create_agent(agent: Agent, runtime: Runtime) -> Agent:
    return await runtime.library.create_agent(agent)


async def _create_session(session: Session, runtime: Runtime) -> SessionView:
    return await runtime.sessions.create_session(session)


async def _resume(run: RunId, runtime: Runtime) -> Run:
    return await runtime.engine.resume_run(NAMESPACE, run)


async def _tell(run: RunId, runtime: Runtime) -> int:
    return await runtime.engine.send_message(NAMESPACE, run, "just do it")


async def _list_calls(run: RunId, runtime: Runtime) -> Sequence[Call]:
    return await runtime.reading.list_calls(NAMESPACE, run)
