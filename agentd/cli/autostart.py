"""Finds the daemon, or starts one that goes on after this command has ended."""

import asyncio
import fcntl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.cli.base import Settings
from agentd.errors import Reason, Unavailable

if TYPE_CHECKING:
    from agentd.client.types import GetInfoResponse

START_S = 20.0
"""How long a new daemon may take until it answers."""
GRACE_S = 2.0
"""How long to go on asking after the process that was started has ended: systemd, for one, may have
started the daemon at the same time, and then this one gives way."""
POLL_S = 0.05
LOG_LINES = 20


@dataclass(frozen=True, slots=True)
class Found:
    """A daemon that answers."""

    info: "GetInfoResponse"
    started: bool
    """Whether this command started it."""


async def find_or_start(settings: Settings, say: Callable[[str], None]) -> Found:
    """Return the daemon's answer to GetInfo, starting it when nobody answers.

    Only the user's own daemon is started: one at an address that was asked for by name is not.
    Raises Unavailable (UNREACHABLE) with the end of the log when it does not start.
    """
    try:
        return Found(await _ask(settings), started=False)
    except Unavailable as error:
        absent = error.reason is Reason.UNREACHABLE and error.metadata["code"] == "UNAVAILABLE"
        if settings.config.client.address or not absent:
            raise
    log = settings.config.state.directory / "serve.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with _alone(log.with_name("start.lock")):
        with suppress(Unavailable):  # Another command may have started it in the meantime.
            return Found(await _ask(settings), started=False)
        process, start = _spawn(settings, log)
        say(f"Started the daemon (process {process.pid}); its log is {log}")
        return Found(await _until_ready(settings, process, log, start), started=True)


@asynccontextmanager
async def _alone(lock: Path) -> AsyncIterator[None]:
    """Hold a file's lock, so that of several commands one starts the daemon. Goes on without it
    after the time that a start may take: the daemon has a lock of its own."""
    end = asyncio.get_running_loop().time() + START_S
    with lock.open("w") as file:
        while asyncio.get_running_loop().time() < end:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(POLL_S)
        yield


async def _ask(settings: Settings) -> "GetInfoResponse":
    """Ask once, over a connection of its own: one that failed dials again only after a pause."""
    async with settings.client(attempts=1) as client:
        return await client.system.info()


def _spawn(settings: Settings, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start `agentd serve` in a session of its own; return it and where its log starts."""
    flags = [part for key, value in settings.flags.items() for part in ("--set", f"{key}={value}")]
    with log.open("ab") as output:
        start = output.tell()
        process = subprocess.Popen(  # noqa: S603 - this program itself
            [sys.executable, "-m", "agentd", *flags, "serve"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return process, start


async def _until_ready(
    settings: Settings, process: subprocess.Popen[bytes], log: Path, start: int
) -> "GetInfoResponse":
    now = asyncio.get_running_loop().time
    end = now() + START_S
    while True:
        try:
            return await _ask(settings)
        except Unavailable as error:
            if process.poll() is not None:
                end = min(end, now() + GRACE_S)
            if now() >= end:
                raise _not_started(process, log, start) from error
        await asyncio.sleep(POLL_S)


def _not_started(process: subprocess.Popen[bytes], log: Path, start: int) -> Unavailable:
    code = process.poll()
    how = f"ended with exit code {code}" if code is not None else f"does not answer in {START_S} s"
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").splitlines()[-LOG_LINES:]
    said = "\n".join(f"  {text}" for text in lines) or "  (nothing)"
    message = f"the daemon {how}. The end of its log, {log}:\n{said}"
    return Unavailable(Reason.UNREACHABLE, message)
