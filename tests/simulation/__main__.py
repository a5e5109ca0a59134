"""Replay simulations: `python -m tests.simulation --seed N [--seeds COUNT] [--steps]`."""

import argparse
import sys

from tests.simulation.simulation import simulate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="how many, counted on from --seed")
    parser.add_argument("--steps", action="store_true", help="print what each simulation did")
    options = parser.parse_args()
    failed = 0
    for seed in range(options.seed, options.seed + options.seeds):
        try:
            result = simulate(seed)
        except AssertionError as broken:
            failed += 1
            sys.stdout.write(f"{broken}\n")
            continue
        if options.steps:
            sys.stdout.write(f"{result}\n")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
