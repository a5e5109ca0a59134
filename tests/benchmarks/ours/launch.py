"""Start a daemon from its configuration; with `--local`, its process holds the benchmark's tool."""

import os
import signal
import sys
import threading

from agentd.config import load
from agentd.daemon import serve
from tests.benchmarks.ours.parts import PATH, add, manifest
from tests.fakes.local import FunctionTool


def _end_with_input() -> None:
    """End when whoever started us has ended, however it did."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    local = {PATH: FunctionTool(manifest(), add)} if "--local" in sys.argv else None
    sys.exit(serve(load(), local_tools=local))
