"""A scripted server on a Unix socket, and a client that repeats quickly."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.client import Client, RetryPolicy, connect
from agentd.client import host as host_module
from tests.fakes.daemon import HostedCalls
from tests.fakes.server import ScriptedServer, unix_address

QUICK = RetryPolicy(attempts=4, first_delay_s=0.001, max_delay_s=0.01)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer(unix_address(tmp_path)) as running:
        yield running


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[Client]:
    async with connect(server.address, retry=QUICK) as connected:
        yield connected


@pytest.fixture(autouse=True)
def quick_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "STOP_S", 0.2)


@pytest.fixture
async def calls(server: ScriptedServer) -> HostedCalls:
    return HostedCalls(server)
