"""The round trip of a call to a tool in a client's process, intent and result durable."""

from tests.benchmarks.harness import Comparison, Target
from tests.benchmarks.ours.hosting import round_trip_us
from tests.benchmarks.peers.limits import hosted_call_us, ping_us

_PARTS = "unary + stream message + 2 fdatasync"

ROWS = (
    Comparison(
        "hosts.round-trip-p50",
        "µs",
        higher_is_better=False,
        references={_PARTS: hosted_call_us, "bare bidi ping-pong, not durable": ping_us},
        ours=round_trip_us,
        targets=(Target(2.5, 1.5, against=_PARTS),),
    ),
)
