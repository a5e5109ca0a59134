"""Daemons with one law broken on purpose: the controls that show that the kit can fail."""

import sys
import time
from typing import Any

import agentd.runtime.driver
from agentd.agent.events import Event
from agentd.agent.state import State
from agentd.agent.tool import CallErrorReason, CallState, EffectClass
from agentd.protocol.machine import interrupted, without_outcome
from agentd.runtime.journal.writer import Writer
from agentd.runtime.work import Work
from tests.crash import daemon

HEAD_START_S = 0.02
"""How long an answer that comes too early has to leave the process before the crash."""


def repeat() -> None:
    """After a restart, execute whatever was in progress again, whether or not it may be."""

    def again(state: State) -> tuple[Event, ...]:
        leased = [call for call in state.calls if call.state is CallState.LEASED]
        lost = [without_outcome(call, CallErrorReason.HOST_LOST, "") for call in leased]
        return (*interrupted(state), *lost)

    for effect in EffectClass:
        effect.repeatable = True
    _replace(agentd.runtime.driver, "interrupted", again)
    _replace(Work, "adopt_leases", lambda _: None)


def acknowledge_early() -> None:
    """Answer before the commit."""
    commit = Writer._commit

    def early(self: Any, items: list[Any]) -> None:
        post = self._post
        post(self._sink.committed, items)
        time.sleep(HEAD_START_S)
        self._post = lambda *_: None
        try:
            commit(self, items)
        finally:
            self._post = post

    _replace(Writer, "_commit", early)


def _replace(owner: object, name: str, value: object) -> None:
    """Break a law where it stands, and complain when it has moved."""
    assert hasattr(owner, name), f"{owner} has no {name}"
    setattr(owner, name, value)


if __name__ == "__main__":
    {"repeat": repeat, "acknowledge_early": acknowledge_early}[sys.argv.pop(1)]()
    sys.exit(daemon.main())
