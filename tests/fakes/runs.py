"""Runs and events to fill journals with."""

from collections.abc import Sequence

from agentd.agent.budget import Budget
from agentd.agent.events import CallEnded, CallLeased, Event, RunCreated, RunState
from agentd.agent.ids import (
    DEFAULT_AGENT,
    DEFAULT_NAMESPACE,
    AgentId,
    CallId,
    HostId,
    Namespace,
    RunId,
    RunIdentity,
    SessionId,
)
from agentd.agent.run import Run, RunView
from agentd.agent.spec import RunSpec
from agentd.agent.tool import CallState
from agentd.runtime.ports import Journal, Record

SPEC = RunSpec("add", 1, Budget(max_turns=3), annotations={"team": "blue"})
CREATED = RunCreated(DEFAULT_AGENT, 1, "add", Budget(max_turns=3))


class FixedClock:
    """A clock that stands still until it is set."""

    def __init__(self, now_ms: int = 1_000) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms


def leased(number: int) -> CallLeased:
    """Return an event that tells the number."""
    return CallLeased(CallId(f"c{number}-1"), 1, HostId("h1"), token="t", deadline_ms=number)


def ended(number: int) -> CallEnded:
    """Return an event that tells the number."""
    return CallEnded(CallId(f"c{number}-1"), 1, CallState.SUCCEEDED, result_json=f"[{number}]")


async def create_run(
    journal: Journal,
    id: str,
    *,
    namespace: Namespace = DEFAULT_NAMESPACE,
    agent: AgentId = DEFAULT_AGENT,
    session: SessionId | None = None,
    state: RunState = RunState.PENDING,
    events: Sequence[Event] = (CREATED,),
    records: Sequence[Record] = (),
) -> RunIdentity:
    """Create a run and return who it is."""
    identity = RunIdentity(journal.next_run_key(), namespace, RunId(id), agent, session)
    await journal.create_run(Run(identity, SPEC, RunView(state=state)), events, records)
    return identity
