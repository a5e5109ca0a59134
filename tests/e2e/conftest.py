"""A home for the daemon of each test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from agentd.client import Client
from tests.e2e.daemon import Home


@pytest.fixture
def home() -> Iterator[Home]:
    """A home whose daemon's model calls `box/act` and then says its result."""
    with Home() as made:
        made.script(
            {
                "conversations": [
                    {"goal": "slow", "turns": [{"text": "at last", "delay_ms": 700}]},
                    {"goal": "answer", "turns": [{"text": "done"}]},
                    {
                        "goal": "stay",
                        "turns": [{"text": "never", "delay_ms": 3_600_000}],
                    },
                    {
                        "turns": [
                            {"calls": [{"tool": "act", "arguments": {"item": "x"}}]},
                            {"text": "it was {{last_result}}"},
                        ]
                    },
                ]
            },
            more="[runs]\nlease_s = 1\n",
        )
        yield made


@pytest.fixture
async def client(home: Home) -> AsyncIterator[Client]:
    """A client of the home's daemon."""
    async with home.client() as made:
        yield made
