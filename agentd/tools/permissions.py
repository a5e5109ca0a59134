"""Judge what a call needs by the rules of its agent and of every ancestor. Pure: no clock, no I/O.

Within a layer deny beats ask beats allow, and what nothing allows is denied. Over the needs of a
call and over the layers the strictest wins, so a child never has more than its parent. Rules with
conditions only make a layer stricter: one that asks on a condition asks about what is allowed
without it.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from agentd.agent.permission import NO_LABELS, Decision, Judgement, Labels, Layer, Rule
from agentd.errors import invalid_field
from agentd.tools.grammar import (
    WORKSPACE,
    Kind,
    Malformed,
    Names,
    Permission,
    Value,
    check,
    meets,
    parse,
)
from agentd.tools.grammar import covers as covers_value

MAX_COMPILED = 512
"""The most layers that are kept compiled; each run without rules of its own has one."""

DEFAULT_RULES: Layer = (
    # Its own folder, and commands: the sandbox gives them that folder, and no network of its own.
    Rule(Decision.ALLOW, f"fs.read:{WORKSPACE}/**"),
    Rule(Decision.ALLOW, f"fs.write:{WORKSPACE}/**"),
    Rule(Decision.ALLOW, "process.exec:*"),
    # Whatever leaves may carry what the run has read.
    Rule(Decision.ASK, "net.connect:*"),
    # Text of a stranger may steer the model. Of private data, of that text and of an effect outside
    # no run combines all without a person; nor may a stranger choose the effect without one.
    Rule(Decision.ASK, "tool.use:*", after=Labels(untrusted=True), outward=True),
)
"""The rules of an agent that has none of its own, beside the tools that it lists. Nothing allows
other files, secrets, memories and other agents: they are denied."""


def check_permission(text: str, field: str) -> None:
    """Accept a permission or a pattern of permissions, or raise InvalidRequest (INVALID_FIELD)
    naming the field."""
    check(text, field)


def check_rule(rule: Rule, field: str) -> None:
    """Accept a rule, or raise InvalidRequest (INVALID_FIELD) naming the field or one within it.

    Conditions may only make a run's rules stricter: one that has seen a stranger's text must not
    be allowed more for it.
    """
    check(rule.permission, f"{field}.permission")
    if rule.decision is Decision.ALLOW and _is_conditional(rule):
        raise invalid_field(field, "'after' and 'outward' are for rules that ask or deny")


def _is_conditional(rule: Rule) -> bool:
    return rule.outward or rule.after != NO_LABELS


def covers(wide: str, narrow: str) -> bool:
    """Whether all that the pattern `narrow` matches is matched by `wide`. Says no where it is not
    sure, and of anything malformed."""
    try:
        outer, inner = parse(wide), parse(narrow)
    except Malformed:
        return False
    return outer.kind is inner.kind and covers_value(outer.value, inner.value)


def render(rule: Rule) -> str:
    """Return a rule as people write it: `ask tool.use:* outward after untrusted, private`."""
    words = [rule.decision.name.lower(), rule.permission]
    if rule.outward:
        words.append("outward")
    seen = [name for name in ("untrusted", "private") if getattr(rule.after, name)]
    if seen:
        words.append(f"after {', '.join(seen)}")
    return " ".join(words)


def default_layer(workspace: str, tools: Iterable[str] = ("*",)) -> Layer:
    """Return the rules of an agent that has none of its own, in the folder of a run.

    `tools` are the patterns that the agent lists: what it does not list, its children may not use
    either. Raises InvalidRequest as `resolve` does.
    """
    listed = tuple(Rule(Decision.ALLOW, f"tool.use:{pattern}") for pattern in tools)
    return listed + resolve(DEFAULT_RULES, workspace)


def resolve(layer: Layer, workspace: str) -> Layer:
    """Return the rules with the run's folder in the place of `$workspace`; for a run without one
    (empty), without the rules about it.

    Raises InvalidRequest (INVALID_FIELD) for a folder that is no normalised absolute path or that
    has `*` in it, where its rules would hold for other folders too.
    """
    if workspace:
        if "*" in workspace or not workspace.startswith("/"):
            raise invalid_field("workspace", "must be an absolute path without '*'")
        check(f"fs.read:{workspace}", "workspace")
    return tuple(
        replace(rule, permission=resolve_permission(rule.permission, workspace))
        for rule in layer
        if workspace or not _is_relative(rule.permission)
    )


def resolve_permission(permission: str, workspace: str) -> str:
    """Return a permission with a folder, which `resolve` would accept, in the place of
    `$workspace`."""
    if not _is_relative(permission):
        return permission
    kind, _, value = permission.partition(":")
    beneath = value.removeprefix(WORKSPACE)
    return f"{kind}:{workspace.rstrip('/') + beneath or '/'}"


def _is_relative(permission: str) -> bool:
    value = permission.partition(":")[2]
    return value == WORKSPACE or value.startswith(f"{WORKSPACE}/")


def judge(
    layers: Sequence[Layer], needs: Sequence[str], labels: Labels, *, outward: bool
) -> Judgement:
    """Say whether a call may be executed that needs all these permissions.

    `layers` are the resolved rules of the call's agent, then of its ancestors; `labels` is what the
    run has seen; `outward` is whether the effect reaches beyond the daemon. A need may be a
    pattern: then all that it matches must be allowed. A malformed need is denied, and so is a call
    without needs or without layers. Raises InvalidRequest (INVALID_FIELD) for a rule that is
    malformed or not resolved.
    """
    compiled = [_compile(layer) for layer in layers]
    strictest, need = _UNHEARD, ""
    for text in needs:
        permission = _parse_need(text)
        for rules in compiled:
            verdict = _decide(rules, permission, labels, outward=outward)
            if verdict.rank < strictest.rank:
                strictest, need = verdict, text
    return Judgement(strictest.decision, tuple(needs), need, strictest.text)


class _Compiled(msgspec.Struct, frozen=True):
    """A rule, ready to be asked."""

    decision: Decision
    text: str
    rank: int
    """The decision's value."""
    value: Value = Names("")
    untrusted: bool = False
    private: bool = False
    outward: bool = False
    stops: bool = False
    """Whether it denies or asks."""
    grants: bool = False
    """Whether it allows or asks, whatever the run has seen: a run that has seen a stranger's text
    may not do what it could not do without."""


_DENIED = _Compiled(Decision.DENY, "", Decision.DENY.value)
"""Stands for the rule that is not there."""
_UNHEARD = _Compiled(Decision.DENY, "", Decision.ALLOW.value + 1)
"""Stands for the verdict while nothing was judged."""


@lru_cache(maxsize=MAX_COMPILED)
def _compile(layer: Layer) -> dict[Kind, tuple[_Compiled, ...]]:
    """Return the rules of each kind, the strictest first."""
    shelves: dict[Kind, list[_Compiled]] = {}
    for index, rule in enumerate(layer):
        permission = check(rule.permission, f"rules[{index}].permission")
        if _is_relative(rule.permission):
            raise invalid_field(f"rules[{index}].permission", f"'{WORKSPACE}' is not resolved")
        shelves.setdefault(permission.kind, []).append(
            _Compiled(
                rule.decision,
                render(rule),
                rule.decision.value,
                permission.value,
                rule.after.untrusted,
                rule.after.private,
                rule.outward,
                stops=rule.decision is not Decision.ALLOW,
                grants=rule.decision is not Decision.DENY and not _is_conditional(rule),
            )
        )
    return {
        kind: tuple(sorted(shelf, key=lambda rule: rule.rank)) for kind, shelf in shelves.items()
    }


def _parse_need(text: str) -> Permission | None:
    try:
        return parse(text)
    except Malformed:
        return None


def _decide(
    rules: Mapping[Kind, Sequence[_Compiled]],
    need: Permission | None,
    labels: Labels,
    *,
    outward: bool,
) -> _Compiled:
    """Return the rule of one layer that decides one need."""
    if need is None:
        return _DENIED
    asked: _Compiled | None = None
    for rule in rules.get(need.kind, ()):
        if (
            (rule.untrusted and not labels.untrusted)
            or (rule.private and not labels.private)
            or (rule.outward and not outward)
        ):
            continue
        if rule.stops and meets(rule.value, need.value):
            if rule.decision is Decision.DENY:
                return rule
            asked = asked or rule
        # What is asked about may be a part of the need: something must grant all of it.
        if rule.grants and covers_value(rule.value, need.value):
            return asked or rule
    return _DENIED
