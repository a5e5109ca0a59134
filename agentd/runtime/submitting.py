"""Take what models submit in the phases of a run: find the answer, check it, record what is wrong.

The structure is the runtime's: schemas, known tools, permissions and budgets are checked here, and
faults go back to the model. The judgement in it is the model's.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from agentd.agent.approval import ApprovalState
from agentd.agent.budget import Prices
from agentd.agent.effects import AskModel
from agentd.agent.events import RequestedCall
from agentd.agent.lifecycle import Answer, Plan, TaskSpec
from agentd.agent.lifecycle_events import PhaseAnswered
from agentd.agent.message import ModelReply, Purpose
from agentd.agent.permission import Decision
from agentd.agent.state import State
from agentd.agent.threads import Lifecycle, Node
from agentd.agent.tool import EffectClass, Tool
from agentd.protocol.lifecycle.answers import faults_of, left_of, read_answer
from agentd.protocol.lifecycle.forms import form
from agentd.protocol.lifecycle.routes import model_of, model_of_run
from agentd.runtime.judging import Judging
from agentd.tools.permissions import covers
from agentd.tools.schema import compile_arguments
from agentd.tools.toolkit import Toolkit

_FENCE = "```"


class Submitter(Protocol):
    """The run whose model submits."""

    state: State

    @property
    def toolkit(self) -> Toolkit:
        """The run's tools."""
        ...


def offered(run: Submitter, effect: AskModel) -> Sequence[Tool]:
    """Return the tools that a request offers: in a phase, the one that its answer is submitted
    with."""
    submission = form(effect.purpose).submission if effect.thread else None
    if submission is None:
        return run.toolkit.offered
    if effect.purpose is not Purpose.SIMULATION:
        return (submission,)
    names = _lifecycle(run).terms.simulatable
    return (*(tool for tool in run.toolkit.offered if tool.id in names), submission)


class Submitting:
    """Answers in phases, of every run."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging

    def answered(self, run: Submitter, effect: AskModel, reply: ModelReply) -> PhaseAnswered | None:
        """Return what a reply has answered; None when it calls tools instead, as it may."""
        submission = form(effect.purpose).submission if effect.thread else None
        if submission is None:
            return None
        uses = reply.message.calls
        submitted = [use.arguments_json for use in uses if use.tool == submission.id]
        if uses and not submitted and effect.purpose is Purpose.SIMULATION:
            return None
        text = submitted[0] if submitted else _bare(reply.message.text)
        answer: Answer | None = None
        if uses and not submitted:
            faults = [f"Nothing can be called now but `{submission.id}`."]
        else:
            answer, faults = self._read(run, effect, submission, text)
        return PhaseAnswered(
            effect.turn,
            effect.attempt,
            text or reply.message.text,
            reply.stop_reason,
            None if faults else answer,
            tuple(faults),
            reply.usage.priced(prices_of(run.state, effect)),
        )

    def simulated(self, call: RequestedCall) -> RequestedCall:
        """Return a call that only says what it would do: it may be repeated, and nobody need be
        asked about it."""
        judgement = call.judgement
        if judgement and judgement.decision is Decision.ASK:
            judgement = replace(judgement, decision=Decision.ALLOW, rule="only simulated")
        return replace(
            call,
            effect=EffectClass.READ_ONLY,
            reconcile=False,
            judgement=judgement,
            arguments_sha256="",
            simulate=True,
        )

    def departing(
        self, state: State, effect: AskModel, alias: str, call: RequestedCall
    ) -> RequestedCall:
        """Return a call, with how it departs from a plan that a person has approved."""
        lifecycle = state.lifecycle
        if lifecycle is None or lifecycle.approved is not ApprovalState.ALLOWED or call.refusal:
            return call
        thread = lifecycle.thread(effect.thread)
        node = lifecycle.task(thread.task) if thread else None
        if node is None or not (how := _departure(node, alias, call)):
            return call
        return replace(call, departs=f"task {node.spec.id!r} departs from the plan: {how}")

    def _read(
        self, run: Submitter, effect: AskModel, submission: Tool, text: str
    ) -> tuple[Answer | None, list[str]]:
        if not text:
            return None, [f"The answer is empty: submit it with `{submission.id}`."]
        fault = compile_arguments(submission).check(text)
        if fault:
            return None, [fault]
        answer = read_answer(effect.purpose, text)
        state, lifecycle = run.state, _lifecycle(run)
        thread = lifecycle.thread(effect.thread)
        assert thread is not None
        tools = {alias: granted.effect for alias, (granted, _) in run.toolkit.by_alias.items()}
        left = left_of(state.budget, state.usage)
        faults = faults_of(answer, lifecycle, tools, task=thread.task, left=left)
        if isinstance(answer, Plan) and not faults:
            faults = [each for task in answer.tasks for each in self._forbidden(run, task)]
        return answer, faults

    def _forbidden(self, run: Submitter, task: TaskSpec) -> Sequence[str]:
        """Return the tools of a task that the rules deny whatever the call is."""
        faults = []
        for alias in task.tools:
            tool = run.toolkit.by_alias[alias][1]
            judgement = self._judging.any_call(run.state, tool)
            if judgement.decision is Decision.DENY:
                faults.append(f"task {task.id!r}: {alias!r} is not permitted: {judgement.need}")
        return faults


def prices_of(state: State, effect: AskModel) -> Prices:
    """Return what a request costs."""
    assert state.started is not None
    lifecycle = state.lifecycle
    thread = lifecycle.thread(effect.thread) if lifecycle else None
    if lifecycle is None or thread is None:
        return model_of_run(state, state.started).prices if state.rerouted else state.started.prices
    return model_of(lifecycle, thread).prices


def _departure(node: Node, alias: str, call: RequestedCall) -> str:
    spec = node.spec
    if alias not in spec.tools:
        return f"it calls {alias!r}, which the plan does not name for it"
    if call.effect.value > spec.effect.value:
        return f"{alias!r} is {call.effect.name}, and the plan says {spec.effect.name}"
    needs = call.judgement.needs if call.judgement and spec.permissions else ()
    for need in needs:
        named = any(covers(permission, need) for permission in spec.permissions)
        if not named and not need.startswith("tool.use:"):
            return f"it needs {need}, which the plan does not name"
    return ""


def _bare(text: str) -> str:
    """Return the JSON of a text that holds nothing else, perhaps fenced."""
    text = text.strip()
    if text.startswith(_FENCE) and text.endswith(_FENCE):
        text = text.removeprefix(_FENCE).removesuffix(_FENCE).removeprefix("json").strip()
    return text


def _lifecycle(run: Submitter) -> Lifecycle:
    lifecycle = run.state.lifecycle
    assert lifecycle is not None
    return lifecycle
