"""10,000 unfinished runs after kill -9: until the daemon is ready, and until each is a step on."""

from tests.benchmarks.harness import Comparison, Target
from tests.benchmarks.ours.living import ready_s, stepped_s
from tests.benchmarks.peers.runtimes import dbos_recover_s, langgraph_resume_s

ROWS = (
    Comparison(
        "recovery.ready", "s", higher_is_better=False, ours=ready_s, targets=(Target(1.0, 0.2),)
    ),
    Comparison(
        "recovery.stepped",
        "s",
        higher_is_better=False,
        references={
            "LangGraph, SQLite": langgraph_resume_s,
            "DBOS, SQLite": dbos_recover_s,
        },
        ours=stepped_s,
        targets=(Target(3.0, 0.6),),
    ),
)
