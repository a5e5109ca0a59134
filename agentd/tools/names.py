"""Which names of toolsets are the daemon's, and which of these stand for somebody else's tools."""

OWN = frozenset({"agents", "files", "memory", "process", "skills", "web"})
"""Toolsets whose tools the daemon itself executes."""
MCP_PREFIX = "mcp-"
"""Begins the toolset of a server that speaks the Model Context Protocol."""


def is_reserved(toolset: str) -> bool:
    """Whether no host may offer a toolset of this name."""
    return toolset in OWN or toolset.startswith(MCP_PREFIX)


def is_foreign(toolset: str) -> bool:
    """Whether the daemon passes calls on to a program that somebody else wrote."""
    return toolset.startswith(MCP_PREFIX)
