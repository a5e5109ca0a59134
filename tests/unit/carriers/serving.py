"""A carrier with small services behind it, and clients for it: what the carrier's tests share."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from agentd.carriers.grpc import GrpcCarrier, GrpcLimits
from agentd.carriers.relay import Relay
from agentd.errors import Exhausted, InvalidRequest, Reason, invalid_field
from agentd.services.caller import Caller
from agentd.services.registry import SlowReader, method_table
from agentd.v1 import event_service_pb2, run_service_pb2, system_service_pb2

DEFAULTS = GrpcLimits()

INFO = "/agentd.v1.SystemService/GetInfo"
DRAIN = "/agentd.v1.SystemService/Drain"
WATCH = "/agentd.v1.EventService/Watch"
WAIT = "/agentd.v1.RunService/WaitRun"
GET_RUN = "/agentd.v1.RunService/GetRun"


class System:
    """Answers who calls."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []

    async def GetInfo(self, _request: Any, caller: Caller) -> bytes:  # noqa: N802
        self.callers.append(caller)
        response = system_service_pb2.GetInfoResponse(
            version=caller.namespace, process_id=caller.pid or 0
        )
        return response.SerializeToString()


@dataclass
class Events:
    """Streams as the request says: `after_revision` messages, each as large as `agent` says, then
    waits if `until_ended` is not set."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    open_count: int = 0
    closed_count: int = 0
    sent: int = 0

    async def Watch(self, request: Any, _caller: Caller) -> AsyncIterator[Any]:  # noqa: N802
        self.open_count += 1
        self.opened.set()
        size = int(request.filter.agent or 0)
        message = event_service_pb2.WatchResponse()
        if size:
            message.deltas.add(text="x" * size)
        try:
            for number in range(request.after_revision):
                message.progress_revision = number + 1
                self.sent = number + 1
                yield message
            if not request.until_ended:
                await asyncio.Event().wait()
        except SlowReader as slow:
            raise Exhausted(
                Reason.SLOW_READER, slow.message, metadata={"last_revision": str(self.sent - 1)}
            ) from None
        finally:
            self.closed_count += 1
            self.closed.set()


@dataclass
class Runs:
    """Fails in every way, and waits."""

    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def WaitRun(self, _request: Any, _caller: Caller) -> Any:  # noqa: N802
        self.waiting.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return run_service_pb2.WaitRunResponse()

    async def GetRun(self, request: Any, _caller: Caller) -> Any:  # noqa: N802
        match request.name.removeprefix("runs/"):
            case "fault":
                raise invalid_field("name", "is a fault")
            case "long":
                raise InvalidRequest(
                    Reason.MALFORMED_REQUEST,
                    "ä" * 50_000,
                    metadata={f"key{number}": "v" * 9_000 for number in range(50)},
                )
            case "wait":
                raise Exhausted(Reason.LIMIT_REACHED, "later", retry_after_s=1.5)
            case _:
                raise RuntimeError("a secret detail")


@dataclass
class Serving:
    """A carrier behind a relay, with its services."""

    directory: Path
    carrier: GrpcCarrier
    relay: Relay
    system: System
    events: Events
    runs: Runs

    @property
    def address(self) -> str:
        return f"unix:{self.directory}/agentd.sock"

    def channel(self, **options: int) -> grpc.aio.Channel:
        """A channel of its own: not the connection that other channels of this process share."""
        arguments = [("grpc.use_local_subchannel_pool", 1)]
        arguments += [(key.replace("__", "."), value) for key, value in options.items()]
        return grpc.aio.insecure_channel(self.address, options=arguments)


def services(system: System, events: Events, runs: Runs) -> Mapping[str, object]:
    return {"SystemService": system, "EventService": events, "RunService": runs}


@asynccontextmanager
async def serving(
    directory: Path, limits: GrpcLimits = DEFAULTS, *, implemented: bool = True
) -> AsyncIterator[Serving]:
    """Serve in a directory until the block ends."""
    system, events, runs = System(), Events(), Runs()
    table = method_table(services(system, events, runs) if implemented else {})
    carrier = GrpcCarrier(table, limits=limits)
    await carrier.start(f"unix:{directory}/inner")
    relay = Relay(directory / "inner")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / "agentd.sock"))
    listener.listen(1024)
    async with asyncio.TaskGroup() as group:
        accepting = group.create_task(relay.serve(listener))
        try:
            yield Serving(directory, carrier, relay, system, events, runs)
        finally:
            await carrier.close(0.1)
            accepting.cancel()


def status_of(error: grpc.aio.AioRpcError) -> Status:
    """The status that an error carries, checked against its code."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            status = Status.FromString(value)
            assert status.code == error.code().value[0]
            return status
    raise AssertionError(f"no details: {error.code()} {error.details()}")


def infos(status: Status) -> Iterator[ErrorInfo]:
    """Every ErrorInfo of a status."""
    for detail in status.details:
        info = ErrorInfo()
        if detail.Unpack(info):
            yield info


def info_of(error: grpc.aio.AioRpcError) -> ErrorInfo:
    """The one ErrorInfo of an error."""
    (info,) = infos(status_of(error))
    assert info.domain == "agentd.dev"
    return info


def unary(channel: grpc.aio.Channel, path: str, data: bytes = b"", **options: Any) -> Any:
    """Call a method with the bytes of its request."""
    method: Any = channel.unary_unary(path)
    return method(data, **options)


def stream(channel: grpc.aio.Channel, path: str, data: bytes = b"", **options: Any) -> Any:
    """Call a method that streams with the bytes of its request."""
    method: Any = channel.unary_stream(path)
    return method(data, **options)


def watch_request(count: int, *, size: int = 0, until_ended: bool = False) -> bytes:
    """The request for so many responses with so much text each."""
    return event_service_pb2.WatchRequest(
        after_revision=count, filter={"agent": str(size)}, until_ended=until_ended
    ).SerializeToString()
