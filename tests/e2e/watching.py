"""Waiting for what happens to a run, by its events."""

import asyncio
from collections.abc import Iterable

from agentd.client import Client
from agentd.v1.event_pb2 import Event
from agentd.v1.event_service_pb2 import EventFilter

WAIT_S = 15.0


async def until(client: Client, run: str, kind: str, *, count: int = 1) -> Event:
    """Return the event of a kind of a run, the `count`-th one, as soon as it is there."""
    async with asyncio.timeout(WAIT_S):
        async for item in client.watch(EventFilter(runs=[run], kinds=[kind])):
            assert isinstance(item, Event)
            count -= 1
            if not count:
                return item
    raise AssertionError("a watch does not end")


async def history(client: Client, runs: Iterable[str] = ()) -> list[str]:
    """Return the kinds of the events of runs, oldest first."""
    events = client.events(EventFilter(runs=tuple(runs)))
    return [str(event.WhichOneof("payload")) async for event in events]
