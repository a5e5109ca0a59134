"""Hosts of tools whose every step a test decides, and one as a process of its own."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import grpc.aio

from agentd.client import connect, tool
from agentd.client.channel import credentials, parse_address
from agentd.client.errors import from_rpc_error
from agentd.client.transport import Transport
from agentd.v1.tool_host_service_pb2 import (
    CompleteCallsRequest,
    CompleteCallsResponse,
    Completion,
    HostInstruction,
    Invocation,
    LeaseResult,
    WatchCallsRequest,
)
from agentd.v1.tool_pb2 import EffectClass, Tool
from tests.e2e.daemon import EAGER, Home

READ_ONLY = EffectClass.EFFECT_CLASS_READ_ONLY
IDEMPOTENT = EffectClass.EFFECT_CLASS_IDEMPOTENT
NON_IDEMPOTENT = EffectClass.EFFECT_CLASS_NON_IDEMPOTENT
SCHEMA = '{"type":"object","properties":{"item":{"type":"string"}}}'
WAIT_S = 10.0


def manifest(name: str, effect: EffectClass, **fields: Any) -> Tool:
    """Return the manifest of a tool of the toolset `box`."""
    path = f"toolsets/box/tools/{name}"
    return Tool(name=path, effect=effect, input_schema_json=SCHEMA, **fields)


class RawHost:
    """A host of the toolset `box` that does nothing by itself."""

    def __init__(self, home: Home, host: str, *tools: Tool, capacity: int = 8) -> None:
        self._transport = Transport(parse_address(home.address), credentials(None, ""), EAGER)
        self._request = WatchCallsRequest(
            host=host, toolset="toolsets/box", tools=tools, capacity=capacity
        )
        self._call: Any = None
        self._waiting: list[HostInstruction] = []
        self.leases: list[Invocation] = []

    @classmethod
    @asynccontextmanager
    async def later(cls, home: Home, host: str, *tools: Tool) -> AsyncIterator[Self]:
        """Make a host that connects when it is told to."""
        made = cls(home, host, *tools)
        try:
            yield made
        finally:
            await made._transport.close()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._transport.close()

    async def connect(self) -> None:
        """Open a stream, in place of the present one, and be welcomed."""
        self.cut()
        self._call = self._transport.stream(self._request)
        welcome = await self.next()
        self.leases = list(welcome.welcome.leases)

    def cut(self) -> None:
        """Close the stream without a word."""
        if self._call is not None:
            self._call.cancel()
        self._waiting.clear()

    async def next(self) -> HostInstruction:
        """Return the next instruction."""
        async with asyncio.timeout(WAIT_S):
            while not self._waiting:
                try:
                    message = await self._call.read()
                except grpc.aio.AioRpcError as error:
                    raise from_rpc_error(error, self._transport.address) from error
                assert message is not grpc.aio.EOF, "the stream has ended"
                self._waiting.extend(message.instructions)
        return self._waiting.pop(0)

    async def invoked(self) -> Invocation:
        """Return the next invocation."""
        instruction = await self.next()
        assert instruction.HasField("invoke"), instruction
        return instruction.invoke

    async def complete(self, invocation: Invocation, **outcome: Any) -> LeaseResult:
        """Report an outcome; return whether it counted."""
        completion = Completion(
            call=invocation.call,
            attempt=invocation.attempt,
            lease_token=invocation.lease_token,
            **outcome,
        )
        request = CompleteCallsRequest(completions=[completion])
        answer = await self._transport.call(request, CompleteCallsResponse)
        return answer.statuses[0].result


@asynccontextmanager
async def stuck_host(
    home: Home, host: str, effect: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a host of `box/act` as a process that never ends a call; its output is a line for its
    registration and one for each call that it has begun."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.e2e.hosting",
        home.address,
        host,
        effect,
        stdout=asyncio.subprocess.PIPE,
        env=home.environment,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def _serve(address: str, host: str, effect: Any) -> None:
    @tool(effect=effect)
    async def act(item: str = "") -> str:
        print("begun", flush=True)  # noqa: T201
        await asyncio.Event().wait()
        return item

    async with connect(address) as client, client.host("box", [act], host=host):
        print("registered", flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
