"""Prints the transcript of one language: `python -m tests.clients LANGUAGE [unix|tcp]`."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.clients.harness import play
from tests.clients.languages import LANGUAGES
from tests.e2e.daemon import Home


def main(language: str, carrier: str = "unix") -> None:
    """Build a runner, play the scenario, print the transcript."""
    with tempfile.TemporaryDirectory() as folder, Home() as home:
        command = LANGUAGES[language].build(Path(folder))
        sys.stdout.write(asyncio.run(play(command, home, carrier)))


if __name__ == "__main__":
    main(*sys.argv[1:])
