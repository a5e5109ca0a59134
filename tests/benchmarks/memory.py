"""Resident memory: of an idle daemon, and of each run that waits."""

from tests.benchmarks.harness import Comparison, Target
from tests.benchmarks.ours.living import resident_mb
from tests.benchmarks.ours.runtimes import parked_bytes
from tests.benchmarks.peers.limits import server_resident_mb
from tests.benchmarks.peers.runtimes import langgraph_parked_bytes

ROWS = (
    Comparison(
        "memory.idle",
        "MB",
        higher_is_better=False,
        references={"bare grpc.aio server": server_resident_mb},
        ours=resident_mb,
        targets=(Target(50, 44),),
    ),
    Comparison(
        "memory.waiting-run",
        "bytes",
        higher_is_better=False,
        references={"LangGraph, InMemorySaver": langgraph_parked_bytes},
        ours=parked_bytes,
        targets=(Target(1_024, 200),),
    ),
)
