"""Sweeps from the command line: `python -m tests.crash --seeds 3 --all`, or `--random` to soak."""

import argparse
import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from random import Random

from tests.crash.scenario import make_scenario
from tests.crash.sweep import Reference, crash, every, reference, sample
from tests.crash.trial import Crash
from tests.invariants import Broken


async def sweep(seed: int, *, complete: bool, count: int) -> int:
    """Crash the scenario of a seed; return how many trials broke an invariant."""
    known = await reference(make_scenario(seed))
    _say(f"seed {seed}: {dict(known.boundaries)}")
    trials = every(known) if complete else itertools.islice(sample(known, Random(seed)), count)
    return sum([await _tell(known, crashes) for crashes in trials])


async def soak(seed: int, minutes: float) -> int:
    """Kill the daemon again and again at random; return how many trials broke an invariant."""
    broken = 0
    end = time.monotonic() + minutes * 60
    for number in itertools.count(seed):
        random = Random(number)
        known = await reference(make_scenario(number))
        for crashes in itertools.islice(sample(known, random), 6):
            many = [*crashes, *(Crash(random.randint(1, 200)) for _ in range(random.randint(0, 8)))]
            broken += await _tell(known, many)
            if time.monotonic() >= end:
                return broken
    raise AssertionError("count() does not end")


async def _tell(known: Reference, crashes: Sequence[Crash]) -> bool:
    """Play once; say how it went, and return whether an invariant broke."""
    line = " ".join(f"{crash.kind or 'any'}:{crash.at}" for crash in crashes)
    try:
        came = await crash(known, crashes)
    except Broken as error:
        _say(f"BROKEN seed {known.scenario.seed} {line}: {error}")
        return True
    _say(f"ok seed {known.scenario.seed} {line} ({came} crashes)")
    return False


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Sweep or soak; return 1 when an invariant broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--all", action="store_true", help="crash at every boundary")
    parser.add_argument("--count", type=int, default=12, help="crashes of each seed without --all")
    parser.add_argument(
        "--random", action="store_true", help="many crashes in one trial, at random"
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="how long --random goes on")
    arguments = parser.parse_args()
    if arguments.random:
        broken = asyncio.run(soak(arguments.seed, arguments.minutes))
    else:
        broken = 0
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            broken += asyncio.run(sweep(seed, complete=arguments.all, count=arguments.count))
    _say(f"{broken} trials broke an invariant")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
