"""The strictest rule of every layer decides, conditions only tighten, and nothing fails open."""

import pytest

from agentd.agent.permission import NO_LABELS, Decision, Judgement, Labels, Layer, Rule
from agentd.errors import InvalidRequest, Reason
from agentd.tools.permissions import (
    check_permission,
    check_rule,
    covers,
    default_layer,
    judge,
    render,
    resolve,
    resolve_permission,
)

ALLOW, ASK, DENY = Decision.ALLOW, Decision.ASK, Decision.DENY
UNTRUSTED, PRIVATE = Labels(untrusted=True), Labels(private=True)
HOME = "/var/runs/r1"


def layer(*rules: str) -> Layer:
    """Return rules such as `deny fs.read:/etc/**`."""
    return tuple(
        Rule(Decision[decision.upper()], permission)
        for decision, _, permission in (rule.partition(" ") for rule in rules)
    )


def verdict(
    layers: list[Layer], *needs: str, labels: Labels = NO_LABELS, outward: bool = False
) -> Decision:
    return judge(layers, needs, labels, outward=outward).decision


def test_deny_beats_ask_beats_allow_in_any_order() -> None:
    rules = ["allow fs.read:/a/**", "ask fs.read:/a/b/**", "deny fs.read:/a/b/c"]
    for order in (rules, rules[::-1]):
        rights = [layer(*order)]
        assert verdict(rights, "fs.read:/a/x") is ALLOW
        assert verdict(rights, "fs.read:/a/b/x") is ASK
        assert verdict(rights, "fs.read:/a/b/c") is DENY


def test_a_judgement_says_what_decided() -> None:
    own = layer("allow tool.use:*", "allow fs.read:/a/**")
    parent = layer("allow tool.use:*", "ask fs.read:/a/**")
    needs = ("tool.use:files/read", "fs.read:/a/b")
    assert judge([own, parent], needs, NO_LABELS, outward=False) == Judgement(
        ASK, needs, "fs.read:/a/b", "ask fs.read:/a/**"
    )
    assert judge([own], needs, NO_LABELS, outward=False) == Judgement(
        ALLOW, needs, "tool.use:files/read", "allow tool.use:*"
    )
    two = layer("ask fs.read:/a/b", "ask fs.read:/a/*")
    assert judge([two], ["fs.read:/a/*"], NO_LABELS, outward=False).rule == "ask fs.read:/a/b"
    denied = judge([own], [*needs, "fs.read:/b"], NO_LABELS, outward=False)
    assert (denied.decision, denied.need, denied.rule) == (DENY, "fs.read:/b", "")


def test_what_cannot_be_judged_is_denied() -> None:
    rights = [layer("allow tool.use:*", "allow fs.read:**")]
    assert verdict(rights, "tool.use:a/b", "fs.read:/etc/../b") is DENY
    assert verdict(rights, "fs.read:$workspace/a") is DENY
    assert verdict(rights, "nonsense") is DENY
    assert verdict(rights) is DENY
    assert verdict([], "tool.use:a/b") is DENY
    assert verdict([()], "tool.use:a/b") is DENY
    assert verdict([*rights, ()], "tool.use:a/b") is DENY


def test_a_need_that_is_a_pattern_needs_all_of_it() -> None:
    assert verdict([layer("allow fs.read:/a/**")], "fs.read:/a/*/b") is ALLOW
    assert verdict([layer("allow fs.read:/a/*")], "fs.read:/a/**") is DENY
    rights = [layer("allow fs.read:/a/**", "deny fs.read:/a/x/secret")]
    assert verdict(rights, "fs.read:/a/*/secret") is DENY
    assert verdict(rights, "fs.read:/a/y/*") is ALLOW
    assert verdict([layer("allow net.connect:*", "ask net.connect:a.org")], "net.connect:*") is ASK
    # Asking about a part does not allow the rest.
    assert verdict([layer("ask net.connect:a.org")], "net.connect:*.org") is DENY


def test_a_program_denied_by_name_is_denied_wherever_it_is() -> None:
    rights = [layer("allow process.exec:*", "deny process.exec:rm")]
    assert verdict(rights, "process.exec:/usr/bin/rm") is DENY
    assert verdict(rights, "process.exec:/usr/bin/ls") is ALLOW
    # One allowed by name is that of the system, not one that the model wrote.
    assert verdict([layer("allow process.exec:git")], "process.exec:/tmp/git") is DENY


def test_conditions_hold_for_runs_that_have_seen_all_and_for_effects_outside() -> None:
    after_both = Rule(ASK, "tool.use:*", after=UNTRUSTED | PRIVATE, outward=True)
    after_one = Rule(DENY, "tool.use:mail/*", after=UNTRUSTED)
    rights: list[Layer] = [(*layer("allow tool.use:*"), after_both, after_one)]
    both = UNTRUSTED | PRIVATE
    assert verdict(rights, "tool.use:a/b", labels=both, outward=True) is ASK
    assert verdict(rights, "tool.use:a/b", labels=both) is ALLOW
    for labels in (NO_LABELS, UNTRUSTED, PRIVATE):
        assert verdict(rights, "tool.use:a/b", labels=labels, outward=True) is ALLOW
    assert verdict(rights, "tool.use:mail/send", labels=UNTRUSTED) is DENY
    assert verdict(rights, "tool.use:mail/send", labels=PRIVATE) is ALLOW


def test_a_condition_allows_nothing() -> None:
    rights: list[Layer] = [(Rule(ASK, "tool.use:*", after=UNTRUSTED),)]
    assert verdict(rights, "tool.use:a/b") is DENY
    assert verdict(rights, "tool.use:a/b", labels=UNTRUSTED) is DENY
    loose: list[Layer] = [(Rule(ALLOW, "tool.use:*", outward=True),)]
    assert verdict(loose, "tool.use:a/b", outward=True) is DENY


def test_the_default_is_the_own_folder_commands_and_what_is_listed() -> None:
    rights = [default_layer(HOME, ["files/*", "process/run"])]
    assert verdict(rights, "tool.use:files/read", f"fs.read:{HOME}/a/b") is ALLOW
    assert verdict(rights, "tool.use:files/list", f"fs.read:{HOME}") is ALLOW
    assert verdict(rights, "tool.use:files/write", f"fs.write:{HOME}/a") is ALLOW
    assert verdict(rights, "tool.use:process/run", "process.exec:/bin/sh") is ALLOW
    assert verdict(rights, "tool.use:process/run", "net.connect:a.org:443") is ASK
    for denied in (
        "tool.use:web/fetch",
        "fs.read:/etc/passwd",
        f"fs.read:{HOME}2/a",
        "fs.write:/var/runs/r2/a",
        "secret.use:token",
        "agent.spawn:other",
        "memory.read:project",
    ):
        assert verdict(rights, denied) is DENY


def test_by_default_nothing_acts_outside_after_a_strangers_text_without_a_person() -> None:
    rights = [default_layer(HOME)]
    for untrusted in (False, True):
        for private in (False, True):
            for outward in (False, True):
                labels = Labels(untrusted, private)
                expected = ASK if untrusted and outward else ALLOW
                assert verdict(rights, "tool.use:a/b", labels=labels, outward=outward) is expected


def test_a_folder_takes_the_place_of_the_word_for_it() -> None:
    assert resolve_permission("fs.read:$workspace", HOME) == f"fs.read:{HOME}"
    assert resolve_permission("fs.read:$workspace/**", HOME) == f"fs.read:{HOME}/**"
    assert resolve_permission("fs.read:$workspace/**", "/") == "fs.read:/**"
    assert resolve_permission("fs.read:$workspace", "/") == "fs.read:/"
    assert (
        resolve_permission("process.exec:/a:$workspace/b", HOME) == "process.exec:/a:$workspace/b"
    )
    rules = layer("deny fs.read:$workspace/.git/**", "allow tool.use:*")
    assert resolve(rules, HOME) == layer(f"deny fs.read:{HOME}/.git/**", "allow tool.use:*")
    assert resolve(rules, "") == layer("allow tool.use:*")


@pytest.mark.parametrize("folder", ["a", "/a/../b", "/a/*", "/a/", "/a\n", "$workspace"])
def test_a_folder_that_would_mean_others_too_is_refused(folder: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        default_layer(folder)
    assert caught.value.faults[0].field == "workspace"


@pytest.mark.parametrize("permission", ["fs.read:$workspace/a", "fs.read:a", "fs.raed:/a"])
def test_a_rule_that_cannot_be_judged_by_is_refused(permission: str) -> None:
    # It could be the one that denies.
    with pytest.raises(InvalidRequest) as caught:
        judge([(Rule(DENY, permission),)], ["tool.use:a/b"], NO_LABELS, outward=False)
    assert caught.value.faults[0].field == "rules[0].permission"


def test_rules_and_permissions_are_checked_at_the_door() -> None:
    check_permission("fs.read:/a/*", "tool.permissions[0]")
    with pytest.raises(InvalidRequest, match=r"^tool\.permissions\[0\]: there is no permission"):
        check_permission("fs.rd:/a", "tool.permissions[0]")
    check_rule(Rule(ASK, "tool.use:*", after=PRIVATE, outward=True), "rules[0]")
    with pytest.raises(InvalidRequest, match=r"^rules\[0\]\.permission: "):
        check_rule(Rule(DENY, "fs.read:a"), "rules[0]")
    for loose in (
        Rule(ALLOW, "fs.read:/a", after=PRIVATE),
        Rule(ALLOW, "fs.read:/a", outward=True),
    ):
        with pytest.raises(InvalidRequest) as caught:
            check_rule(loose, "rules[0]")
        assert caught.value.reason is Reason.INVALID_FIELD


def test_rules_are_shown_as_people_write_them() -> None:
    assert render(Rule(ALLOW, "fs.read:**")) == "allow fs.read:**"
    assert render(Rule(DENY, "net.connect:*", outward=True)) == "deny net.connect:* outward"
    rule = Rule(ASK, "tool.use:*", after=UNTRUSTED | PRIVATE, outward=True)
    assert render(rule) == "ask tool.use:* outward after untrusted, private"


def test_covers_compares_texts() -> None:
    assert covers("fs.read:/a/**", "fs.read:/a/*/b")
    assert not covers("fs.read:/a/**", "fs.write:/a/b")
    assert not covers("fs.read:/a/*", "fs.read:/a/**")
    assert not covers("fs.read:**", "fs.read:a")
    assert not covers("nonsense", "nonsense")
