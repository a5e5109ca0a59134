"""Unary calls with 64 in flight over a Unix socket, against a bare echo in the same round."""

from tests.benchmarks.harness import Comparison, Target
from tests.benchmarks.ours.requests import create_rate, info_rate, read_rate, start_rate
from tests.benchmarks.peers.limits import echo_rate

_ECHO = "bare grpc.aio echo"

ROWS = (
    Comparison(
        "rpc.read",
        "calls/s",
        references={_ECHO: echo_rate},
        ours=read_rate,
        targets=(Target(0.75, 0.85, against=_ECHO),),
    ),
    Comparison("rpc.info", "calls/s", references={_ECHO: echo_rate}, ours=info_rate),
    Comparison(
        "rpc.create-run",
        "calls/s",
        references={_ECHO: echo_rate},
        ours=create_rate,
        targets=(Target(0.5, 0.7, against=_ECHO),),
    ),
    Comparison("rpc.start-run", "calls/s", references={_ECHO: echo_rate}, ours=start_rate),
)
