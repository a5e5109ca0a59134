"""`agentd explain`: which rule decided about a call."""

from collections.abc import Iterator, Sequence

import click

from agentd.cli.base import Command, Settings, pass_settings, run_async
from agentd.cli.output import output_option, write_document, write_line, write_pairs
from agentd.cli.questions import decided, seen, tool_of
from agentd.cli.text import exact_json, line, lower, resource
from agentd.client import Client
from agentd.client.types import (
    Approval,
    Call,
    CallState,
    Decision,
    EventFilter,
    PermissionLayer,
    PermissionRule,
    Verdict,
    to_json,
)

Found = tuple[Call, Approval | None, Sequence[PermissionLayer]]


@click.command(
    cls=Command, examples="agentd explain RUN c1-1\nagentd explain runs/RUN/calls/c1-1 -o json"
)
@click.argument("run")
@click.argument("call", default="")
@output_option
@pass_settings
def explain(settings: Settings, *, run: str, call: str, output: str) -> None:
    """Say whether a CALL of a RUN was permitted: what it needed, and which rule decided."""
    name = resource(run, "runs")
    if call:
        name = call if "/" in call else f"{name}/calls/{call}"
    if len(name.split("/")) != 4:
        raise click.UsageError("Name a RUN and its CALL, such as c1-1.")

    async def work() -> Found:
        async with settings.client() as client:
            return await _find(client, name)

    found, approval, layers = run_async(work())
    document = {
        "call": to_json(found),
        "layers": [to_json(layer) for layer in layers],
        **({"approval": to_json(approval)} if approval else {}),
    }
    match output:
        case "json":
            write_document(document)
        case "jsonl":
            write_line(document)
        case _:
            write_pairs(_pairs(found, approval, layers))


async def _find(client: Client, name: str) -> Found:
    call = await client.runs.get_call(name)
    approval = await client.approvals.get(call.approval) if call.approval else None
    run = "/".join(name.split("/")[:2])
    layers: Sequence[PermissionLayer] = ()
    async for event in client.events(EventFilter(runs=[run], kinds=["run_started"])):
        layers = event.run_started.layers
    return call, approval, layers


def _pairs(
    call: Call, approval: Approval | None, layers: Sequence[PermissionLayer]
) -> Iterator[tuple[str, str]]:
    verdict = call.verdict
    yield "call", call.name
    yield "tool", tool_of(call.tool)
    yield "arguments", exact_json(call.arguments_json)
    yield "state", lower(CallState.Name(call.state), "CALL_STATE_")
    yield "verdict", _said(call)
    yield "needs", "\n".join(line(need) for need in verdict.needs)
    labels = seen(untrusted=verdict.after_untrusted, private=verdict.after_private)
    yield "run had seen", labels or "nothing untrusted or private"
    if approval:
        yield "asked", decided(approval)
        yield "because", line(approval.reason)
        yield "executed with", exact_json(approval.edited_arguments_json)
    for number, layer in enumerate(layers):
        whose = "agent's rules" if number == 0 else f"ancestor {number}'s rules"
        yield whose, "\n".join(rule_text(rule) for rule in layer.rules) or "none"


def _said(call: Call) -> str:
    """Say what decided, in a sentence."""
    if not call.HasField("verdict"):
        return f"refused before that was asked: {line(call.error.message)}"
    verdict: Verdict = call.verdict
    if verdict.granted:
        return f"allowed by an earlier answer, where '{line(verdict.rule)}' asks"
    word = {
        Decision.DECISION_ALLOW: "allowed",
        Decision.DECISION_ASK: "a person is asked",
        Decision.DECISION_DENY: "denied",
    }[verdict.decision]
    rule = f"by '{line(verdict.rule)}'" if verdict.rule else "because no rule allows it"
    return f"{word} {rule}, for {line(verdict.need)}"


def rule_text(rule: PermissionRule) -> str:
    """Return a rule as people write it."""
    words = [lower(Decision.Name(rule.decision), "DECISION_"), line(rule.permission)]
    if rule.outward:
        words.append("outward")
    labels = (("untrusted", rule.after_untrusted), ("private", rule.after_private))
    after = [name for name, needed in labels if needed]
    if after:
        words.append(f"after {', '.join(after)}")
    return " ".join(words)
