"""Give the peers a virtual environment of their own, made when it is first wanted and then kept."""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.benchmarks.harness import UnavailableError
from tests.benchmarks.process import clean_environment, python, run_to_end

PINS = (
    "aiosqlite==0.22.1",
    "dbos==3.4.0",
    "langchain-core==1.7.2",
    "langgraph==1.2.22",
    "langgraph-checkpoint-sqlite==3.1.2",
    "langgraph-prebuilt==1.1.2",
    "pysqlite3-binary==0.5.4.post2",  # DBOS wants SQLite 3.42, which Debian 12 does not have
    "sqlalchemy==2.1.9",
)
BUILD_TIMEOUT_S = 200.0
SCRIPT_TIMEOUT_S = 150.0
_COMPLETE = "complete"
_refusals: dict[Path, str] = {}
"""Environments that this process could not build, and why: it does not try twice."""


def cache_directory() -> Path:
    """Return where the environment is kept: under the system's directory for temporary files, by
    user, so that nobody runs what another has put there."""
    return Path(tempfile.gettempdir()) / f"agentd-benchmarks-{os.getuid()}"


def _identity() -> str:
    return hashlib.sha256("\n".join((sys.version, *PINS)).encode()).hexdigest()[:16]


async def interpreter() -> Path:
    """Return the Python of the peers' environment, building it when it is not there.

    Raises UnavailableError when its packages cannot be installed.
    """
    root = cache_directory()
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid() or root.stat().st_mode & 0o077:
        raise UnavailableError(f"{root} is not only ours")
    environment = root / f"peers-{_identity()}"
    async with _locked(root / "lock"):
        if not (environment / _COMPLETE).exists():
            if environment in _refusals:
                raise UnavailableError(_refusals[environment])
            shutil.rmtree(environment, ignore_errors=True)
            try:
                await _build(environment)
            except UnavailableError as why:
                _refusals[environment] = str(why)
                raise
    return environment / "bin" / "python"


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Keep two benchmarks from building at once."""
    with path.open("w") as file:
        async with asyncio.timeout(BUILD_TIMEOUT_S):
            await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
        yield


async def _build(environment: Path) -> None:
    for command in (
        (python(), "-m", "venv", str(environment)),
        (str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", *PINS),
    ):
        try:
            code, _, errors = await run_to_end(
                command, environment=dict(os.environ), timeout_s=BUILD_TIMEOUT_S
            )
        except TimeoutError:
            raise UnavailableError("building the peers' environment took too long") from None
        if code != 0:
            last = errors.strip().splitlines()[-1:] or ["no reason given"]
            raise UnavailableError(f"the peers' environment could not be built: {last[0]}")
    (environment / _COMPLETE).touch()


def peer_environment(directory: Path) -> Mapping[str, str]:
    """Return the environment variables of a peer: it is to report to nobody."""
    return {**clean_environment(directory), "LANGSMITH_TRACING": "false"}


async def run_script(
    script: Path, arguments: Sequence[str], directory: Path, *, code: int = 0
) -> Mapping[str, float]:
    """Run a peer's script to its end in the peers' environment; return the figures it prints, if
    it does. It is to end with the code.

    Raises UnavailableError when it fails, with the last line of what it said.
    """
    command = (str(await interpreter()), str(script), *arguments)
    try:
        ended, output, errors = await run_to_end(
            command, environment=peer_environment(directory), timeout_s=SCRIPT_TIMEOUT_S
        )
    except TimeoutError:
        raise UnavailableError(f"{script.name} took more than {SCRIPT_TIMEOUT_S:.0f} s") from None
    if ended != code:
        last = errors.strip().splitlines()[-1:] or [f"exit code {ended}"]
        raise UnavailableError(f"{script.name} failed: {last[0]}")
    lines = output.strip().splitlines() or ["{}"]
    figures: Mapping[str, float] = json.loads(lines[-1])
    return figures
