"""A relay between a client and a daemon that cuts every connection when it is told to."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK_BYTES = 65536


class Proxy:
    """Listens at one address and passes bytes on to another: `unix:/path` or `host:port` each."""

    def __init__(self, front: str, back: str) -> None:
        self.address = front
        self._back = back
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Take connections."""
        if self.address.startswith("unix:"):
            path = self.address.removeprefix("unix:")
            self._server = await asyncio.start_unix_server(self._relay, path)
            return
        host, _, port = self.address.rpartition(":")
        self._server = await asyncio.start_server(self._relay, host, int(port))
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"{host}:{port}"

    async def cut(self) -> None:
        """Cut every connection in the middle of whatever it says, and refuse new ones."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        if self.address.startswith("unix:"):
            with suppress(FileNotFoundError):
                os.unlink(self.address.removeprefix("unix:"))  # noqa: PTH108 - it is at once
        for writer in list(self._writers):
            writer.transport.abort()
        await server.wait_closed()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await _dial(self._back)
        self._writers |= {writer, back_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, back_writer))
                group.create_task(_pump(back_reader, writer))
        finally:
            self._writers -= {writer, back_writer}


async def _dial(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.startswith("unix:"):
        return await asyncio.open_unix_connection(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until either side ends, and end the other one."""
    with suppress(ConnectionError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def proxy(front: str, back: str) -> AsyncIterator[Proxy]:
    """Run a proxy for as long as the context lasts."""
    made = Proxy(front, back)
    await made.open()
    try:
        yield made
    finally:
        await made.cut()
