"""A run as people and programs see it: who it is, what it was asked, how it stands."""

from dataclasses import dataclass

from agentd.agent.budget import Usage
from agentd.agent.events import RunFailure, RunState, WaitReason
from agentd.agent.ids import RunIdentity
from agentd.agent.spec import RunSpec


@dataclass(frozen=True, slots=True)
class RunView:
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


@dataclass(frozen=True, slots=True)
class Run:
    """A run."""

    identity: RunIdentity
    spec: RunSpec
    view: RunView
