"""Serve SystemService: say what the daemon is, and let it go down."""

# ruff: noqa: N802  (methods bear the contract's names)
from collections.abc import Callable, Mapping, Sequence

import msgspec

from agentd.agent.message import ModelInfo
from agentd.runtime.scheduler import Scheduler
from agentd.services import checks, convert
from agentd.services.caller import Caller
from agentd.tools.mcp.server import ServerState
from agentd.tools.sandbox.profile import Tier
from agentd.v1 import system_service_pb2 as pb

MAX_DRAIN_MS = 3_600_000


class Info(msgspec.Struct, frozen=True):
    """What the daemon is at this moment."""

    version: str
    start_time_ms: int
    revision: int
    oldest_revision: int
    unfinished_run_count: int
    connected_host_count: int
    models: Sequence[ModelInfo]
    default_model: str
    """Empty when no model can be used."""
    draining: bool
    process_id: int
    max_request_bytes: int
    runtime_versions: Mapping[str, str]
    lease_ms: int
    sandbox: Tier | None = None
    """None until it was probed."""
    sandbox_faults: Sequence[str] = ()
    mcp_servers: Sequence[ServerState] = ()


class SystemService:
    """The methods of `agentd.v1.SystemService`."""

    def __init__(self, scheduler: Scheduler, info: Callable[[], Info], *, drain_ms: int) -> None:
        self._scheduler = scheduler
        self._info = info
        self._drain_ms = drain_ms

    async def GetInfo(self, _request: pb.GetInfoRequest, _caller: Caller) -> pb.GetInfoResponse:
        """Return what the daemon is and can do."""
        info = self._info()
        return pb.GetInfoResponse(
            version=info.version,
            start_time=convert.timestamp(info.start_time_ms),
            revision=info.revision,
            oldest_revision=info.oldest_revision,
            unfinished_run_count=info.unfinished_run_count,
            models=[convert.model_info(model) for model in info.models],
            default_model=info.default_model,
            draining=info.draining,
            process_id=info.process_id,
            connected_host_count=info.connected_host_count,
            max_request_bytes=info.max_request_bytes,
            runtime_versions=info.runtime_versions,
            lease_duration=convert.duration(info.lease_ms),
            sandbox_tier=f"SANDBOX_TIER_{info.sandbox.name if info.sandbox else 'UNSPECIFIED'}",
            sandbox_faults=info.sandbox_faults,
            mcp_servers=[_mcp_server(state) for state in info.mcp_servers],
        )

    async def Drain(self, request: pb.DrainRequest, _caller: Caller) -> pb.DrainResponse:
        """Stop taking new work, and wait for what is in progress."""
        timeout_ms = self._drain_ms
        if request.HasField("timeout"):
            timeout_ms = checks.duration_ms(request.timeout, "timeout", most_ms=MAX_DRAIN_MS)
        return pb.DrainResponse(complete=await self._scheduler.drain(timeout_ms / 1000))


def _mcp_server(state: ServerState) -> pb.McpServer:
    return pb.McpServer(
        name=state.name,
        state=f"MCP_SERVER_STATE_{state.phase.name}",
        reason=state.reason,
        digest=state.digest,
        offered_digest=state.offered_digest,
        changes=state.changes,
        tool_count=state.tools,
        faults=state.faults,
    )
