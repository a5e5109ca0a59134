"""Short ways to write histories of a run."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from agentd.agent.approval import ApprovalId, ApprovalScope, ApprovalState
from agentd.agent.budget import Budget, ModelUsage, Reservation
from agentd.agent.events import (
    ApprovalDecided,
    ApprovalRequested,
    CallLeased,
    Event,
    GrantedTool,
    ModelReplied,
    ModelRequested,
    RequestedCall,
    RunCreated,
    RunStarted,
)
from agentd.agent.ids import DEFAULT_AGENT, CallId, HostId
from agentd.agent.message import AssistantMessage, StopReason, ToolUse
from agentd.agent.permission import NO_LABELS, Decision, Judgement, Labels
from agentd.agent.spec import OnUnknown
from agentd.agent.state import State
from agentd.agent.tool import EffectClass
from agentd.protocol.machine import evolve

HOST = HostId("host-1")
TEN_TURNS = Budget(max_turns=10)
SOME_USAGE = ModelUsage(10, 5)


def fold(*events: Event, state: State | None = None) -> State:
    """Fold a history."""
    state = state or State()
    for event in events:
        state = evolve(state, event)
    return state


def created(budget: Budget = TEN_TURNS) -> RunCreated:
    """A run with a goal of 40 bytes: 11 tokens."""
    return RunCreated(DEFAULT_AGENT, 1, "g" * 40, budget)


def started(
    *,
    parallel: int = 8,
    attempts: int = 3,
    on_unknown: OnUnknown = OnUnknown.ASK,
    max_output_tokens: int = 1000,
) -> RunStarted:
    """A run with one tool of each effect class, named after it."""
    tools = tuple(
        GrantedTool(f"t/{effect.name}", effect.name, "digest", effect) for effect in EffectClass
    )
    return RunStarted(
        "scripted/demo",
        tools=tools,
        max_output_tokens=max_output_tokens,
        max_parallel_calls=parallel,
        max_call_attempts=attempts,
        on_unknown=on_unknown,
    )


def requested(turn: int = 1, attempt: int = 1, tokens: int = 1011) -> ModelRequested:
    """A request with its reservation."""
    return ModelRequested(turn, attempt, "scripted/demo", Reservation(tokens, 0, 1000))


def replied(
    turn: int = 1,
    attempt: int = 1,
    *,
    text: str = "",
    calls: Sequence[EffectClass] = (),
    usage: ModelUsage = SOME_USAGE,
    stop: StopReason | None = None,
) -> ModelReplied:
    """An answer that asks for one call of each effect class given."""
    uses = tuple(
        ToolUse(f"ref-{turn}-{index}", effect.name, "{}") for index, effect in enumerate(calls)
    )
    asked = tuple(
        RequestedCall(CallId(f"c{turn}-{index + 1}"), path=f"t/{effect.name}", effect=effect)
        for index, effect in enumerate(calls)
    )
    stop = stop or (StopReason.TOOL_USE if calls else StopReason.END_TURN)
    return ModelReplied(turn, attempt, AssistantMessage(text, uses), stop, asked, usage)


def asking(
    *needs: str, seen: Labels = NO_LABELS, decision: Decision = Decision.ASK, turn: int = 1
) -> ModelReplied:
    """An answer that asks for one call for each need given, about each of which a rule asks."""
    reply = replied(turn, calls=[EffectClass.READ_ONLY] * len(needs))
    judged = tuple(
        replace(
            call,
            judgement=Judgement(decision, (need,), need, f"ask {need}"),
            seen=seen,
            arguments_sha256="abc",
        )
        for call, need in zip(reply.calls, needs, strict=True)
    )
    return replace(reply, calls=judged)


def question(call: str = "c1-1") -> ApprovalRequested:
    """A question about a call."""
    return ApprovalRequested(ApprovalId(f"p-{call}"), CallId(call), "abc")


def decided(
    call: str = "c1-1",
    decision: ApprovalState = ApprovalState.ALLOWED,
    scope: ApprovalScope = ApprovalScope.ONCE,
    **fields: Any,
) -> ApprovalDecided:
    """The answer to a question."""
    approval = ApprovalId(f"p-{call}")
    return ApprovalDecided(approval, CallId(call), decision, scope=scope, **fields)


def leased(call: str = "c1-1", attempt: int = 1, host: HostId = HOST) -> CallLeased:
    """A lease at a host."""
    return CallLeased(CallId(call), attempt, host, f"token-{call}-{attempt}", 1_000)
