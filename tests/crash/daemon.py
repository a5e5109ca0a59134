"""Serves as the daemon does, and kills itself with SIGKILL when it reaches a boundary."""

import argparse
import itertools
import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

from agentd.config import load
from agentd.daemon import serve

BOUNDARIES = (
    "before_append",
    "appended",
    "acknowledged",
    "recorded",
    "dispatched",
    "received",
)
"""The points where it can be killed, in the order in which an effect passes them."""


class Boundary:
    """Counts boundaries on whichever thread reaches them, and dies at one of them."""

    def __init__(self, crash_at: int, kind: str) -> None:
        self.passed: Counter[str] = Counter()
        self._crash_at = crash_at
        self._kind = kind
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def __call__(self, kind: str) -> None:
        with self._lock:
            self.passed[kind] += 1
            if self._kind and kind != self._kind:
                return
            if next(self._numbers) == self._crash_at:
                os.kill(os.getpid(), signal.SIGKILL)
                threading.Event().wait()  # Nothing runs on this thread until the signal lands.


def main() -> int:
    """Serve with the configuration of the environment; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crash-at", type=int, default=0, help="which boundary, counted from 1")
    parser.add_argument("--kind", choices=("", *BOUNDARIES), default="", help="count only these")
    parser.add_argument("--count", type=Path, help="where the boundaries passed are written")
    arguments = parser.parse_args()
    boundary = Boundary(arguments.crash_at, arguments.kind)
    code = serve(load(), boundary=boundary)
    if arguments.count:
        arguments.count.write_text(json.dumps(boundary.passed), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
