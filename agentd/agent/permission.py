"""What a call may do, and what is known of the text that a run has seen. Pure data."""

from enum import Enum

import msgspec


class Decision(Enum):
    """What a rule says of what it matches; the values are those of `agentd.v1.Decision`.

    Deny beats ask beats allow: the lowest value of several decisions is the one in force.
    """

    DENY = 1
    ASK = 2
    ALLOW = 3


class Labels(msgspec.Struct, frozen=True):
    """What a run has seen so far, or what one result brings into it. Labels are only ever added."""

    untrusted: bool = False
    """Text that somebody outside may have written: a page, an e-mail, a foreign server."""
    private: bool = False
    """Data that must not leave without a person's consent."""

    def __or__(self, other: "Labels") -> "Labels":
        return Labels(self.untrusted or other.untrusted, self.private or other.private)


NO_LABELS = Labels()


class Rule(msgspec.Struct, frozen=True):
    """Says whether calls may have a permission."""

    decision: Decision
    permission: str
    """Such as `fs.read:**`; the grammar is that of `agentd/tools/permissions.py`."""
    after: Labels = NO_LABELS
    """The rule holds only for a run that has all of these labels."""
    outward: bool = False
    """The rule holds only for a call whose effect reaches beyond the daemon."""


Layer = tuple[Rule, ...]
"""The rules of one agent. A call is judged by its own agent's layer and by every ancestor's."""


class Judgement(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a call may be executed, and what decided that."""

    decision: Decision
    needs: tuple[str, ...] = ()
    """Every permission that the call needs, such as `fs.read:/srv/data/a.txt`."""
    need: str = ""
    """The one that decided."""
    rule: str = ""
    """The rule that decided, as people write it; empty when nothing allowed it."""
    granted: bool = False
    """Whether that rule asked, and a grant answered for a person."""


class Grant(msgspec.Struct, frozen=True):
    """A person's lasting answer: calls that need nothing else pass where a rule asks."""

    permissions: tuple[str, ...]
    """Every permission that the allowed call needed."""
    labels: Labels = NO_LABELS
    """What its run had seen. What a run has seen beyond this makes it another question."""

    def covers(self, needs: tuple[str, ...], labels: Labels) -> bool:
        """Whether a call with these needs passes, in a run that has seen this."""
        return set(needs) <= set(self.permissions) and (labels | self.labels) == self.labels
