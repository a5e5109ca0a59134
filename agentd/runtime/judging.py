"""Say whether a call that a model asks for may be executed: what it needs, and what is to be told.

The rules themselves are weighed by the port `Judge`; nothing here knows their grammar.
"""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from agentd.agent.events import GrantedTool, RequestedCall
from agentd.agent.ids import CallId
from agentd.agent.permission import Decision, Judgement, Layer
from agentd.agent.spec import Agent
from agentd.agent.state import State
from agentd.agent.tool import CallError, CallErrorReason, EffectClass, Tool
from agentd.errors import InvalidRequest
from agentd.protocol.approvals import granted
from agentd.runtime.ports import Judge, LocalTool
from agentd.tools.permissions import check_permission, default_layer, resolve


class Judging:
    """The verdicts on calls, of every run."""

    def __init__(self, judge: Judge, local_tools: Mapping[str, LocalTool]) -> None:
        self._judge = judge
        self._local_tools = local_tools

    def requested(
        self, state: State, call: CallId, granted_tool: GrantedTool, tool: Tool, arguments_json: str
    ) -> RequestedCall:
        """Return a call with the verdict on it. Its arguments are schema-checked."""
        refusal: CallError | None = None
        judgement: Judgement | None = None
        try:
            judgement = self.judge(state, tool, arguments_json)
        except (ValueError, InvalidRequest) as error:
            refusal = CallError(CallErrorReason.INVALID_ARGUMENTS, f"arguments: {error}")
        if judgement and judgement.decision is Decision.DENY:
            refusal = denial(judgement)
        asks = judgement and judgement.decision is Decision.ASK
        return RequestedCall(
            call,
            refusal,
            granted_tool.path,
            granted_tool.effect,
            granted_tool.reconcile,
            judgement,
            state.labels,
            tool.labels,
            fingerprint(arguments_json) if asks else "",
        )

    def judge(self, state: State, tool: Tool, arguments_json: str) -> Judgement:
        """Judge a call by its run's rules, what the run has seen, and what people have granted.

        Raises ValueError or InvalidRequest when the tool cannot say what such arguments need.
        """
        started = state.started
        assert started is not None
        path = tool.path
        local = self._local_tools.get(path)
        own: Sequence[str] = tool.permissions
        if local is not None:
            own = local.needs(msgspec.json.decode(arguments_json or "{}"), started.workspace)
        needs = (f"tool.use:{path}", *own)
        outward = local is None and tool.effect is not EffectClass.READ_ONLY
        if own and not outward:
            outward = any(need.startswith("net.connect:") for need in own)
        layers = started.layers or (default_layer(started.workspace),)
        judgement = self._judge(layers, needs, state.labels, outward=outward)
        if judgement.decision is Decision.ASK and granted(state.grants, judgement, state.labels):
            return replace(judgement, decision=Decision.ALLOW, granted=True)
        return judgement


def rules_of(agent: Agent, tools: Sequence[str], workspace: str) -> Layer:
    """Return the rules that an agent's run begins with, in the run's folder. `tools` are the
    patterns of the tools that the run may use."""
    if agent.permissions:
        return resolve(agent.permissions, workspace)
    return default_layer(workspace, [pattern for pattern in tools if _is_usable(pattern)])


def denial(judgement: Judgement) -> CallError:
    """Say why a call is not permitted, to the model."""
    why = f"the rule '{judgement.rule}' forbids it" if judgement.rule else "no rule allows it"
    message = f"Not permitted, and not executed: the call needs {judgement.need}, and {why}."
    return CallError(CallErrorReason.PERMISSION, message)


def fingerprint(arguments_json: str) -> str:
    """Return the SHA-256 of arguments, in hexadecimal."""
    return hashlib.sha256(arguments_json.encode()).hexdigest()


def _is_usable(pattern: str) -> bool:
    """Whether a pattern of tools can match any: some that are accepted cannot."""
    try:
        check_permission(f"tool.use:{pattern}", "tools")
    except InvalidRequest:
        return False
    return True
