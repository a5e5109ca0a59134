"""What the folds of facts share. Pure."""

from msgspec.structs import replace

from agentd.agent.events import Event, RunState
from agentd.agent.state import OpenCall, State
from agentd.errors import Corrupt, Reason

BYTES_PER_TOKEN = 4
"""How the input of a request is estimated before its provider has counted it."""


class IllegalEvent(Corrupt):
    """A fact that cannot follow the state."""

    def __init__(self, state: State, event: Event, why: str) -> None:
        super().__init__(
            Reason.JOURNAL_CORRUPT,
            f"{type(event).__name__} cannot follow {state.run.name}: {why}",
        )


def estimate_tokens(size_bytes: int) -> int:
    """Return a cautious estimate of the tokens of some text."""
    return size_bytes // BYTES_PER_TOKEN + 1


def at_work(state: State) -> RunState:
    """Return the state of a run whose work goes on: one that waited does not any more."""
    return RunState.RUNNING if state.run is RunState.WAITING else state.run


def with_call(calls: tuple[OpenCall, ...], call: OpenCall) -> tuple[OpenCall, ...]:
    """Return the calls with one of them changed."""
    if len(calls) == 1:
        return (call,)
    return tuple(call if other.id == call.id else other for other in calls)


def changed(state: State, call: OpenCall) -> State:
    """Return the state with a call changed, and the run at work."""
    return replace(state, run=at_work(state), waiting=None, calls=with_call(state.calls, call))
