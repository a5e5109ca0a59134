"""Runs the command line as `python -m agentd`."""

import sys

from agentd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
