"""Play every task with every injection: `python -m tests.puppet [--profile NAME] [--sample N]`."""

import argparse
import asyncio
import random
import sys
import time

from tests.puppet.profiles import AGENTS
from tests.puppet.suite import cases, play


def main() -> int:
    """Print a report for each profile; return whether nothing undeclared happened."""
    parser = argparse.ArgumentParser(prog="python -m tests.puppet")
    parser.add_argument("--profile", choices=AGENTS, action="append")
    parser.add_argument("--sample", type=int, default=0, help="cases of each; 0 is all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=10, help="findings that are printed")
    options = parser.parse_args()
    clean = True
    for profile in options.profile or ("default", "office"):
        chosen = list(cases(profile))
        if options.sample:
            chosen = random.Random(options.seed).sample(chosen, options.sample)
        start = time.monotonic()
        report = asyncio.run(play(chosen))
        print(f"{profile}: {report} ({time.monotonic() - start:.0f} s)")  # noqa: T201
        found = [*report.effects, *report.unfinished]
        for line in found[: options.show]:
            print(f"  {line}")  # noqa: T201
        clean = clean and not report.effects and report.finished >= 0.9
    return 0 if clean or options.profile == ["anything"] else 1


if __name__ == "__main__":
    sys.exit(main())
