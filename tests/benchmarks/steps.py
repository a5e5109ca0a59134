"""Durable steps a second, in process and through gRPC with the event stream, beside the peers."""

from collections.abc import Mapping

from tests.benchmarks.harness import Comparison, Measure, Target
from tests.benchmarks.ours.requests import step_rate
from tests.benchmarks.ours.runtimes import rate as runtime_rate
from tests.benchmarks.peers.limits import append_half, fdatasync_half
from tests.benchmarks.peers.runtimes import DBOS, LANGGRAPH, rate
from tests.benchmarks.work import HUNDRED, ONE, THOUSAND, Work


def _peers(work: Work) -> Mapping[str, Measure]:
    return {"LangGraph, SQLite": rate(LANGGRAPH, work), "DBOS, SQLite": rate(DBOS, work)}


ROWS = (
    Comparison(
        "steps.in-process-1",
        "steps/s",
        ours=runtime_rate(ONE),
        references={**_peers(ONE), "fdatasync ÷ 2": fdatasync_half},
        targets=(Target(1_500, 2_500),),
    ),
    Comparison(
        "steps.in-process-100",
        "steps/s",
        ours=runtime_rate(HUNDRED),
        references={**_peers(HUNDRED), "SQLite rows ÷ 2": append_half},
        targets=(Target(12_000, 30_000),),
    ),
    Comparison(
        "steps.in-process-1000",
        "steps/s",
        ours=runtime_rate(THOUSAND),
        references={**_peers(THOUSAND), "SQLite rows ÷ 2": append_half},
    ),
    Comparison("steps.grpc-1", "steps/s", references=_peers(ONE), ours=step_rate(ONE)),
    Comparison(
        "steps.grpc-100",
        "steps/s",
        references=_peers(HUNDRED),
        ours=step_rate(HUNDRED),
        targets=(Target(8_000, 16_000),),
    ),
    Comparison("steps.grpc-1000", "steps/s", references=_peers(THOUSAND), ours=step_rate(THOUSAND)),
)
