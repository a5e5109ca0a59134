"""Runs the command line as `python -m agentd.cli`."""

import sys

from agentd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
