"""Agents, sessions and runs as they are specified: what does not change while a run goes on."""

from collections.abc import Mapping
from enum import Enum

import msgspec

from agentd.agent.budget import Budget
from agentd.agent.ids import AgentId, Namespace, RunId, SessionId
from agentd.agent.message import Purpose
from agentd.agent.permission import Grant, Layer


class ProtocolKind(Enum):
    """How an agent reasons; the values are those of `agentd.v1.Protocol`."""

    DIRECT = 1
    LIFECYCLE = 2


class OnUnknown(Enum):
    """What happens to a call of unknown outcome; the values are those of `agentd.v1.OnUnknown`."""

    ASK = 1
    TELL_MODEL = 2


class Agent(msgspec.Struct, frozen=True):
    """One revision of an agent."""

    namespace: Namespace
    id: AgentId
    revision: int = 1
    display_name: str = ""
    instructions: str = ""
    models: Mapping[Purpose, str] = msgspec.field(default_factory=dict)
    tools: tuple[str, ...] = ()
    budget: Budget = Budget()
    protocol: ProtocolKind = ProtocolKind.DIRECT
    on_unknown: OnUnknown = OnUnknown.ASK
    max_parallel_calls: int = 0
    permissions: Layer = ()
    """Its rules; empty means the default ones."""
    grants: tuple[Grant, ...] = ()
    """What people have allowed its calls for good."""
    fallbacks: Mapping[Purpose, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """The models of each purpose that follow the first while it stays down."""
    phase_prompts: Mapping[Purpose, str] = msgspec.field(default_factory=dict)
    """Its own prompts for phases."""
    require_plan_approval: bool = False
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    create_time_ms: int = 0
    update_time_ms: int = 0


class Session(msgspec.Struct, frozen=True):
    """A conversation that several runs share."""

    namespace: Namespace
    id: SessionId
    display_name: str = ""
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    create_time_ms: int = 0


class RunSpec(msgspec.Struct, frozen=True):
    """What a run was asked to do, with every default filled in."""

    goal: str
    agent_revision: int
    budget: Budget
    model: str = ""
    tools: tuple[str, ...] = ()
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    parent: RunId | None = None
    create_time_ms: int = 0
    workspace: str = ""
    """The absolute path of a folder that the client named; empty for one of the run's own."""
    simulate_only: bool = False
    """Whether it ends once its plan was simulated."""
