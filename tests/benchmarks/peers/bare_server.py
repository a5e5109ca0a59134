"""A grpc.aio server that does nothing but move bytes: what any daemon on it can reach at best.

Run as a program with the path of a Unix socket; it writes READY when it listens, and ends when its
input does.
"""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator

import grpc
import uvloop

SERVICE = "bare.Limits"
EVENT = b"e" * 200
"""An event as large as those of a journal usually are."""
PACE_S = 0.001
BACKLOG = 64
"""How many events a subscriber may be behind before the publisher waits for it."""


class Limits:
    """The methods. Requests and answers are bytes, so that no codec is measured."""

    def __init__(self) -> None:
        self._subscribers: list[asyncio.Queue[bytes]] = []
        self._complete = asyncio.Event()

    async def echo(self, request: bytes, _: object) -> bytes:
        """Answer a request with itself."""
        return request

    async def stream(self, request: bytes, _: object) -> AsyncIterator[bytes]:
        """Send messages of that many events, as fast as the reader takes them."""
        message = EVENT * int(request)
        while True:
            yield message

    async def paced(self, _request: bytes, _: object) -> AsyncIterator[bytes]:
        """Send the monotonic time in nanoseconds, one message a millisecond."""
        while True:
            await asyncio.sleep(PACE_S)
            yield time.monotonic_ns().to_bytes(8)

    async def ping(self, requests: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
        """Send each message of a stream back."""
        async for request in requests:
            yield request

    async def fan_out(self, request: bytes, _: object) -> AsyncIterator[bytes]:
        """Send every published event as a message of its own, once that many have subscribed."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(BACKLOG)
        self._subscribers.append(queue)
        if len(self._subscribers) == int(request):
            self._complete.set()
        while True:
            yield await queue.get()

    async def publish(self) -> None:
        """Publish events as fast as the slowest subscriber takes them."""
        await self._complete.wait()
        while True:
            for queue in self._subscribers:
                await queue.put(EVENT)

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the methods as gRPC wants them."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
                "Stream": grpc.unary_stream_rpc_method_handler(self.stream),
                "Paced": grpc.unary_stream_rpc_method_handler(self.paced),
                "Ping": grpc.stream_stream_rpc_method_handler(self.ping),
                "FanOut": grpc.unary_stream_rpc_method_handler(self.fan_out),
            },
        )


async def serve(socket: str) -> None:
    """Serve until the input ends or the process is asked to."""
    limits, stopped = Limits(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_reader(sys.stdin.fileno(), stopped.set)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((limits.handler(),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    sys.stdout.write("READY\n")
    sys.stdout.flush()
    async with asyncio.TaskGroup() as group:
        publisher = group.create_task(limits.publish())
        await stopped.wait()
        publisher.cancel()
    await server.stop(grace=0)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
