"""The newest entries: a stretch without gaps, or nothing."""

from agentd.agent.events import CallEnded, Entry, RunPaused
from agentd.agent.ids import DEFAULT_AGENT, DEFAULT_NAMESPACE, CallId, RunId, RunIdentity, RunKey
from agentd.agent.tool import CallState
from agentd.runtime import recent
from agentd.runtime.recent import Recent

RUN = RunIdentity(RunKey(1), DEFAULT_NAMESPACE, RunId("r1"), DEFAULT_AGENT)


def entry(revision: int, size: int = 0) -> Entry:
    event = CallEnded(CallId("c1-1"), 1, CallState.SUCCEEDED, "x" * size) if size else RunPaused()
    return Entry(revision, RUN, revision, 0, event)


def revisions(kept: Recent, after: int) -> list[int] | None:
    found = kept.since(after)
    return None if found is None else [each.revision for each in found]


def test_it_knows_what_came_since_it_was_made_and_says_so() -> None:
    kept = Recent(10)
    assert revisions(kept, 10) == []
    assert revisions(kept, 9) is None
    kept.add([entry(11), entry(15), entry(16)])
    assert revisions(kept, 10) == [11, 15, 16]
    assert revisions(kept, 13) == [15, 16]
    assert revisions(kept, 16) == []


def test_what_falls_out_is_not_claimed() -> None:
    kept = Recent(0)
    kept.add([entry(number + 1) for number in range(recent.ENTRIES + 2)])
    assert revisions(kept, 1) is None
    assert revisions(kept, 2) == list(range(3, recent.ENTRIES + 3))


def test_a_large_entry_is_not_kept_nor_what_came_before_it() -> None:
    kept = Recent(0)
    kept.add([entry(1), entry(2, recent.LARGE_BYTES + 1), entry(3)])
    assert revisions(kept, 1) is None
    assert revisions(kept, 2) == [3]


def test_the_entries_of_some_runs_are_found_alone() -> None:
    other = RunIdentity(RunKey(2), DEFAULT_NAMESPACE, RunId("r2"), DEFAULT_AGENT)
    kept = Recent(0)
    kept.add(
        [
            Entry(number, other if number % 3 == 0 else RUN, number, 0, RunPaused())
            for number in range(1, recent.ENTRIES + 4)
        ]
    )

    def of(*runs: RunIdentity) -> list[int] | None:
        found = kept.since(recent.ENTRIES - 3, [run.id for run in runs])
        return None if found is None else [each.revision for each in found]

    newest = list(range(recent.ENTRIES - 2, recent.ENTRIES + 4))
    assert of(other) == [number for number in newest if number % 3 == 0]
    assert of(RUN) == [number for number in newest if number % 3]
    assert of(RUN, other) == newest
    assert kept.since(2, [RUN.id]) is None
    assert kept.since(3, [RunId("r3")]) == []
