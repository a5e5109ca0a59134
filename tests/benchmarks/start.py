"""From starting a process, with an empty store, to its being ready."""

from tests.benchmarks.harness import Comparison, Target
from tests.benchmarks.ours import living
from tests.benchmarks.peers.limits import server_start_ms
from tests.benchmarks.peers.runtimes import DBOS, LANGGRAPH, start_ms

ROWS = (
    Comparison(
        "start.ready",
        "ms",
        higher_is_better=False,
        references={
            "bare grpc.aio server": server_start_ms,
            "LangGraph, to its first step": start_ms(LANGGRAPH),
            "DBOS, to its first step": start_ms(DBOS),
        },
        ours=living.start_ms,
        targets=(Target(200, 120),),
    ),
)
