"""`agentd doctor`: looks at everything a daemon needs, and says what to do about what is wrong."""

import os
import pwd
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import click

from agentd import __version__
from agentd.cli.base import Command, Settings, pass_settings, run_async
from agentd.cli.exits import Exit
from agentd.cli.output import output_option, write_items
from agentd.cli.pulling import DEFAULT_MODEL
from agentd.cli.text import age, lower
from agentd.client.types import GetInfoResponse, McpServerState, SandboxTier
from agentd.errors import AgentdError

SQLITE_FIXED = (3, 51, 3)
"""The first SQLite without the bug that can lose a WAL at its reset."""
GRPCIO_SLOW = (1, 80)
"""From here on grpcio serves about half as many requests a second."""
DISK_WARN_BYTES = 1_000_000_000
DISK_FAIL_BYTES = 100_000_000
ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    state: Literal["ok", "warn", "fail"]
    subject: str
    text: str
    advice: str = ""
    """What to do about it."""


Findings = Iterator[Finding]


@click.command(cls=Command, examples="agentd doctor\nagentd doctor -o json")
@output_option
@pass_settings
def doctor(settings: Settings, output: str) -> int:
    """Check configuration, socket, daemon, keys, models, libraries and disk.

    Each line is ok, warn or fail, with what to do. The exit code is 1 when something fails.
    """
    found = list(examine(settings))
    write_items(
        found,
        output,
        to_json=asdict,
        columns=("", "WHAT", "FOUND", "WHAT TO DO"),
        row=lambda finding: (finding.state, finding.subject, finding.text, finding.advice),
    )
    return Exit.FAILED if any(finding.state == "fail" for finding in found) else Exit.OK


def examine(settings: Settings) -> Findings:
    """Yield what each check finds. A configuration that cannot be read ends it: without one,
    nobody knows where to look."""
    yield from _libraries()
    try:
        count = len(settings.config.describe())
    except AgentdError as error:
        yield Finding("fail", "configuration", error.message, "correct it there")
        return
    yield Finding("ok", "configuration", f"{count} values are valid")
    yield from _state(settings.config.state.directory)
    yield from _socket(settings.config.server.socket)
    yield from _keys(settings)
    yield from run_async(_daemon(settings))


def _libraries() -> Findings:
    yield Finding("ok", "agentd", f"{__version__} on Python {sys.version.split()[0]}")
    yield _library(
        "grpcio",
        lambda found: found < GRPCIO_SLOW,
        "warn",
        "grpcio below 1.80 serves 1.8 times the requests",
    )
    yield _sqlite()


def _library(
    name: str, good: Callable[[tuple[int, ...]], bool], otherwise: Literal["warn", "fail"], why: str
) -> Finding:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding("fail", name, "is not installed", f"pip install {name}")
    fits = good(tuple(int(part) for part in found.split(".")[:2]))
    return Finding("ok", name, found) if fits else Finding(otherwise, name, found, why)


def _sqlite() -> Finding:
    try:
        import apsw  # noqa: PLC0415
    except ImportError as error:
        return Finding("fail", "sqlite", f"apsw cannot be imported: {error}", "pip install apsw")
    found = apsw.sqlitelibversion()
    if tuple(int(part) for part in found.split(".")) >= SQLITE_FIXED:
        return Finding("ok", "sqlite", found)
    return Finding("fail", "sqlite", f"{found} can lose data", "pip install -U 'apsw>=3.51.3'")


def _state(directory: Path) -> Findings:
    if not directory.is_dir():
        yield Finding("ok", "state", f"{directory} will be made at the first start")
        directory = next(parent for parent in directory.parents if parent.is_dir())
    elif not os.access(directory, os.W_OK | os.X_OK):
        owner = _user(directory.stat().st_uid)
        text = f"{directory} belongs to {owner} and cannot be written"
        yield Finding("warn", "state", text, f"right if the daemon runs as {owner}; else chown it")
    elif directory.stat().st_mode & stat.S_IROTH:
        yield Finding("warn", "state", f"everybody may read {directory}", f"chmod 700 {directory}")
    else:
        yield Finding("ok", "state", str(directory))
    free = shutil.disk_usage(directory).free
    text = f"{free / 1e9:.1f} GB are free below {directory}"
    state: Literal["ok", "warn", "fail"] = "ok" if free > DISK_WARN_BYTES else "warn"
    yield Finding(
        "fail" if free < DISK_FAIL_BYTES else state,
        "disk",
        text,
        "" if state == "ok" else "free some",
    )


def _socket(path: Path) -> Findings:
    lock = path.with_name(path.name + ".lock")
    try:
        holder = lock.read_text(encoding="ascii").split() if lock.exists() else []
    except OSError as error:
        yield Finding("warn", "lock", f"{lock} cannot be read: {error.strerror}")
        holder = []
    match holder:
        case [pid, uid] if pid.isdigit() and uid.isdigit() and Path(f"/proc/{pid}").exists():
            yield Finding("ok", "lock", f"process {pid} of {_user(int(uid))} serves {path}")
        case _:
            yield Finding("ok", "lock", f"nobody serves {path}")
    if path.exists() and not os.access(path, os.W_OK):
        owner = _user(path.stat().st_uid)
        text = f"{path} belongs to {owner} and does not let you in"
        advice = "ask its owner for server.socket_mode 0660 and its group, or run your own daemon"
        yield Finding("fail", "socket", text, advice)


def _keys(settings: Settings) -> Findings:
    present = []
    for name, provider in settings.config.models.providers.items():
        try:
            if provider.key() is not None:
                present.append(name)
        except AgentdError as error:
            yield Finding("fail", "keys", error.message, "correct or remove api_key_file")
    text = f"for {', '.join(present)}" if present else "none; local models need none"
    yield Finding("ok", "keys", text)


async def _daemon(settings: Settings) -> list[Finding]:
    from datetime import UTC  # noqa: PLC0415

    try:
        async with settings.client() as client:
            info = await client.system.info(timeout_s=ANSWER_S)
    except AgentdError as error:
        advice = "start it with `agentd serve`, or let `agentd run` start it"
        return [Finding("warn", "daemon", error.message, advice)]
    since = age(info.start_time.ToDatetime(tzinfo=UTC))
    text = (
        f"{info.version}, process {info.process_id}, up {since}, {info.unfinished_run_count} runs"
    )
    found = [Finding("ok", "daemon", text)]
    if info.version != __version__:
        found.append(
            Finding("warn", "daemon", f"it is {info.version}, this is {__version__}", "restart it")
        )
    if info.draining:
        found.append(Finding("warn", "daemon", "it is going down", "wait, or start it again"))
    found += _sandbox(info)
    if info.default_model:
        found.append(Finding("ok", "models", f"{info.default_model} is the default"))
    else:
        advice = f"set a key and restart it, or `agentd models pull {DEFAULT_MODEL}`"
        found.append(Finding("warn", "models", "no model can be used", advice))
    return found


def _sandbox(info: GetInfoResponse) -> Findings:
    """Say how commands are isolated, and what is lost where they could be better."""
    tier = lower(SandboxTier.Name(info.sandbox_tier), "SANDBOX_TIER_")
    faults = "; ".join(info.sandbox_faults)
    match tier:
        case "bubblewrap":
            yield Finding("ok", "sandbox", "bubblewrap: commands have files and network apart")
        case "landlock":
            text = f"landlock: commands see other processes, and have no network ({faults})"
            yield Finding("warn", "sandbox", text, "apt install bubblewrap, then restart it")
        case "none":
            text = f"process/run is not offered: {faults}"
            yield Finding("warn", "sandbox", text, "apt install bubblewrap, then restart it")
        case _:
            yield Finding("ok", "sandbox", "not probed yet")
    for server in info.mcp_servers:
        state = lower(McpServerState.Name(server.state), "MCP_SERVER_STATE_")
        text = f"{server.name} is {state}, {server.tool_count} tools"
        if state == "paused":
            advice = f"look at what changed: agentd tools accept {server.name}"
            yield Finding("warn", "mcp", f"{text}: {server.reason}", advice)
        elif state == "failing":
            yield Finding("warn", "mcp", f"{text}: {server.reason}", "correct tools.mcp")
        else:
            yield Finding("ok", "mcp", text)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
