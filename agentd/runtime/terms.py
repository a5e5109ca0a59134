"""Put together what a run starts with: its tools by name, its models by purpose, its prompts."""

from collections.abc import Mapping, Sequence

from agentd.agent.events import GrantedTool
from agentd.agent.lifecycle import PromptText, Route, RoutedModel, Terms
from agentd.agent.message import ModelInfo, Purpose
from agentd.agent.spec import Agent, RunSpec
from agentd.agent.tool import Tool
from agentd.tools.registry import digest_of

DESCRIPTION_CHARS = 300
"""How much of a tool's description a planner reads."""


def grant(tools: Sequence[Tool]) -> tuple[GrantedTool, ...]:
    """Return the tools with the names that the model sees: the tool's id, with its toolset in front
    where two tools would have the same."""
    counts: dict[str, int] = {}
    for tool in tools:
        counts[tool.id] = counts.get(tool.id, 0) + 1
    granted = []
    for tool in tools:
        alias = tool.id if counts[tool.id] == 1 else f"{tool.toolset}_{tool.id}"[:64]
        digest = digest_of(tool)
        granted.append(GrantedTool(tool.path, alias, digest, tool.effect, tool.reconcile))
    return tuple(granted)


def routes_of(agent: Agent, model: str) -> dict[Purpose, tuple[str, ...]]:
    """Return the names of the models of each purpose that has its own, best first. `model` is the
    run's own for EXECUTION; an empty name stands for the daemon's default model."""
    first = {Purpose.EXECUTION: "", **agent.models}
    if model:
        first[Purpose.EXECUTION] = model
    return {purpose: (name, *agent.fallbacks.get(purpose, ())) for purpose, name in first.items()}


def terms_of(
    agent: Agent,
    spec: RunSpec,
    tools: Sequence[Tool],
    routes: Mapping[Purpose, Sequence[ModelInfo]],
) -> Terms:
    """Return the terms of a run of the protocol `lifecycle`."""
    named = [(granted.alias, tool) for granted, tool in zip(grant(tools), tools, strict=True)]
    return Terms(
        goal=spec.goal,
        tools="\n".join(_described(alias, tool) for alias, tool in named),
        simulatable=tuple(alias for alias, tool in named if tool.simulate),
        routes=tuple(
            Route(purpose, tuple(routed(info) for info in infos))
            for purpose, infos in routes.items()
        ),
        prompts=tuple(PromptText(purpose, text) for purpose, text in agent.phase_prompts.items()),
        simulate_only=spec.simulate_only,
        require_plan_approval=agent.require_plan_approval,
    )


def _described(alias: str, tool: Tool) -> str:
    description = " ".join(tool.description.split())[:DESCRIPTION_CHARS]
    return f"- {alias} ({tool.effect.name}): {description}"


def routed(info: ModelInfo) -> RoutedModel:
    """Return a model as runs know it."""
    return RoutedModel(info.name, info.prices, info.max_output_tokens)
