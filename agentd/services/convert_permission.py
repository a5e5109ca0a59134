"""Translate rules, grants and verdicts into the contract's messages."""

from collections.abc import Iterable, Mapping
from typing import Any

from agentd.agent.permission import Grant, Judgement, Labels, Layer, Rule
from agentd.v1 import permission_pb2

_Fields = Mapping[str, Any]
"""The fields of a message."""


def rule(value: Rule) -> _Fields:
    """Return the fields of one rule of an agent."""
    return {
        "decision": value.decision.value,
        "permission": value.permission,
        "after_untrusted": value.after.untrusted,
        "after_private": value.after.private,
        "outward": value.outward,
    }


def grant(value: Grant) -> _Fields:
    """Return the fields of a lasting answer."""
    return {
        "permissions": value.permissions,
        "untrusted": value.labels.untrusted,
        "private": value.labels.private,
    }


def layers(values: Iterable[Layer]) -> list[_Fields]:
    """Return the fields of the rules that a run is held to."""
    return [{"rules": [rule(each) for each in layer]} for layer in values]


def verdict(value: Judgement | None, seen: Labels) -> _Fields | None:
    """Return the fields of a verdict on a call, and of what its run had seen."""
    if value is None:
        return None
    return {
        "decision": value.decision.value,
        "needs": value.needs,
        "need": value.need,
        "rule": value.rule,
        "after_untrusted": seen.untrusted,
        "after_private": seen.private,
        "granted": value.granted,
    }


def verdict_message(value: Judgement | None, seen: Labels) -> permission_pb2.Verdict | None:
    """Return a verdict on a call as a message."""
    fields = verdict(value, seen)
    return permission_pb2.Verdict(**fields) if fields else None
