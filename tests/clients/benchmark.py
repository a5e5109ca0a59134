"""Measures clients beside bare gRPC in their language: `python -m tests.clients.benchmark [COUNT]`.

Prints for each language that is here, as medians of one run on this machine: a unary echo of bare
gRPC, the round trip of a hosted tool (its outcome's commit, the model's turn, which takes no time,
the next intent's commit), and the events that a watch reads each second, from the daemon and from a
bare server of the same language. Figures of different languages are not for comparison: each bare
server is in the client's own process.
"""

import asyncio
import json
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path

from tests.clients.languages import LANGUAGES, Command
from tests.e2e.daemon import Home, daemon

BENCH_S = 300
HEADER = ("language", "echo µs", "hosted µs", "ratio", "watch events/s", "bare events/s", "ratio")


async def measure(command: Command, count: int) -> Sequence[str]:
    """Run one program against a daemon of its own; return the cells of its row."""
    call = {"tool": "quick", "arguments": {}}
    turns = [{"calls": [call], "repeat": count + 50}, {"text": "done"}]
    with Home() as home:
        home.script({"conversations": [{"turns": turns}]})
        async with daemon(home), asyncio.timeout(BENCH_S):
            program = await asyncio.create_subprocess_exec(
                *command, home.address, str(count), stdout=PIPE
            )
            written, _ = await program.communicate()
        if program.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with {program.returncode}")
    found = json.loads(written)
    echo, hosted, watch, bare = (
        found[name] for name in ("echo_us", "hosted_us", "watch_per_s", "bare_watch_per_s")
    )
    ratios = f"{hosted / echo:.1f}", f"{watch / bare:.2f}"
    return f"{echo:.0f}", f"{hosted:.0f}", ratios[0], f"{watch:.0f}", f"{bare:.0f}", ratios[1]


def main(count: int = 1000) -> None:
    """Measure every language that has a toolchain here."""
    say("  ".join(HEADER))
    for name, language in LANGUAGES.items():
        if language.benchmark is None:
            continue
        if language.missing:
            say(f"{name}: there is no {' and no '.join(language.missing)}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            language.build(Path(folder))
            cells = asyncio.run(measure(language.benchmark(Path(folder)), count))
        say("  ".join((name, *cells)))


def say(line: str) -> None:
    """Print a line of the table."""
    print(line, flush=True)  # noqa: T201 - this is a command


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
