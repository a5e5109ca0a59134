"""Run the whole corpus, and say what became of each attack. Runs inside the sandbox."""

import json
import sys

from tests.conformance.sandbox.corpus import files, kernel, processes, sockets
from tests.conformance.sandbox.corpus.common import Prey, run_all

CORPUS = (files, kernel, processes, sockets)


def main() -> None:
    """Read what the prey is, and attack it."""
    json.dump(run_all(Prey(**json.load(sys.stdin))), sys.stdout)
