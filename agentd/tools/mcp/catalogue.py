"""Translate the tool list of an MCP server: what is pinned of it, and the tools that it gives us.

A list is kept in a canonical form, which holds all that a person or a model sees of a tool and all
that we act on. Its digest is what gets pinned, and the tools are always made from the pinned form:
what was accepted is what is used.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from agentd.agent.permission import Labels
from agentd.agent.tool import Tool
from agentd.errors import InvalidRequest
from agentd.tools.mcp.effects import effect_of
from agentd.tools.mcp.schemas import Unusable, schema_json
from agentd.tools.mcp.server import McpServer
from agentd.tools.mcp.text import clean, text_of
from agentd.tools.schema import check_schema

MAX_TOOLS = 512
"""The most tools of one server."""
MAX_LIST_BYTES = 4 * 1024 * 1024
"""The longest canonical list."""
MAX_DESCRIPTION = 8_000
"""The longest description of a tool, in characters; that of `git` has 150, of `fetch` 500."""
MAX_NAME = 256
"""The longest name on the wire."""
_SHOWN_NAME = 80

_KEPT = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9_-]")

RESULT_SCHEMA = (
    '{"type":"object","required":["content"],"properties":'
    '{"content":{"type":"array"},"structured":{}}}'
)
"""What every MCP tool answers. The server's own output schema is not enforced: it speaks of the
structured part alone, and breaking it would not undo the call."""


class Listed(msgspec.Struct, frozen=True):
    """A tool, and what its server calls it."""

    name: str
    tool: Tool


class Catalogue(msgspec.Struct, frozen=True):
    """What an accepted list gives."""

    tools: tuple[Listed, ...] = ()
    faults: tuple[str, ...] = ()


class Unlistable(Exception):
    """The list itself is beyond what is accepted."""


def canonical(entries: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the canonical form of a list: JSON, the same for the same tools in any order.

    Raises Unlistable when it is too long, or holds what JSON of ours cannot.
    """
    encoder = msgspec.json.Encoder(order="sorted")
    try:
        encoded = sorted(
            encoder.encode({key: entry[key] for key in _KEPT if entry.get(key) is not None})
            for entry in entries
        )
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unlistable(f"the list cannot be encoded ({type(error).__name__})") from None
    if len(encoded) > MAX_TOOLS:
        raise Unlistable(f"it has {len(encoded)} tools, and at most {MAX_TOOLS} are accepted")
    listed = b"[" + b",".join(encoded) + b"]"
    if len(listed) > MAX_LIST_BYTES:
        raise Unlistable(f"the list has more than {MAX_LIST_BYTES} bytes")
    return listed


def digest_of(listed: bytes) -> str:
    """Return the SHA-256 of a canonical list, in hexadecimal."""
    return hashlib.sha256(listed).hexdigest()


def translate(server: McpServer, listed: bytes) -> Catalogue:
    """Return the tools of a canonical list; one that cannot be used is left out with a fault."""
    tools: list[Listed] = []
    faults: list[str] = []
    entries = _entries(listed)
    names = Counter(text_of(entry, "name") for entry in entries)
    ids = tool_ids(names)
    holders = Counter(ids.values())
    for entry in entries:
        name = text_of(entry, "name")
        if not name or len(name) > MAX_NAME or names[name] > 1:
            faults.append(f"{_shown(name)} is left out: its name is empty, too long or not unique")
            continue
        if holders[ids[name]] > 1 and ids[name] != name:
            faults.append(f"{_shown(name)} is left out: another tool has its id")
            continue
        try:
            tools.append(Listed(name, _tool(server, entry, ids[name])))
        except (InvalidRequest, Unusable) as error:
            faults.append(f"{_shown(name)} is left out: {clean(str(error), 300)}")
    return Catalogue(tuple(tools), tuple(faults))


def tool_ids(names: Iterable[str]) -> dict[str, str]:
    """Return an id of ours for each name: `[A-Za-z][A-Za-z0-9_-]{0,63}`.

    A name that is an id stays. In any other, each character that an id cannot have becomes `_`, and
    where that would be the id of two names, it ends in eight digits of the name's own SHA-256: the
    order of the list decides nothing, and no tool can take the id of one that has it by right.
    """
    names = set(names)
    plain = {name: _plain_id(name) for name in names}
    holders = Counter(plain.values())
    return {
        name: plain[name]
        if plain[name] == name or holders[plain[name]] == 1
        else f"{plain[name][:55]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        for name in names
    }


def differences(accepted: bytes, offered: bytes) -> tuple[str, ...]:
    """Say in a line for each tool what the offered list adds, removes and changes."""
    old = {text_of(entry, "name"): entry for entry in _entries(accepted)}
    new = {text_of(entry, "name"): entry for entry in _entries(offered)}
    lines = [f"added {_shown(name)}" for name in sorted(new.keys() - old.keys())]
    lines += [f"removed {_shown(name)}" for name in sorted(old.keys() - new.keys())]
    for name in sorted(old.keys() & new.keys()):
        keys = [key for key in _KEPT if old[name].get(key) != new[name].get(key)]
        if keys:
            lines.append(f"changed {_shown(name)}: {', '.join(keys)}")
    return tuple(lines)


def _entries(listed: bytes) -> list[dict[str, Any]]:
    return msgspec.json.decode(listed, type=list[dict[str, Any]])


def _tool(server: McpServer, entry: Mapping[str, Any], id: str) -> Tool:
    annotations = entry.get("annotations")
    annotations = annotations if isinstance(annotations, dict) else {}
    schema = schema_json(entry.get("inputSchema"), trusted=server.trusted)
    check_schema(schema, "its input schema", of_object=True)
    description = text_of(entry, "description") or text_of(entry, "title")
    open_world = annotations.get("openWorldHint") is True
    return Tool(
        toolset=server.toolset,
        id=id,
        description=clean(description, MAX_DESCRIPTION),
        input_schema_json=schema,
        output_schema_json=RESULT_SCHEMA,
        effect=effect_of(
            annotations, server.effects.get(text_of(entry, "name")), trusted=server.trusted
        ),
        timeout_ms=server.timeout_ms,
        labels=Labels(untrusted=not server.trusted or open_world),
    )


def _plain_id(name: str) -> str:
    plain = _NOT_IN_ID.sub("_", name)
    return (plain if plain[:1].isalpha() else f"t{plain}")[:64]


def _shown(name: str) -> str:
    return repr(clean(name, _SHOWN_NAME))
