"""One call after another through libagentd, against the same call through gRPC from Python."""

from tests.benchmarks.harness import Comparison
from tests.benchmarks.ours.c_calls import embedded_us, grpc_us, unix_us

_GRPC = "grpc.aio from Python, over a Unix socket"

ROWS = (
    Comparison(
        "c.embedded-p50",
        "µs",
        higher_is_better=False,
        references={_GRPC: grpc_us},
        ours=embedded_us,
    ),
    Comparison(
        "c.unix-p50", "µs", higher_is_better=False, references={_GRPC: grpc_us}, ours=unix_us
    ),
)
