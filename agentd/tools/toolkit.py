"""The tools of one run, by the names that its model sees and by their paths."""

from collections.abc import Sequence

import msgspec

from agentd.agent.events import GrantedTool
from agentd.agent.tool import Tool
from agentd.tools.registry import Registry


class Toolkit(msgspec.Struct, frozen=True):
    """What a run's model is offered, and what its calls mean."""

    offered: tuple[Tool, ...]
    """The manifests, each with the name that the model sees as its id."""
    by_alias: dict[str, tuple[GrantedTool, Tool]]
    by_path: dict[str, Tool]


def build_toolkit(registry: Registry, granted: Sequence[GrantedTool]) -> Toolkit:
    """Return the toolkit of a run that was granted these tools.

    Raises NotFound (TOOL_NOT_FOUND) when a manifest was never registered here.
    """
    tools = [(grant, registry.by_digest(grant.digest)) for grant in granted]
    return Toolkit(
        offered=tuple(_renamed(tool, grant.alias) for grant, tool in tools),
        by_alias={grant.alias: (grant, tool) for grant, tool in tools},
        by_path={grant.path: tool for grant, tool in tools},
    )


def _renamed(tool: Tool, alias: str) -> Tool:
    if tool.id == alias:
        return tool
    return Tool(
        tool.toolset,
        alias,
        tool.description,
        tool.input_schema_json,
        tool.output_schema_json,
        tool.effect,
        tool.timeout_ms,
    )
