"""The daemon says what it is, and drains."""

from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from agentd.errors import Reason, Unavailable
from agentd.v1 import run_pb2, run_service_pb2
from agentd.v1 import system_service_pb2 as pb
from tests.unit.services.house import CALLER, failing, house, refused


async def test_says_what_it_is(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        answer = await home.system.GetInfo(pb.GetInfoRequest(), CALLER)
        assert answer == pb.GetInfoResponse(
            version="1.2.3",
            start_time={"seconds": 1, "nanos": 500_000_000},
            revision=home.runtime.journal.revision,
            oldest_revision=0,
            models=[pb.ModelInfo(name="scripted/demo", context_tokens=200_000, ready=True)],
            default_model="scripted/demo",
            process_id=42,
            max_request_bytes=4_194_304,
            runtime_versions={"python": "3.11"},
            lease_duration=Duration(seconds=home.runtime.hosts.lease_ms // 1000),
            memory=pb.MemoryStatus(store="sqlite", embedder="hashed-ngrams", lexical=True),
        )


async def test_drains(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        answer = await home.system.Drain(pb.DrainRequest(), CALLER)
        assert answer.complete
        assert (await home.system.GetInfo(pb.GetInfoRequest(), CALLER)).draining
        async with failing(Unavailable, Reason.DRAINING):
            run = run_pb2.Run(goal="g")
            await home.runs.CreateRun(run_service_pb2.CreateRunRequest(run=run), CALLER)


async def test_a_drain_has_a_bound(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for timeout in (Duration(seconds=3601), Duration(seconds=-1)):
            async with refused("timeout"):
                await home.system.Drain(pb.DrainRequest(timeout=timeout), CALLER)
