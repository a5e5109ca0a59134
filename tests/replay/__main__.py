"""Record a golden journal for a release: `python -m tests.replay 0.1.0`.

The histories are those of simulations, whose faults reach every kind of event.
"""

import sys
from typing import get_args

from agentd.agent.events import Event
from agentd.runtime.ports import RunQuery
from tests.replay.journal import FOLDER, write_journal
from tests.simulation.loop import VirtualLoop
from tests.simulation.simulation import Simulation
from tests.simulation.world import NAMESPACE

SEEDS = range(1, 100)
ENOUGH = 12
"""Seeds at least; more follow until every kind of event was reached."""


def main(version: str) -> None:
    """Write `tests/replay/VERSION.jsonl.gz`. A journal that was released is never written again."""
    path = FOLDER / f"{version}.jsonl.gz"
    if path.exists():
        raise SystemExit(f"{path.name} was recorded already")
    histories: list[list[Event]] = []
    for seed in SEEDS:
        reached = {type(event) for events in histories for event in events}
        if seed > ENOUGH and reached == set(get_args(Event)):
            break
        loop = VirtualLoop()
        simulation = Simulation(seed, loop, None)
        with simulation.listening():
            loop.run_until_complete(simulation.run())
            world = simulation.world
            query = RunQuery(NAMESPACE)
            runs = loop.run_until_complete(world.journal.list_runs(query, before=None, limit=100))
        histories += [
            [entry.event for entry in world.history(stored.run.identity)] for stored in runs
        ]
        loop.close()
    write_journal(path, histories)


if __name__ == "__main__":
    main(sys.argv[1])
