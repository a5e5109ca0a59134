"""The newest entries of the journal, at hand for readers that have just missed them."""

from collections import deque
from collections.abc import Sequence

from agentd.agent.events import CallEnded, Entry, MessagePosted, ModelReplied, RunCreated

ENTRIES = 2_048
LARGE_BYTES = 16_384
"""An entry with more text than this is not kept, nor what came before it: 32 MB at the most."""


class Recent:
    """A stretch of the journal without gaps, up to its newest published entry."""

    def __init__(self, revision: int) -> None:
        self._start = revision
        """Every entry after this revision is here."""
        self._entries: deque[Entry] = deque()

    def add(self, entries: Sequence[Entry]) -> None:
        """Take the next entries."""
        for entry in entries:
            if _size(entry) > LARGE_BYTES:
                self._entries.clear()
                self._start = entry.revision
                continue
            if len(self._entries) == ENTRIES:
                self._start = self._entries.popleft().revision
            self._entries.append(entry)

    def since(self, revision: int) -> list[Entry] | None:
        """Return what came after a revision, or None when that reaches back too far."""
        if revision < self._start:
            return None
        found: list[Entry] = []
        for entry in reversed(self._entries):
            if entry.revision <= revision:
                break
            found.append(entry)
        found.reverse()
        return found


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
