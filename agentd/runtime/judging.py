"""Say whether a call that a model asks for may be executed: what it needs, and what is to be told.

The rules themselves are weighed by the port `Judge`; nothing here knows their grammar.
"""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from agentd.agent.events import GrantedTool, RequestedCall, RunStarted
from agentd.agent.ids import CallId
from agentd.agent.permission import Decision, Judgement, Labels, Layer
from agentd.agent.spec import Agent
from agentd.agent.state import State
from agentd.agent.tool import CallError, CallErrorReason, EffectClass, Tool
from agentd.errors import InvalidRequest
from agentd.protocol.approvals import granted
from agentd.runtime.kept import Kept
from agentd.runtime.ports import Judge, LocalTool
from agentd.tools.names import is_foreign
from agentd.tools.permissions import check_permission, default_layer, resolve

VERDICTS = 512
"""Verdicts that are kept at hand: weighing one anew takes some 2 µs."""

_Key = tuple[int, int, bool, bool, bool]


class Judging:
    """The verdicts on calls, of every run."""

    def __init__(self, judge: Judge, local_tools: Mapping[str, LocalTool]) -> None:
        self._judge = judge
        self._local_tools = local_tools
        self._known: Kept[_Key, tuple[RunStarted, Tool, Judgement]] = Kept(VERDICTS)
        """Verdicts by the identities of what they follow from, which they keep alive."""

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
        local = self._local_tools.get(tool.path)
        if local is not None:
            arguments = msgspec.json.decode(arguments_json or "{}")
            if own := local.needs(arguments, started.workspace):
                judgement = self._weigh(started, tool, own, state.labels, here=True)
                return _with_grants(state, judgement)
        # All else that decides is the same for every call of a tool, until the run has seen more.
        labels = state.labels
        here = local is not None
        key = (id(started), id(tool), here, labels.untrusted, labels.private)
        known = self._known.get(key)
        if known is None:
            judgement = self._weigh(started, tool, tool.permissions, labels, here=here)
            known = self._known.keep(key, (started, tool, judgement))
        return _with_grants(state, known[2])

    def any_call(self, state: State, tool: Tool) -> Judgement:
        """Judge what every call of a tool needs, whatever its arguments are."""
        assert state.started is not None
        here = tool.path in self._local_tools
        return self._weigh(state.started, tool, tool.permissions, state.labels, here=here)

    def _weigh(
        self, started: RunStarted, tool: Tool, own: Sequence[str], labels: Labels, *, here: bool
    ) -> Judgement:
        """Judge a call by the tool's own needs. `here` is whether the tool runs in this process,
        and so reaches beyond it by the network alone."""
        foreign = is_foreign(tool.toolset)
        outward = (foreign or not here) and tool.effect is not EffectClass.READ_ONLY
        # A stranger who is only asked something learns what the question says.
        outward = outward or (foreign and tool.labels.untrusted and labels.private)
        outward = outward or any(need.startswith("net.connect:") for need in own)
        layers = started.layers or (default_layer(started.workspace),)
        return self._judge(layers, (f"tool.use:{tool.path}", *own), labels, outward=outward)


def _with_grants(state: State, judgement: Judgement) -> Judgement:
    """Return what becomes of a verdict by what people have granted."""
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
