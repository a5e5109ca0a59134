"""Events to watchers: one, a hundred, and a hundred of which one has stalled."""

from tests.benchmarks.harness import Comparison, Target
from tests.benchmarks.ours.watching import WATCHERS, delivery_rate, stalled_ratio
from tests.benchmarks.peers.limits import one_by_one_rate, stream_rate

_ONE_BY_ONE = "one message per event"

ROWS = (
    Comparison(
        "fanout.events-1",
        "events/s",
        references={
            "bare stream, 1 a message": stream_rate(1, 1),
            "bare stream, 64 a message": stream_rate(1, 64),
        },
        ours=delivery_rate(1),
    ),
    Comparison(
        "fanout.deliveries-100",
        "deliveries/s",
        references={
            _ONE_BY_ONE: one_by_one_rate(WATCHERS),
            "bare streams, 64 a message": stream_rate(WATCHERS, 64),
        },
        ours=delivery_rate(WATCHERS),
        targets=(Target(15, 30, against=_ONE_BY_ONE),),
    ),
    # Both sides of this ratio are ours: the rate of the other 99 watchers when one has stalled,
    # over their rate when none has, in the same round.
    Comparison("fanout.stalled-of-100", "times", ours=stalled_ratio, targets=(Target(0.9, 0.98),)),
)
