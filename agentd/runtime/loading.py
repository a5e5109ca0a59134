"""Bring a run back from the journal."""

import msgspec

from agentd.agent.events import RunState
from agentd.agent.ids import RunIdentity
from agentd.agent.run import RunView
from agentd.agent.spec import RunSpec
from agentd.agent.state import OpenCall, State
from agentd.agent.tool import CallState
from agentd.context.transcript import Transcript
from agentd.protocol.machine import evolve
from agentd.runtime.ports import Journal, StoredRun


class Loaded(msgspec.Struct, frozen=True):
    """A run as its journal has it."""

    spec: RunSpec
    view: RunView
    """How it stood at its last life-cycle change."""
    state: State
    sequence: int
    """The sequence of its newest event."""
    snapshot_sequence: int
    transcript: Transcript | None
    """Its conversation, if the events that were read hold all of it."""


async def load(journal: Journal, run: RunIdentity, stored: StoredRun | None) -> Loaded:
    """Fold a run from its snapshot and the events after it. `stored` is what the index says of it,
    if that was read already."""
    stored = stored or await journal.get_run(run.namespace, run.id)
    assert stored is not None
    state = stored.snapshot or State()
    after = stored.snapshot_sequence if stored.snapshot else 0
    entries = await journal.read_run(run, after_sequence=after)
    transcript = Transcript()
    for entry in entries:
        state = evolve(state, entry.event)
        if not after:
            transcript.add(entry.event)
    alone = not after and not (state.started and state.started.previous_run)
    return Loaded(
        spec=stored.run.spec,
        view=stored.run.view,
        state=state,
        sequence=entries[-1].sequence if entries else after,
        snapshot_sequence=after,
        transcript=transcript if alone else None,
    )


def waits_for_a_person(stored: StoredRun) -> bool:
    """Whether nothing but a person brings a run back: then it need not be loaded at a start."""
    state = stored.snapshot
    if state is None or stored.snapshot_sequence != stored.last_sequence:
        return False
    if not all(_waits(call) for call in state.calls):
        return False
    threads = state.lifecycle.threads if state.lifecycle else ()
    delayed = state.not_before_ms or any(thread.not_before_ms for thread in threads)
    waits = state.run is RunState.WAITING and not delayed
    return waits or state.run is RunState.PAUSED


def _waits(call: OpenCall) -> bool:
    asked = call.state is CallState.AWAITING_APPROVAL and call.approval is not None
    return asked or (call.state is CallState.UNKNOWN and not call.probing)
