"""Whose turn it is: the runs of one session take place one after another."""

from collections import deque

from agentd.agent.ids import Namespace, RunIdentity, SessionId


class Turns:
    """The unfinished runs of each session, in the order of their creation."""

    def __init__(self) -> None:
        self._queues: dict[tuple[Namespace, SessionId], deque[RunIdentity]] = {}

    def take(self, run: RunIdentity) -> bool:
        """Queue a run behind the earlier ones of its session; return whether it is first."""
        if run.session is None:
            return True
        queue = self._queues.setdefault((run.namespace, run.session), deque())
        queue.append(run)
        return queue[0] is run

    def waits(self, run: RunIdentity) -> bool:
        """Whether an earlier run of the session comes first."""
        if run.session is None:
            return False
        queue = self._queues.get((run.namespace, run.session))
        return queue is not None and queue[0] != run and run in queue

    def leave(self, run: RunIdentity) -> RunIdentity | None:
        """Take a run that has ended out; return the session's next one when that changes who is
        first."""
        if run.session is None:
            return None
        queue = self._queues.get((run.namespace, run.session))
        if queue is None or run not in queue:
            return None
        queue.remove(run)
        if queue:
            return queue[0]
        del self._queues[run.namespace, run.session]
        return None
