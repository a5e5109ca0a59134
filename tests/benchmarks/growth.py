"""What a step costs when a run has a long history. A ratio has both its sides from one round."""

from tests.benchmarks.harness import Comparison, Target
from tests.benchmarks.ours.runtimes import cpu_growth, cpu_us_at, disk_growth
from tests.benchmarks.peers.runtimes import langgraph_growth

HISTORIES = (10, 1_000, 10_000)
"""The lengths, in steps, at which a step's cost is shown."""
_LANGGRAPH = "LangGraph, SQLite, 300 steps against 20"

ROWS = (
    *(
        Comparison(f"growth.cpu-at-{steps}", "µs/step", False, ours=cpu_us_at(steps))
        for steps in HISTORIES
    ),
    # 2,000 steps against 20.
    Comparison(
        "growth.cpu",
        "times",
        higher_is_better=False,
        references={_LANGGRAPH: langgraph_growth("cpu_us_per_step")},
        ours=cpu_growth,
        targets=(Target(1.2, 1.05),),
    ),
    Comparison(
        "growth.disk",
        "times",
        higher_is_better=False,
        references={_LANGGRAPH: langgraph_growth("disk_bytes_per_step")},
        ours=disk_growth,
        targets=(Target(1.2, 1.05),),
    ),
)
