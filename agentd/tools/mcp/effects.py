"""Say which effect class a tool of an MCP server has: a table, and who may appeal to it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from agentd.agent.tool import EffectClass


class Hints(msgspec.Struct, frozen=True):
    """Annotations that a row of the table asks for; None asks for nothing."""

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None

    def hold(self, annotations: Mapping[str, Any]) -> bool:
        """Whether a tool says all of this of itself. What is not said is not taken as said."""
        said = (
            (self.read_only, annotations.get("readOnlyHint")),
            (self.destructive, annotations.get("destructiveHint")),
            (self.idempotent, annotations.get("idempotentHint")),
        )
        return all(wanted is None or value is wanted for wanted, value in said)


TABLE: tuple[tuple[Hints, EffectClass], ...] = (
    (Hints(read_only=True, destructive=True), EffectClass.IRREVERSIBLE),  # contradicts itself
    (Hints(read_only=True), EffectClass.READ_ONLY),
    (Hints(idempotent=True), EffectClass.IDEMPOTENT),
    (Hints(destructive=False), EffectClass.NON_IDEMPOTENT),
    (Hints(), EffectClass.IRREVERSIBLE),
)
"""The first row that holds decides, for servers that the operator trusts. A foreign server's own
word is no reason to repeat a call or to spare a person's approval: its tools are IRREVERSIBLE,
whatever they say. Source of the hints: MCP 2026-07-28, `ToolAnnotations`."""


def effect_of(
    annotations: Mapping[str, Any], override: EffectClass | None, *, trusted: bool
) -> EffectClass:
    """Return the effect class: the operator's word, else a trusted server's, else the worst."""
    if override is not None:
        return override
    if not trusted:
        return EffectClass.IRREVERSIBLE
    return next(effect for hints, effect in TABLE if hints.hold(annotations))
