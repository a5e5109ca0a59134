"""Facts on their way to a run."""

import asyncio
from collections.abc import Callable

from agentd.agent.events import Event
from agentd.agent.state import State
from agentd.errors import Reason, Unavailable


class Posting:
    """A fact for a run: an event, or a function that makes one of the run's present state."""

    __slots__ = ("ack", "arguments", "build", "event")

    def __init__(
        self,
        event: Event | None = None,
        build: Callable[..., Event] | None = None,
        arguments: tuple[object, ...] = (),
        ack: asyncio.Future[int] | None = None,
    ) -> None:
        self.event = event
        self.build = build
        self.arguments = arguments
        self.ack = ack
        """Resolved with the event's revision once it is durable, or with why it was refused."""

    def make(self, state: State) -> Event:
        """Return the event for the present state. Raises what `build` raises."""
        if self.event is not None:
            return self.event
        assert self.build is not None
        return self.build(state, *self.arguments)

    def refuse(self, error: BaseException) -> None:
        """Say why the fact was not recorded."""
        if self.ack and not self.ack.done():
            self.ack.set_exception(error)

    def accept(self, revision: int) -> None:
        """Say that the fact is durable."""
        if self.ack and not self.ack.done():
            self.ack.set_result(revision)


def going_down() -> Unavailable:
    """Return what those are told whose facts were being recorded when the daemon was stopped. They
    were not cancelled themselves, and must not look so."""
    return Unavailable(Reason.OUTCOME_UNKNOWN, "the daemon is going down")
