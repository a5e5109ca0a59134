"""Every journal that a release wrote folds to the states that it folded to then."""

from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import replace

from agentd.agent.events import CallEnded, Event, RunEnded
from tests.replay.journal import FOLDER, fold, holds, read_journal, told

JOURNALS = sorted(FOLDER.glob("*.jsonl.gz"))


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: path.name)
def test_a_golden_journal_folds_to_its_states(path: Path) -> None:
    runs = list(read_journal(path))
    assert len(runs) > 10
    for events, state in runs:
        assert holds(state, told(fold(events)))


def test_the_newest_journal_has_every_kind_of_event() -> None:
    kinds = {type(event) for events, _ in read_journal(JOURNALS[-1]) for event in events}
    assert kinds == set(get_args(Event))


def test_a_fold_that_differs_is_noticed() -> None:
    events, state = next(
        (events, state)
        for events, state in read_journal(JOURNALS[-1])
        if any(isinstance(event, CallEnded) for event in events)
        and isinstance(events[-1], RunEnded)
    )
    changed = [
        replace(event, output=event.output + "!") if isinstance(event, RunEnded) else event
        for event in events
    ]
    assert not holds(state, told(fold(changed)))
