"""Which runs a start need not bring back."""

import pytest
from msgspec.structs import replace

from agentd.agent.budget import Budget
from agentd.agent.events import Event, RunPaused, RunWaiting, WaitReason
from agentd.agent.ids import DEFAULT_AGENT, DEFAULT_NAMESPACE, RunId, RunIdentity, RunKey
from agentd.agent.run import Run, RunView
from agentd.agent.spec import RunSpec
from agentd.agent.tool import EffectClass
from agentd.runtime.loading import waits_for_a_person
from agentd.runtime.ports import StoredRun
from tests.machine.build import (
    asking,
    created,
    decided,
    fold,
    question,
    replied,
    requested,
    started,
)

RUN = Run(
    RunIdentity(RunKey(1), DEFAULT_NAMESPACE, RunId("r1"), DEFAULT_AGENT),
    RunSpec("goal", 1, Budget()),
    RunView(),
)
ASKED = (created(), started(), requested(), asking("tool.use:a/b"))
WAITS = RunWaiting(WaitReason.APPROVAL)


@pytest.mark.parametrize(
    ("history", "parked"),
    [
        ((*ASKED, question(), WAITS), True),
        ((*ASKED, question(), RunPaused()), True),
        ((*ASKED, WAITS), False),
        ((*ASKED, question()), False),
        ((*ASKED, question(), WAITS, decided()), False),
        ((created(), started(), requested(), replied(calls=[EffectClass.READ_ONLY])), False),
    ],
)
def test_a_run_that_only_a_person_brings_back_is_left_where_it_is(
    history: tuple[Event, ...], *, parked: bool
) -> None:
    stored = StoredRun(RUN, fold(*history), len(history), len(history))
    assert waits_for_a_person(stored) is parked
    assert not waits_for_a_person(replace(stored, last_sequence=len(history) + 1))
    assert not waits_for_a_person(replace(stored, snapshot=None))
