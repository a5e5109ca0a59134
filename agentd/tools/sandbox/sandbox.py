"""Run commands in the best tier that works here, and find out which one that is."""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence

from agentd.errors import AgentdError, Reason, Unavailable, Unsupported
from agentd.tools.sandbox import landlock, seccomp
from agentd.tools.sandbox.arguments import find_system
from agentd.tools.sandbox.cgroup import Cgroups, find_cgroups
from agentd.tools.sandbox.child import Child
from agentd.tools.sandbox.drop import (
    Owner,
    choose_owner,
    drop_prefix,
    find_program,
    temporary_folder,
)
from agentd.tools.sandbox.launch import BubblewrapLauncher, LandlockLauncher, Launcher
from agentd.tools.sandbox.limits import may_limit_others
from agentd.tools.sandbox.network import Network
from agentd.tools.sandbox.output import Capture
from agentd.tools.sandbox.process import Process, attach
from agentd.tools.sandbox.profile import (
    Command,
    Finished,
    Limits,
    Profile,
    Tier,
    check_command,
    check_profile,
)
from agentd.tools.sandbox.streams import Drain, Ends, Feed

DRAIN_TIMEOUT_S = 1.0
"""How long the last output may take to arrive after everything has ended."""
_NOT_EXECUTED = "bwrap: execvp "
"""How bubblewrap begins when all is set up but the program; nothing else has spoken by then."""
_PROBE_LIMITS = Limits(soft_timeout_s=10.0, hard_timeout_s=11.0)
_PROBE = Command(("/bin/sh", "-c", "echo probe > probe && cat probe && echo sandboxed"))


class Sandbox:
    """Runs commands. It keeps nothing between two of them."""

    def __init__(
        self, launcher: Launcher | None, *, owner: Owner | None = None, faults: tuple[str, ...] = ()
    ) -> None:
        self._launcher = launcher
        self.tier = Tier.NONE if launcher is None else launcher.tier
        self.owner = owner
        """Whom commands run as, and who must be able to write to their workspaces; None when that
        is the daemon's own user."""
        self.faults = faults
        """Why better tiers do not work here."""

    async def run(self, command: Command, profile: Profile) -> Finished:
        """Run a command to its end, or to the end of its time.

        Cancelling this ends everything that the command started before it returns. Raises
        InvalidRequest (INVALID_FIELD) for what cannot be run or granted, Unavailable (INTERNAL)
        when the sandbox cannot be set up, and Unsupported (NOT_IMPLEMENTED) when no tier works or
        this one has no network.
        """
        begin = time.monotonic()
        kept = profile.limits.output_bytes
        outputs = (Capture(kept), Capture(kept))
        async with self._started(command, profile) as (child, ends, _):
            feed = Feed(ends.take_stdin(), command.stdin, terminal=ends.terminal)
            drains = (Drain(ends.take_stdout(), outputs[0]), Drain(ends.take_stderr(), outputs[1]))
            try:
                timed_out = await _supervise(child, profile.limits)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(DRAIN_TIMEOUT_S):
                        for drain in drains:
                            await drain.ended()
            finally:
                for part in (feed, *drains):
                    part.close()
        return _finished(child, outputs, begin, timed_out=timed_out, tier=self.tier)

    async def spawn(self, command: Command, profile: Profile) -> Process:
        """Start a program that is talked to, until `Process.kill`. The time limits and the standard
        input of the command are not used. Raises as `run` does.
        """
        async with self._started(command, profile, keep=True) as (child, ends, network):
            return await attach(child, ends, Capture(profile.limits.output_bytes), network)

    @contextlib.asynccontextmanager
    async def _started(
        self, command: Command, profile: Profile, *, keep: bool = False
    ) -> AsyncIterator[tuple[Child, Ends, Network]]:
        """Start a command, and leave nothing of it behind; with `keep`, only if that failed."""
        if self._launcher is None:
            raise Unsupported(
                Reason.NOT_IMPLEMENTED,
                f"there is no sandbox to run commands in: {'; '.join(self.faults)}",
            )
        check_command(command)
        check_profile(profile)
        async with contextlib.AsyncExitStack() as stack:
            network = Network(profile.network, self.owner)
            stack.push_async_callback(network.aclose)
            proxy = await network.start()
            ends = Ends(terminal=profile.terminal)
            stack.callback(ends.close)
            try:
                child = self._launcher.start(command, profile, ends.inner, proxy)
            except OSError as error:
                raise Unavailable(
                    Reason.INTERNAL, f"no sandbox could be started: {error}"
                ) from error
            stack.push_async_callback(child.kill)
            ends.close_inner()
            yield child, ends, network
            if keep:
                stack.pop_all()


async def _supervise(child: Child, limits: Limits) -> bool:
    """Wait for a command's end; ask for it at the soft deadline, enforce it at the hard one.

    Returns whether its time was over.
    """
    if await child.ended(limits.soft_timeout_s):
        return False
    child.terminate()
    if not await child.ended(limits.hard_timeout_s - limits.soft_timeout_s):
        await child.kill()
    return True


def _finished(
    child: Child, outputs: Sequence[Capture], begin: float, *, timed_out: bool, tier: Tier
) -> Finished:
    """Say how a command ended. Raises Unavailable (INTERNAL) if it never began."""
    code = child.exit_code
    if code is None and outputs[1].text().startswith(_NOT_EXECUTED):
        code = 127
    if code is None and (child.fault or (not timed_out and child.returncode != 128 + 9)):
        text = child.fault or outputs[1].text().strip() or outputs[0].text().strip()
        raise Unavailable(Reason.INTERNAL, f"the sandbox could not be set up: {text}")
    code = 137 if code is None else code
    return Finished(
        exit_code=code,
        signal=code - 128 if 128 < code <= 192 else 0,
        stdout=outputs[0].text(),
        stderr=outputs[1].text(),
        omitted_bytes=sum(output.omitted for output in outputs),
        timed_out=timed_out,
        duration_ms=round((time.monotonic() - begin) * 1000),
        tier=tier.name.lower(),
    )


async def probe() -> Sandbox:
    """Find the best tier by running a real command in each, the best first. Never raises; a daemon
    without any tier gets a sandbox that refuses every command and says why."""
    faults: list[str] = []
    try:
        owner = choose_owner()
        words = drop_prefix(owner)
    except OSError as error:
        return Sandbox(None, faults=(str(error),))
    cgroups = find_cgroups()
    shared = cgroups if isinstance(cgroups, Cgroups) else None
    builders: tuple[tuple[Tier, Callable[[], Sequence[Launcher]]], ...] = (
        (Tier.BUBBLEWRAP, lambda: [bubblewrap(words, shared)]),
        (Tier.LANDLOCK, lambda: landlocks(words, shared)),
    )
    for tier, build in builders:
        try:
            candidates = build()
        except (OSError, AgentdError) as error:
            faults.append(f"{tier.name.lower()}: {error}")
            continue
        for launcher in candidates:
            fault = await try_launcher(launcher, owner)
            if fault is None:
                return Sandbox(launcher, owner=owner, faults=tuple(faults))
            faults.append(f"{tier.name.lower()}: {fault}")
    return Sandbox(None, owner=owner, faults=tuple(faults))


def bubblewrap(words: Sequence[str], cgroups: Cgroups | None) -> Launcher:
    """Return the launcher of the best tier. Raises FileNotFoundError and Unsupported."""
    program = find_program("bwrap")
    if program is None:
        raise FileNotFoundError("bwrap is not installed (package bubblewrap)")
    filter_ = seccomp.build(seccomp.architecture())
    limiting = not words or may_limit_others()
    return BubblewrapLauncher((*words, program), find_system(), filter_, cgroups, limiting=limiting)


def landlocks(words: Sequence[str], cgroups: Cgroups | None) -> Sequence[Launcher]:
    """Return launchers of the second tier, one for each Python that may serve as helper: the
    daemon's own may be out of an unprivileged user's reach. Raises OSError and Unsupported."""
    abi = landlock.landlock_abi()
    if abi < landlock.MINIMUM_ABI:
        raise OSError(f"this kernel has Landlock ABI {abi}, {landlock.MINIMUM_ABI} is needed")
    signals = abi >= landlock.SIGNALS_ABI
    filter_ = seccomp.build(seccomp.architecture(), shared=True, signals=signals)
    pythons = dict.fromkeys(
        python for python in (sys.executable, find_program("python3")) if python
    )
    system = find_system()
    return [
        LandlockLauncher((*words, python, "-I", "-S"), system, filter_, cgroups)
        for python in pythons
    ]


async def try_launcher(launcher: Launcher, owner: Owner | None) -> str | None:
    """Run a real command in a folder of its own; return what went wrong."""
    try:
        place = temporary_folder(owner)
        with tempfile.TemporaryDirectory(prefix="agentd-probe-", dir=place) as folder:
            if owner is not None:
                os.chown(folder, owner.uid, owner.gid)
            profile = Profile(workspace=folder, limits=_PROBE_LIMITS)
            finished = await Sandbox(launcher).run(_PROBE, profile)
    except (OSError, AgentdError) as error:
        return str(error)
    if finished.stdout != "probe\nsandboxed\n":
        text = finished.stderr.strip() or finished.stdout.strip()
        return f"the probe ended with {finished.exit_code}: {text}"
    return None
