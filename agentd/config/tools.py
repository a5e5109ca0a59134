"""The sections of the configuration about tools, and what they may reach."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentd.config.keys import (
    FLAG,
    OPTIONAL_PATH,
    PATHS,
    TEXT,
    TEXTS,
    Secret,
    choice,
    integer,
    key,
    number,
    table,
)


@dataclass(frozen=True, slots=True)
class McpServerSection:
    """A server that speaks the Model Context Protocol; its tools are those of `mcp-NAME`."""

    command: tuple[str, ...] = key((), TEXTS, "The program and its arguments, for one run here.")
    url: str = key("", TEXT, "The address of one that runs elsewhere.")
    environment: tuple[str, ...] = key(
        (), TEXTS, "NAME=VALUE of a command; a value may have ${secret:NAME} in it."
    )
    headers: tuple[str, ...] = key(
        (), TEXTS, "NAME: VALUE for a url; a value may have ${secret:NAME} in it."
    )
    permissions: tuple[str, ...] = key(
        (), TEXTS, "What the server itself may use, such as net.connect:example.com:443."
    )
    effects: tuple[str, ...] = key(
        (), TEXTS, "TOOL=EFFECT, such as list_files=READ_ONLY, where you know better."
    )
    trusted: bool = key(
        False, FLAG, "Whether to believe what it says of its tools, and of what they return."
    )
    timeout_s: float = key(60.0, number(0.1, 3600, "seconds"), "How long one call may take.")
    memory_mb: int = key(
        4096, integer(16, 10**6, "megabytes"), "The address space of a command's processes."
    )


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of the daemon itself, and of MCP servers."""

    builtin: bool = key(True, FLAG, "Whether there are tools for files, commands and pages.")
    max_calls: int = key(64, integer(1, 10_000), "Calls of these at a time.")
    max_calls_per_tool: int = key(16, integer(1, 10_000), "Calls of one of these at a time.")
    folders: tuple[Path, ...] = key(
        (), PATHS, "Folders that runs may be told to work in, or beneath. A user's: the home."
    )
    skills: tuple[Path, ...] = key((), PATHS, "Folders whose folders are skills.")
    mcp: Mapping[str, McpServerSection] = table(McpServerSection, "NAME")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How commands are confined."""

    weakest_tier: str = key(
        "landlock",
        choice("bubblewrap", "landlock"),
        "What must work at the least for commands to be offered.",
    )


@dataclass(frozen=True, slots=True)
class SecretSection:
    """A secret that tools may be given. One of the three says where it is."""

    file: Path | None = key(None, OPTIONAL_PATH, "A file that only the daemon's user may read.")
    variable: str = key("", TEXT, "A variable of the daemon's environment.")
    credential: str = key("", TEXT, "A credential of the systemd unit.")
    environment_value: Secret | None = None
    """The text of the variable."""
