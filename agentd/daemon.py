"""The composition root: builds every part from the configuration, owns the root task group, the
signals and readiness. The only place where adapters are chosen."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import apsw
import grpc
import uvloop

from agentd import __version__, log
from agentd.agent.ids import Namespace, check_id
from agentd.agent.message import ModelInfo
from agentd.carriers.grpc import GrpcCarrier, GrpcLimits
from agentd.carriers.inprocess import InProcessCarrier
from agentd.carriers.relay import (
    Relay,
    adopt,
    inner_path,
    listen,
    make_directory,
    raise_descriptor_limit,
)
from agentd.config import Config, Server, load
from agentd.context.models.catalogue import Catalogue
from agentd.errors import AgentdError
from agentd.lock import lock_socket
from agentd.notify import Notifier
from agentd.runtime.journal.schema import Options
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.ports import Clock, LocalTool, Model
from agentd.runtime.redacting import none_unsettled
from agentd.runtime.runtime import Outside, Runtime
from agentd.runtime.system import SystemClock, SystemEntropy, spare_the_collector
from agentd.services.agent_service import AgentService
from agentd.services.approval_service import ApprovalService
from agentd.services.caller import Caller
from agentd.services.event_service import EventService
from agentd.services.memory_service import MemoryService
from agentd.services.registry import Method, method_table
from agentd.services.run_service import RunService
from agentd.services.session_service import SessionService
from agentd.services.system_service import Info, SystemService
from agentd.services.tool_host_service import ToolHostService
from agentd.services.tool_service import ToolService
from agentd.settings import memory_parts, models_settings, runtime_limits, secrets_of
from agentd.toolbox import Toolbox

if TYPE_CHECKING:
    from agentd.carriers.http import HttpCarrier

RETENTION_INTERVAL_S = 600.0
MODELS_AGE_S = 1.0
"""How long a list of models is kept: making it looks at files, and clients ask often."""

_log = log.get_logger()


class Carrier(Protocol):
    """A way in."""

    def drain(self) -> None:
        """Say that nobody should send new work here."""

    async def close(self, grace_s: float) -> None:
        """End streams at once and other requests after the grace."""


class ReloadableModels:
    """The models of the present configuration; requests in flight keep those they began with."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._retired: list[Catalogue] = []
        self._listed: list[ModelInfo] = []
        self._stale_at = 0.0

    def reload(self, catalogue: Catalogue) -> None:
        """Use another configuration from now on."""
        self._retired.append(self._catalogue)
        self._catalogue = catalogue
        self._stale_at = 0.0

    def resolve(self, name: str) -> ModelInfo:
        """Return a model by name; see the port."""
        return self._catalogue.resolve(name)

    async def open(self, name: str) -> Model:
        """Return a model's adapter; see the port."""
        return await self._catalogue.open(name)

    def list(self) -> "list[ModelInfo]":
        """Return the models that are known by name, as of a second ago at most."""
        now = monotonic()
        if now >= self._stale_at:
            self._listed = [*self._catalogue.list()]
            self._stale_at = now + MODELS_AGE_S
        return self._listed

    async def close(self) -> None:
        """Release connections and loaded models, those of earlier configurations too."""
        for catalogue in (*self._retired, self._catalogue):
            await catalogue.close()


class Daemon:
    """One daemon, from its configuration to its end."""

    def __init__(
        self,
        config: Config,
        flags: Mapping[str, str] | None = None,
        boundary: Callable[[str], None] | None = None,
        local_tools: Mapping[str, LocalTool] | None = None,
    ) -> None:
        self._config = config
        self._flags = dict(flags or {})
        self._boundary = boundary
        """Called at each point where a crash is tested: see tests/crash."""
        self._local_tools = local_tools
        """Tools that run in this process, by `toolset/tool`: see tests/benchmarks."""
        self._clock = SystemClock()
        self._entropy = SystemEntropy()
        self._start_time_ms = self._clock.now_ms()
        self._stop = asyncio.Event()
        self._secrets = secrets_of(config)
        self._toolbox = Toolbox(config, self._secrets, self._entropy, self._clock)
        self._models: ReloadableModels
        self._notifier: Notifier

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises AgentdError when it cannot start."""
        config = self._config
        self._configure_log(config)
        self._notifier = Notifier(config.supervisor.notify_socket, config.supervisor.watchdog_s)
        async with AsyncExitStack() as stack:
            stack.callback(self._notifier.close)
            listener, inner = _listen(config, stack)
            runtime = await stack.enter_async_context(self._runtime())
            table = method_table(self._services(runtime))
            carriers = await self._carry(stack, table, listener, inner)
            self._handle_signals()
            spare_the_collector()
            state = str(config.state.directory)
            _log.info("ready", version=__version__, socket=str(config.server.socket), state=state)
            self._notifier.ready(f"serving {config.server.socket}")
            await self._stop.wait()
            await self._go_down(runtime, carriers)

    @asynccontextmanager
    async def inside(self) -> AsyncIterator[InProcessCarrier]:
        """Serve the program that this process is, for as long as the context lasts: without a
        socket, a signal's handler or a service manager. Raises AgentdError when it cannot start.

        At the end effects in progress have until `server.drain_timeout_s`; what has not ended goes
        on at the next start.
        """
        self._notifier = Notifier()
        server = self._config.server
        caller = Caller(
            Namespace(check_id(self._config.client.namespace, "client.namespace")),
            os.getuid(),
            os.getpid(),
        )
        async with self._runtime() as runtime:
            table = method_table(self._services(runtime))
            carrier = InProcessCarrier(table, caller, max_message_bytes=server.max_message_bytes)
            yield carrier
            carrier.close()
            await runtime.scheduler.drain(server.drain_timeout_s)

    # Building.

    @asynccontextmanager
    async def _runtime(self) -> AsyncIterator[Runtime]:
        config = self._config
        journal = await SqliteJournal.open(
            config.state.directory, self._clock, Options(on_boundary=self._boundary)
        )
        memory = memory_parts(config)
        try:
            self._models = ReloadableModels(Catalogue(models_settings(config)))
            redacting = self._secrets.any
            outside = Outside(
                journal,
                self._models,
                self._clock,
                self._entropy,
                self._local_tools,
                self._secrets.redact if redacting else None,
                self._secrets.unsettled if redacting else none_unsettled,
                self._boundary,
                self._toolbox,
                memory,
            )
            runtime = Runtime(outside, runtime_limits(config))
            runtime.local_tools.expect()
            async with runtime.serving(), asyncio.TaskGroup() as group:
                toolbox = group.create_task(self._toolbox.serve(runtime))
                keeper = group.create_task(
                    _keep_journal(journal, config.journal.retention_days, self._clock)
                )
                watchdog = group.create_task(self._notifier.watch())
                try:
                    yield runtime
                finally:
                    for task in (toolbox, keeper, watchdog):
                        task.cancel()
        finally:
            with contextlib.suppress(AttributeError):
                await self._models.close()
            await memory.close()
            await journal.close()

    def _services(self, runtime: Runtime) -> dict[str, object]:
        drain_ms = int(self._config.server.drain_timeout_s * 1000)
        memories = runtime.memories
        assert memories is not None
        return {
            "AgentService": AgentService(runtime.library),
            "SessionService": SessionService(runtime.sessions),
            "RunService": RunService(runtime.engine, runtime.reading, runtime.tasks),
            "ApprovalService": ApprovalService(runtime.approvals),
            "MemoryService": MemoryService(memories),
            "EventService": EventService(runtime.watches),
            "ToolService": ToolService(
                runtime.registry, runtime.hosts, runtime.local_tools, self._toolbox.accept
            ),
            "ToolHostService": ToolHostService(runtime.hosting),
            "SystemService": SystemService(
                runtime.scheduler,
                lambda: self._info(runtime),
                drain_ms=drain_ms,
                memory=memories.status,
            ),
        }

    async def _carry(
        self,
        stack: AsyncExitStack,
        table: Mapping[str, Method],
        listener: socket.socket,
        inner: Path,
    ) -> list[Carrier]:
        """Open the ways in: the relay before the inner socket, TCP and HTTP when configured."""
        server = self._config.server
        limits = GrpcLimits(server.max_message_bytes, server.write_timeout_s)
        local = GrpcCarrier(table, limits=limits)
        await local.start(f"unix:{inner}")
        carriers: list[Carrier] = [local]
        group = await stack.enter_async_context(asyncio.TaskGroup())
        relay = group.create_task(Relay(inner).serve(listener))
        stack.callback(relay.cancel)
        token = self._config.token() if server.tcp or server.http else None
        if server.tcp:
            assert token is not None
            tcp = GrpcCarrier(table, limits=limits, token=token.reveal())
            address = await tcp.start(server.tcp)
            _log.info("tcp_open", address=address)
            carriers.append(tcp)
        if server.http:
            assert token is not None
            http = _http(table, token.reveal(), server)
            address = await http.start(server.http)
            _log.info("http_open", address=f"http://{address}")
            carriers.append(http)
        return carriers

    # Living.

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        """Read the configuration anew; what cannot change while serving waits for a restart."""
        self._notifier.reloading()
        try:
            config = load(self._flags)
        except AgentdError as error:
            _log.error("reload_refused", error=error.message)
        else:
            self._configure_log(config)
            self._models.reload(Catalogue(models_settings(config)))
            kept = replace(config, models=self._config.models, log=self._config.log)
            restart = [
                key
                for (key, old, _), (_, new, _) in zip(
                    self._config.describe(), kept.describe(), strict=False
                )
                if old != new
            ]
            self._config = replace(self._config, models=config.models, log=config.log)
            _log.info("reloaded", needs_restart=restart)
        self._notifier.ready(f"serving {self._config.server.socket}")

    async def _go_down(self, runtime: Runtime, carriers: list[Carrier]) -> None:
        """Take no new work, let effects end until the deadline, then end every request."""
        timeout_s = self._config.server.drain_timeout_s
        _log.info("draining", timeout_s=timeout_s)
        self._notifier.stopping("draining")
        for carrier in carriers:
            carrier.drain()
        complete = await runtime.scheduler.drain(timeout_s)
        for carrier in carriers:
            await carrier.close(1.0)
        _log.info("stopped", complete=complete)

    def _info(self, runtime: Runtime) -> Info:
        journal = runtime.journal
        models = self._models.list()
        try:
            default = self._models.resolve("").name
        except AgentdError:
            default = ""
        return Info(
            version=__version__,
            start_time_ms=self._start_time_ms,
            revision=journal.revision,
            oldest_revision=journal.oldest_revision,
            unfinished_run_count=runtime.scheduler.unfinished_count,
            connected_host_count=runtime.hosts.connected_count,
            models=models,
            default_model=default,
            draining=runtime.scheduler.draining,
            process_id=os.getpid(),
            max_request_bytes=self._config.server.max_message_bytes,
            runtime_versions={
                "python": ".".join(map(str, sys.version_info[:3])),
                "grpcio": grpc.__version__,
                "sqlite": apsw.sqlite_lib_version(),
            },
            lease_ms=runtime.hosts.lease_ms,
            sandbox=self._toolbox.tier,
            sandbox_faults=self._toolbox.tier_faults,
            mcp_servers=self._toolbox.states(),
        )

    def _configure_log(self, config: Config) -> None:
        redact = self._secrets.redact if self._secrets.any else None
        log.configure(level=config.log.level, format=config.log.format, redact=redact)


def _listen(config: Config, stack: AsyncExitStack) -> tuple[socket.socket, Path]:
    """Return the public socket, inherited from systemd or new, and the path of the inner one.
    Both are ours alone while we hold the lock."""
    server = config.server
    raise_descriptor_limit()
    listener = adopt(config.supervisor.socket_count)
    public = server.socket
    if listener is not None:
        public = Path(os.fsdecode(listener.getsockname()))
    else:
        make_directory(public.parent, 0o750 if server.socket_mode != "0600" else 0o700)
    lock = lock_socket(public, adopted=listener is not None)
    stack.callback(lock.release)
    if listener is None:
        listener = listen(public, int(server.socket_mode, 8))
        stack.callback(public.unlink, missing_ok=True)
    return listener, inner_path(public)


def _http(table: Mapping[str, Method], token: str, server: Server) -> "HttpCarrier":
    # Imported here: a daemon without HTTP need not pay 5 MB and a tenth of a second.
    from agentd.carriers.http import HttpCarrier, HttpLimits  # noqa: PLC0415

    limits = HttpLimits(
        max_message_bytes=server.max_message_bytes, write_timeout_s=server.write_timeout_s
    )
    return HttpCarrier(table, token=token, limits=limits)


async def _keep_journal(journal: SqliteJournal, days: int, clock: Clock) -> None:
    """Forget what the retention permits, a bounded stretch at a time."""
    while days:
        before_ms = clock.now_ms() - days * 86_400_000
        after = 0
        while True:
            done = await journal.compact(before_ms=before_ms, after=after)
            after = done.after
            if not after:
                break
        await asyncio.sleep(RETENTION_INTERVAL_S)


def serve(
    config: Config,
    flags: Mapping[str, str] | None = None,
    boundary: Callable[[str], None] | None = None,
    local_tools: Mapping[str, LocalTool] | None = None,
) -> int:
    """Serve until a signal ends it; return the exit code. An error at the start is one line."""
    log.configure(level=config.log.level, format=config.log.format)

    async def run() -> None:
        await Daemon(config, flags, boundary, local_tools).run()

    code = 0
    try:
        uvloop.run(run())
    except* AgentdError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        sys.stderr.write(f"agentd: {error}\n")
        code = 1
    return code
