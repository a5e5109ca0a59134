"""A golden journal: the encoded events of some runs and the states that they folded to.

One JSON object a line for each run, gzipped: `events` holds a kind and a body in hexadecimal for
each event, `state` the state that the release which recorded them folded from them, as JSON.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agentd.agent.events import Event
from agentd.agent.state import State
from agentd.protocol.machine import evolve
from agentd.runtime.codec import decode_event, encode_event

FOLDER = Path(__file__).parent


def write_journal(path: Path, histories: Iterable[Sequence[Event]]) -> None:
    """Record histories with the states that this release folds from them."""
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        for events in histories:
            encoded = [(kind, body.hex()) for kind, body in map(encode_event, events)]
            line = {"events": encoded, "state": told(fold(events))}
            file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


def read_journal(path: Path) -> Iterator[tuple[list[Event], Any]]:
    """Yield each history with the state that was recorded for it."""
    with gzip.open(path, "rb") as file:
        for line in file:
            run = json.loads(line)
            events = [decode_event(kind, bytes.fromhex(body)) for kind, body in run["events"]]
            yield events, run["state"]


def fold(events: Iterable[Event]) -> State:
    """Fold a history from nothing."""
    state = State()
    for event in events:
        state = evolve(state, event)
    return state


def told(state: State) -> Any:
    """Return a state as plain JSON values."""
    return json.loads(msgspec.json.encode(state))


def holds(expected: Any, actual: Any) -> bool:
    """Whether every value that was recorded is there still; what a later release adds may be."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return all(key in actual and holds(value, actual[key]) for key, value in expected.items())
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(holds, expected, actual))
    return bool(expected == actual)
