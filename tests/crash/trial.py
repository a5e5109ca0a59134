"""Plays a scenario against a daemon that crashes and comes back, as its clients would."""

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import Message

from agentd.client import ENDED, AgentdError, Client, Conflict, Reason, Unavailable
from agentd.client.channel import credentials, parse_address
from agentd.client.transport import DEFAULT_TIMEOUT_S, Transport
from agentd.v1.agent_service_pb2 import CreateAgentRequest, CreateAgentResponse
from agentd.v1.approval_pb2 import Approval, ApprovalScope, ApprovalState
from agentd.v1.approval_service_pb2 import DecideApprovalRequest, DecideApprovalResponse
from agentd.v1.call_pb2 import CallState
from agentd.v1.event_pb2 import Event
from agentd.v1.run_pb2 import WaitReason
from agentd.v1.run_service_pb2 import (
    CreateRunRequest,
    CreateRunResponse,
    ResolveCallRequest,
    RetryCall,
    SendMessageRequest,
    SendMessageResponse,
)
from agentd.v1.session_service_pb2 import CreateSessionRequest, CreateSessionResponse
from agentd.v1.tool_host_service_pb2 import (
    CompleteCallsRequest,
    CompleteCallsResponse,
    Completion,
    LeaseResult,
)
from tests.crash.scenario import CONFIGURATION, Act, Plan, Scenario
from tests.crash.world import TOOLSET, World
from tests.e2e.daemon import EAGER, Home, Served, process

R = TypeVar("R", bound=Message)
T = TypeVar("T")

TRIAL_S = 20.0
COMMAND = (sys.executable, "-m", "tests.crash.daemon")
KILLED = -9
STOPPED = -15


@dataclass(frozen=True, slots=True)
class Crash:
    """Where one life of the daemon ends: at a boundary of a kind (empty: of any), from 1."""

    at: int
    kind: str = ""

    def flags(self) -> tuple[str, ...]:
        """Return it as flags of tests.crash.daemon."""
        return ("--crash-at", str(self.at), "--kind", self.kind)


@dataclass(slots=True)
class Acknowledged:
    """What the daemon has said is durable, which no crash may take back."""

    runs: dict[str, str] = field(default_factory=dict)
    """The goal of each run, by name."""
    messages: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    """The text of each message of a run, and the revision of its event."""
    paused: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)
    """Calls."""
    decisions: list[Approval] = field(default_factory=list)
    outcomes: list[Completion] = field(default_factory=list)
    """Completions that were answered OK."""


@dataclass(slots=True)
class Played:
    """How a scenario went, as those outside of the daemon know it."""

    world: World
    acknowledged: Acknowledged
    seen: list[Event]
    """What one watch over all of it has shown."""
    listed: list[Event]
    """What ListEvents says at the end."""
    crashes: int
    boundaries: Mapping[str, int]
    """The boundaries that the last life passed, by kind."""


def decision_on(approval: Approval) -> DecideApprovalRequest:
    """Return what a person answers: the item of a call says it, as `1.deny`."""
    request = DecideApprovalRequest(
        name=approval.name,
        decision=ApprovalState.APPROVAL_STATE_ALLOWED,
        arguments_sha256=approval.arguments_sha256,
        request_id=f"decide {approval.name}",
    )
    match json.loads(approval.arguments_json).get("item", "plan").split("."):
        case [_, "deny"]:
            request.decision = ApprovalState.APPROVAL_STATE_DENIED
            request.reason = "not this one"
        case [turn, "edit"]:
            request.edited_arguments_json = json.dumps({"item": f"{turn}.edited"})
        case [_, "run"]:
            request.scope = ApprovalScope.APPROVAL_SCOPE_RUN
        case _:
            pass
    return request


class _Recording(Transport):
    """A transport that notes which outcomes were acknowledged."""

    outcomes: list[Completion]

    async def call(
        self, request: Message, response: type[R], *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> R:
        answer = await super().call(request, response, timeout_s=timeout_s)
        if isinstance(request, CompleteCallsRequest) and isinstance(answer, CompleteCallsResponse):
            for completion, status in zip(request.completions, answer.statuses, strict=True):
                if status.result == LeaseResult.LEASE_RESULT_OK:
                    self.outcomes.append(completion)
        return answer


class Trial:
    """One scenario, from nothing to the end of all its runs."""

    def __init__(self, scenario: Scenario, home: Home, command: Sequence[str] = COMMAND) -> None:
        self._scenario = scenario
        self._home = home
        self._command = command
        self._counts = home.path / "counts"
        self._world = World()
        self._acknowledged = Acknowledged()
        self._seen: list[Event] = []
        self._all_ended = asyncio.Event()
        self._over = False
        self._crashes = 0
        self._served: Served | None = None
        transport = _Recording(parse_address(home.address), credentials(None, "default"), EAGER)
        transport.outcomes = self._acknowledged.outcomes
        self._client = Client(transport)
        home.script(scenario.script(), more=CONFIGURATION)

    async def play(self, crashes: Sequence[Crash]) -> Played:
        """Play it while the daemon dies at each of the crashes in turn, then lives on."""
        async with asyncio.timeout(TRIAL_S), AsyncExitStack() as stack:
            lives = await stack.enter_async_context(asyncio.TaskGroup())
            lives.create_task(self._live(crashes))
            await stack.enter_async_context(self._client)
            await stack.enter_async_context(
                self._client.host(TOOLSET, self._world.tools(), host=self._scenario.host)
            )
            listed = await self._work()
            self._over = True
            assert self._served is not None
            self._served.signal(signal.SIGTERM)
        counts = json.loads(self._counts.read_text()) if self._counts.exists() else {}
        return Played(self._world, self._acknowledged, self._seen, listed, self._crashes, counts)

    def unfinished(self) -> Mapping[str, str]:
        """Return the last event that was seen of each run whose end was not."""
        last = {event.run: event for event in self._seen}
        return {
            run: " ".join(str(event).split())
            for run, event in last.items()
            if not event.HasField("run_ended")
        }

    async def _live(self, crashes: Sequence[Crash]) -> None:
        """Start the daemon again whenever it has crashed, until the scenario is over."""
        flags: list[tuple[str, ...]] = [crash.flags() for crash in crashes]
        while not self._over:
            more = flags.pop(0) if flags else ("--count", str(self._counts))
            async with process(self._home, (*self._command, *more)) as served:
                self._served = served
                code = await served.process.wait()
                self._crashes += code == KILLED
                if code != KILLED and not (self._over and code in (0, STOPPED)):
                    raise AssertionError(f"the daemon ended with {code}:\n{served.log}")

    # Clients.

    async def _work(self) -> list[Event]:
        for agent in self._scenario.agents:
            name = agent.name
            request = CreateAgentRequest(agent=agent, request_id=name)
            await self._insist(lambda: self._client.call(request, CreateAgentResponse))  # noqa: B023
        for session in self._scenario.sessions:
            create = CreateSessionRequest(session=session, request_id=session.name)
            await self._insist(lambda: self._client.call(create, CreateSessionResponse))  # noqa: B023
        async with asyncio.TaskGroup() as watching:
            watch = watching.create_task(self._watch())
            async with asyncio.TaskGroup() as group:
                for plan in self._scenario.plans:
                    group.create_task(self._pursue(plan))
            await self._all_ended.wait()
            watch.cancel()
        return await self._insist(self._list_events)

    async def _list_events(self) -> list[Event]:
        return [event async for event in self._client.events()]

    async def _watch(self) -> None:
        """Follow everything, and answer for a person wherever a run asks for one."""
        waiting = {plan.name for plan in self._scenario.plans}
        async with asyncio.TaskGroup() as group:
            async for item in self._client.watch():
                assert isinstance(item, Event)
                self._seen.append(item)
                if item.HasField("run_waiting"):
                    if item.run_waiting.reason == WaitReason.WAIT_REASON_INPUT:
                        group.create_task(self._resolve(item.run))
                elif item.HasField("approval_requested"):
                    group.create_task(self._decide(item.approval_requested.approval))
                elif item.HasField("plan_approval_requested"):
                    group.create_task(self._decide(item.plan_approval_requested.approval))
                elif item.HasField("run_ended"):
                    waiting.discard(item.run)
                    if not waiting:
                        self._all_ended.set()

    async def _resolve(self, run: str) -> None:
        """Say truthfully what became of the calls whose outcome the daemon does not know."""
        for call in await self._insist(lambda: self._unknown_calls(run)):
            request = ResolveCallRequest(name=call, reason="by the ledger")
            result = self._world.result(call)
            if result is None:
                request.retry.CopyFrom(RetryCall())
            else:
                request.result_json = result
            try:
                await self._insist(lambda: self._client.runs.resolve_call(request))  # noqa: B023
            except Conflict:
                continue  # The answer to an earlier event of the same wait has said it already.
            self._acknowledged.resolved.append(call)

    async def _decide(self, name: str) -> None:
        """Answer a question as its arguments say, with a request that may be repeated."""
        approval = await self._insist(lambda: self._client.approvals.get(name))
        decision = decision_on(approval)
        answer = await self._insist(lambda: self._client.call(decision, DecideApprovalResponse))
        self._acknowledged.decisions.append(answer.approval)

    async def _unknown_calls(self, run: str) -> list[str]:
        states = (CallState.CALL_STATE_UNKNOWN,)
        return [call.name async for call in self._client.runs.calls(run, states=states)]

    async def _pursue(self, plan: Plan) -> None:
        request = CreateRunRequest(run=plan.run, request_id=f"create {plan.name}")
        answer = await self._insist(lambda: self._client.call(request, CreateRunResponse))
        assert answer.run.name == plan.name
        self._acknowledged.runs[plan.name] = plan.run.goal
        if plan.acts:
            entered, opened = self._world.gate(plan.name)
            await entered.wait()
            for act in plan.acts:
                await self._act(plan.name, act)
            opened.set()
            if "pause" in plan.acts:
                await self._resume(plan.name)

    async def _act(self, run: str, act: Act) -> None:
        match act:
            case "pause":
                await self._insist(lambda: self._client.runs.pause(run))
                self._acknowledged.paused.append(run)
            case "message":
                request = SendMessageRequest(name=run, text=f"to {run}", request_id=f"say {run}")
                sent = await self._insist(lambda: self._client.call(request, SendMessageResponse))
                said = self._acknowledged.messages.setdefault(run, [])
                said.append((request.text, sent.revision))
            case "cancel":
                answer = await self._insist(lambda: self._client.runs.cancel(run))
                if answer.run.state in ENDED:
                    self._acknowledged.cancelled.append(run)

    async def _resume(self, run: str) -> None:
        """Resume a run; when an attempt before a crash has done it, it is not paused any more."""
        repeated = False

        async def resume() -> None:
            nonlocal repeated
            try:
                await self._client.runs.resume(run)
            except Conflict as error:
                if not repeated or error.reason is not Reason.WRONG_RUN_STATE:
                    raise
            finally:
                repeated = True

        await self._insist(resume)
        self._acknowledged.resumed.append(run)

    async def _insist(self, send: Callable[[], Awaitable[T]]) -> T:
        """Repeat a request until it is answered: what is repeated after a crash carries a
        request_id, or changes nothing the second time."""
        while True:
            try:
                return await send()
            except Unavailable as error:
                await self._until_back(error)

    async def _until_back(self, error: AgentdError) -> None:
        """Wait until the daemon answers again; the client repeats a read by itself."""
        del error
        while True:
            try:
                await self._client.system.info()
            except Unavailable:
                continue
            return
