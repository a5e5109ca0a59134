"""Identifiers, resource names and the rules for both."""

import re
from typing import NewType

import msgspec

from agentd.errors import invalid_field

Namespace = NewType("Namespace", str)
AgentId = NewType("AgentId", str)
SessionId = NewType("SessionId", str)
RunId = NewType("RunId", str)
CallId = NewType("CallId", str)
"""A call within its run: `c{turn}-{index}`, both counted from 1."""
HostId = NewType("HostId", str)
RunKey = NewType("RunKey", int)
"""A run's number in its journal: small, never reused, and never shown outside."""

DEFAULT_NAMESPACE = Namespace("default")
DEFAULT_AGENT = AgentId("default")
LOCAL_HOST = HostId("agentd")
"""The host of tools that run in the daemon's own process."""

_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_TOOL_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")
_ID_RULE = "must be lower-case letters, digits and inner hyphens, 1 to 63, starting with a letter"


class RunIdentity(msgspec.Struct, frozen=True):
    """What never changes about a run, and what a journal entry is filtered by."""

    key: RunKey
    namespace: Namespace
    id: RunId
    agent: AgentId
    session: SessionId | None = None


def check_id(value: str, field: str) -> str:
    """Return a resource id, or raise InvalidRequest naming the field."""
    if not _ID.match(value):
        raise invalid_field(field, f"{value[:80]!r} is not a valid id: it {_ID_RULE}")
    return value


def check_tool_id(value: str, field: str) -> str:
    """Return a tool's id, or raise InvalidRequest naming the field."""
    if not _TOOL_ID.match(value):
        raise invalid_field(
            field,
            f"{value[:80]!r} is not a valid tool id: letters, digits, '_' and '-', 1 to 64, "
            "starting with a letter",
        )
    return value


def parse_name(name: str, collection: str, field: str = "name") -> str:
    """Return the id of `{collection}/{id}`, or raise InvalidRequest naming the field."""
    prefix, separator, rest = name.partition("/")
    if prefix != collection or not separator:
        raise invalid_field(field, f"{name[:80]!r} must have the form '{collection}/{{id}}'")
    return check_id(rest, field)


def parse_child_name(name: str, parent: str, child: str, field: str = "name") -> tuple[str, str]:
    """Return the two ids of `{parent}/{id}/{child}/{id}`, or raise InvalidRequest."""
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != parent or parts[2] != child:
        form = f"'{parent}/{{id}}/{child}/{{id}}'"
        raise invalid_field(field, f"{name[:80]!r} must have the form {form}")
    check = check_tool_id if child == "tools" else check_id
    return check_id(parts[1], field), check(parts[3], field)
