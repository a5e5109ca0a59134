"""Start a daemon in a process of its own, and speak to it through its public socket."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc.aio
import msgspec
from google.protobuf.message import Message

from agentd.v1 import run_pb2, run_service_pb2, system_service_pb2, tool_host_service_pb2, tool_pb2
from tests.benchmarks.load import CALL_TIMEOUT_S
from tests.benchmarks.ours.parts import PATH, SCHEMA, TOOLSET, ScriptSource
from tests.benchmarks.process import START_TIMEOUT_S, child, clean_environment, python

RUNS = "/agentd.v1.RunService"
EVENTS = "/agentd.v1.EventService"
HOSTS = "/agentd.v1.ToolHostService"
SYSTEM = "/agentd.v1.SystemService"

CREATE_RUN = run_service_pb2.CreateRunRequest(
    run=run_pb2.Run(goal="Add numbers.", tools=[PATH])
).SerializeToString()

_ROOT = Path(__file__).resolve().parents[3]
_MODULE = "tests.benchmarks.ours.launch"
_SETTINGS = """
[server]
socket = "{socket}"
drain_timeout_s = 0
[state]
directory = "{state}"
[runs]
max_active_runs = {max_active_runs}
[runs.budget]
max_turns = 0
[models]
default = "scripted/steps"
[models.providers.scripted]
kind = "scripted"
[models.details."scripted/steps"]
path = "{script}"
[tools]
max_calls = 10_000
max_calls_per_tool = 10_000
"""

R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that is ready, and a connection to it."""

    pid: int
    address: str
    channel: grpc.aio.Channel

    def connect(self) -> grpc.aio.Channel:
        """Return a channel with a connection of its own: others with the same options share one."""
        options = (("grpc.use_local_subchannel_pool", 1),)
        return grpc.aio.insecure_channel(self.address, options=options)

    async def call(self, method: str, request: Message, response: type[R]) -> R:
        """Send a request whose method answers once; for what is not measured."""
        return response.FromString(await self.send(method, request.SerializeToString()))

    async def send(self, method: str, request: bytes) -> bytes:
        """Send an encoded request whose method answers once."""
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(method)
        return await call(request, timeout=CALL_TIMEOUT_S)

    def stream(self, method: str, request: bytes) -> grpc.aio.UnaryStreamCall[bytes, bytes]:
        """Send an encoded request whose method answers with a stream."""
        open_stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self.channel.unary_stream(
            method
        )
        return open_stream(request)

    async def create_run(self) -> run_service_pb2.CreateRunResponse:
        """Create a run."""
        return run_service_pb2.CreateRunResponse.FromString(
            await self.send(f"{RUNS}/CreateRun", CREATE_RUN)
        )

    async def info(self) -> system_service_pb2.GetInfoResponse:
        """Ask the daemon how it is."""
        request, response = system_service_pb2.GetInfoRequest, system_service_pb2.GetInfoResponse
        return await self.call(f"{SYSTEM}/GetInfo", request(), response)


def environment(directory: Path) -> Mapping[str, str]:
    """Return the environment variables of a process of ours."""
    return {**clean_environment(directory), "PYTHONPATH": str(_ROOT)}


@asynccontextmanager
async def daemon(
    directory: Path,
    script: ScriptSource,
    *,
    local: bool = True,
    max_active_runs: int = 10_000,
) -> AsyncIterator[Daemon]:
    """Start a daemon whose state lies in the directory; with `local`, its process has the tool.

    Entered when it has said that it is ready and answered a request.
    """
    _configure(directory, script, max_active_runs)
    command = (python(), "-m", _MODULE, *(["--local"] if local else []))
    with _listening(directory / "notify") as notified:
        variables = {**environment(directory), "NOTIFY_SOCKET": str(directory / "notify")}
        address = f"unix:{directory / 'agentd.sock'}"
        async with child(command, environment=variables) as process:
            async with asyncio.timeout(START_TIMEOUT_S):
                await _until_ready(notified)
            async with grpc.aio.insecure_channel(address) as channel:
                served = Daemon(process.pid, address, channel)
                await served.info()
                yield served


async def offer_tool(served: Daemon) -> None:
    """Make the tool's manifest known, and go: the daemon's own process has the tool."""
    call = served.stream(f"{HOSTS}/WatchCalls", registration("bench-registrar"))
    await call.read()
    call.cancel()


def registration(host: str) -> bytes:
    """Return the request of a host that offers the tool."""
    tool = tool_pb2.Tool(
        name=f"toolsets/{TOOLSET}/tools/{PATH.rpartition('/')[2]}",
        description="Adds two integers.",
        input_schema_json=SCHEMA,
        effect=tool_pb2.EFFECT_CLASS_NON_IDEMPOTENT,
    )
    request = tool_host_service_pb2.WatchCallsRequest(
        host=host, toolset=f"toolsets/{TOOLSET}", tools=[tool], capacity=16
    )
    return request.SerializeToString()


def _configure(directory: Path, script: ScriptSource, max_active_runs: int) -> None:
    (directory / "script.json").write_bytes(msgspec.json.encode(script))
    settings = directory / ".config" / "agentd" / "agentd.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(
        _SETTINGS.format(
            socket=directory / "agentd.sock",
            state=directory / "state",
            script=directory / "script.json",
            max_active_runs=max_active_runs,
        )
    )


def _listening(path: Path) -> socket.socket:
    """Return the socket to which a service says that it is ready, sd_notify(3)."""
    path.unlink(missing_ok=True)
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    notified.bind(os.fsencode(path))
    return notified


async def _until_ready(notified: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while not (await loop.sock_recv(notified, 1024)).startswith(b"READY=1"):
        pass
