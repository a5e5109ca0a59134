"""A run as people and programs see it: who it is, what it was asked, how it stands."""

import msgspec

from agentd.agent.budget import NO_RESERVATION, Usage
from agentd.agent.events import RunFailure, RunState, WaitReason
from agentd.agent.ids import RunIdentity
from agentd.agent.permission import NO_LABELS, Labels
from agentd.agent.spec import RunSpec
from agentd.agent.state import State


class RunView(msgspec.Struct, frozen=True):
    """How a run stands after its event `last_sequence`."""

    state: RunState = RunState.PENDING
    last_sequence: int = 0
    wait_reason: WaitReason | None = None
    wait_detail: str = ""
    output: str = ""
    failure: RunFailure | None = None
    usage: Usage = Usage()
    reserved_tokens: int = 0
    reserved_cost_nanos: int = 0
    start_time_ms: int = 0
    end_time_ms: int = 0
    update_time_ms: int = 0
    labels: Labels = NO_LABELS
    """What it has seen, the session's earlier runs included."""


class Run(msgspec.Struct, frozen=True):
    """A run."""

    identity: RunIdentity
    spec: RunSpec
    view: RunView


def view_of(
    state: State, earlier: RunView, last_sequence: int, *, now_ms: int | None = None
) -> RunView:
    """Return how a run stands, given how it stood at its last life-cycle change.

    With `now_ms`, milliseconds since the epoch, this is such a change.
    """
    reserved = NO_RESERVATION
    for flight in state.flights:
        reserved = reserved + flight.reservation
    ended = state.ended
    start_time_ms, end_time_ms = earlier.start_time_ms, earlier.end_time_ms
    update_time_ms = earlier.update_time_ms
    if now_ms is not None:
        start_time_ms = start_time_ms or (now_ms if state.started else 0)
        end_time_ms = now_ms if state.run.ended else 0
        update_time_ms = now_ms if state.run is not earlier.state else update_time_ms
    return RunView(
        state=state.run,
        last_sequence=last_sequence,
        wait_reason=state.waiting.reason if state.waiting else None,
        wait_detail=state.waiting.detail if state.waiting else "",
        output=ended.output if ended else "",
        failure=ended.failure if ended else None,
        usage=state.usage,
        reserved_tokens=reserved.tokens,
        reserved_cost_nanos=reserved.cost_nanos,
        start_time_ms=start_time_ms,
        end_time_ms=end_time_ms,
        update_time_ms=update_time_ms,
        labels=state.labels,
    )
