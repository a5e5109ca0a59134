"""Serves as `agentd serve` does: with the configuration of its environment."""

import sys

from agentd.config import load
from agentd.daemon import serve

if __name__ == "__main__":
    sys.exit(serve(load()))
