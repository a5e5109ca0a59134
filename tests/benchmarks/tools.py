"""What safety costs: a command in the sandbox, and the checks before a call."""

from tests.benchmarks.harness import Comparison, Target
from tests.benchmarks.ours.tooling import figure

_PLAIN = "plain subprocess"

ROWS = (
    Comparison(
        "tools.command",
        "ms",
        higher_is_better=False,
        references={_PLAIN: figure("command", "plain_ms")},
        ours=figure("command", "sandboxed_ms"),
    ),
    Comparison(
        "tools.command-more",
        "ms",
        higher_is_better=False,
        ours=figure("command", "more_ms"),
        targets=(Target(5, 3),),
    ),
    Comparison(
        "tools.commands-100",
        "ms",
        higher_is_better=False,
        references={f"{_PLAIN}es": figure("parallel", "plain_ms")},
        ours=figure("parallel", "sandboxed_ms"),
    ),
    Comparison(
        "tools.memory-100",
        "MB",
        higher_is_better=False,
        ours=figure("parallel", "grown_mb"),
        targets=(Target(5, 1),),
    ),
    Comparison(
        "tools.permission-check",
        "µs",
        higher_is_better=False,
        ours=figure("checks", "permission_us"),
        targets=(Target(50, 10),),
    ),
    Comparison(
        "tools.schema-check",
        "µs",
        higher_is_better=False,
        ours=figure("checks", "schema_us"),
        targets=(Target(50, 10),),
    ),
)
