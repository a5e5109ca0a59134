"""The newest entries of the journal, at hand for readers that have just missed them."""

from collections import deque
from collections.abc import Collection, Sequence
from itertools import chain

from agentd.agent.events import CallEnded, Entry, MessagePosted, ModelReplied, RunCreated
from agentd.agent.ids import RunId

ENTRIES = 4_096
LARGE_BYTES = 8_192
"""An entry with more text than this is not kept, nor what came before it: 32 MB at the most."""


class Recent:
    """A stretch of the journal without gaps, up to its newest published entry."""

    def __init__(self, revision: int) -> None:
        self._start = revision
        """Every entry after this revision is here."""
        self._entries: deque[Entry] = deque()
        self._of_run: dict[RunId, deque[Entry]] = {}
        """The same by run; runs of two namespaces may have one id."""

    def add(self, entries: Sequence[Entry]) -> None:
        """Take the next entries."""
        for entry in entries:
            if _size(entry) > LARGE_BYTES:
                self._entries.clear()
                self._of_run.clear()
                self._start = entry.revision
                continue
            if len(self._entries) == ENTRIES:
                self._forget_oldest()
            self._entries.append(entry)
            of_run = self._of_run.get(entry.run.id)
            if of_run is None:
                self._of_run[entry.run.id] = deque((entry,))
            else:
                of_run.append(entry)

    def since(self, revision: int, runs: Collection[RunId] = ()) -> list[Entry] | None:
        """Return what came after a revision, perhaps of some runs alone, or None when that reaches
        back too far."""
        if revision < self._start:
            return None
        if not runs:
            return _after(self._entries, revision)
        found = [_after(self._of_run.get(run, ()), revision) for run in runs]
        return found[0] if len(found) == 1 else sorted(chain(*found), key=_revision)

    def _forget_oldest(self) -> None:
        oldest = self._entries.popleft()
        self._start = oldest.revision
        of_run = self._of_run[oldest.run.id]
        of_run.popleft()
        if not of_run:
            del self._of_run[oldest.run.id]


def _after(entries: Sequence[Entry], revision: int) -> list[Entry]:
    found: list[Entry] = []
    for entry in reversed(entries):
        if entry.revision <= revision:
            break
        found.append(entry)
    found.reverse()
    return found


def _revision(entry: Entry) -> int:
    return entry.revision


def _size(entry: Entry) -> int:
    """Return how much text an entry holds, about."""
    match entry.event:
        case CallEnded(result_json=text) | MessagePosted(text=text) | RunCreated(goal=text):
            return len(text)
        case ModelReplied(message=message):
            calls = sum(len(use.arguments_json) for use in message.calls)
            return len(message.text) + len(message.opaque_json) + calls
        case _:
            return 0
