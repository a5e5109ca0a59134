"""Start one command in one tier: open what it inherits, and hand it to its supervisor."""

import json
import os
import subprocess
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from agentd.errors import Reason, Unsupported
from agentd.tools.sandbox import landlock
from agentd.tools.sandbox.arguments import (
    ACCOUNT_FILES,
    BRIDGE_PATH,
    Descriptors,
    System,
    build_arguments,
    environment_of,
)
from agentd.tools.sandbox.cgroup import Cgroups
from agentd.tools.sandbox.child import Child
from agentd.tools.sandbox.descriptors import Opened, open_memory
from agentd.tools.sandbox.profile import Command, Profile, Tier

Streams = tuple[int, int, int]
"""Standard input, output and error of a command."""

_NO_SECRETS = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
"""The environment of the supervisor: a sandbox shows that of its first process."""


class Launcher(Protocol):
    """Starts commands in one tier."""

    tier: Tier

    @abstractmethod
    def start(
        self, command: Command, profile: Profile, streams: Streams, proxy: int | None
    ) -> Child:
        """Start a command; its granted network is reached through an open Unix socket's path.

        Raises InvalidRequest (INVALID_FIELD) for a path that cannot be granted, and OSError.
        """
        raise NotImplementedError


class BubblewrapLauncher:
    """Runs commands in namespaces of their own."""

    tier = Tier.BUBBLEWRAP

    def __init__(
        self,
        words: Sequence[str],
        system: System,
        filter_: bytes,
        cgroups: Cgroups | None,
        *,
        limiting: bool,
    ) -> None:
        """`words` are those that come before bubblewrap's options, its own path the last;
        `limiting` says that this process may limit the command's."""
        self._limiting = limiting
        self._words = tuple(words)
        self._system = system
        self._filter = filter_
        self._cgroups = cgroups

    def start(
        self, command: Command, profile: Profile, streams: Streams, proxy: int | None
    ) -> Child:
        """See `Launcher`."""
        files = dict(ACCOUNT_FILES)
        if proxy is not None:
            files[BRIDGE_PATH] = Path(__file__).with_name("bridge.py").read_bytes()
        with Opened() as opened:
            opened.grant(profile)
            wires = Wires(opened)
            descriptors = Descriptors(
                status=wires.status,
                gate=wires.gate,
                seccomp=opened.keep(open_memory(self._filter)),
                files={path: opened.keep(open_memory(data)) for path, data in files.items()},
                readable=opened.readable,
                writable=opened.writable,
                proxy=None if proxy is None else opened.keep(os.dup(proxy)),
                limited=self._limiting,
            )
            vector = build_arguments(profile, command, self._system, descriptors)
            options = b"".join(os.fsencode(option) + b"\0" for option in vector.options)
            options_fd = opened.keep(open_memory(options))
            words = (*self._words, "--args", str(options_fd), "--", *vector.program)
            return wires.start(words, streams, profile, self._cgroups, limiting=self._limiting)


class LandlockLauncher:
    """Runs commands with fewer rights, among the processes of the host."""

    tier = Tier.LANDLOCK

    def __init__(
        self, words: Sequence[str], system: System, filter_: bytes, cgroups: Cgroups | None
    ) -> None:
        """`words` are those that come before the path of the helper, a Python's path the last."""
        self._words = tuple(words)
        self._system = system
        self._filter = filter_
        self._cgroups = cgroups
        self._helper = Path(landlock.__file__).read_bytes()

    def start(
        self, command: Command, profile: Profile, streams: Streams, proxy: int | None
    ) -> Child:
        """See `Launcher`. Raises Unsupported (NOT_IMPLEMENTED) when the profile has a network:
        without a network namespace the proxy could be passed by."""
        if proxy is not None:
            raise Unsupported(
                Reason.NOT_IMPLEMENTED, "only the bubblewrap sandbox can give a command a network"
            )
        with Opened() as opened:
            opened.grant(profile)
            wires = Wires(opened)
            request = {
                "argv": command.argv,
                "environment": {"TMPDIR": profile.workspace, **environment_of(profile)},
                "filter": self._filter.hex(),
                "gate": wires.gate,
                "limits": {
                    field: getattr(profile.limits, field)
                    for field in ("memory_bytes", "processes", "file_bytes", "open_files")
                },
                "readable": list(opened.readable.values()),
                "status": wires.status,
                "system": self._system.folders,
                "workspace": profile.workspace,
                "writable": list(opened.writable.values()),
            }
            request_fd = opened.keep(open_memory(json.dumps(request).encode()))
            helper_fd = opened.keep(open_memory(self._helper))
            words = (*self._words, f"/proc/self/fd/{helper_fd}", str(request_fd))
            return wires.start(words, streams, profile, self._cgroups)


class Wires:
    """The two pipes between a supervisor and its `Child`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._status, self.status = opened.status()
        self._gate, self.gate = opened.gate()

    def start(
        self,
        words: Sequence[str],
        streams: Streams,
        profile: Profile,
        cgroups: Cgroups | None,
        *,
        limiting: bool = False,
    ) -> Child:
        """Start the supervisor, the leader of a session of its own, with what was opened."""
        cgroup = None if cgroups is None else cgroups.make(profile.limits)
        try:
            process = subprocess.Popen(  # noqa: S603 - the words are ours up to the command's
                words,
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                env=_NO_SECRETS,
                pass_fds=self._opened.fds,
                start_new_session=True,
                cwd="/",
            )
        except BaseException:
            if cgroup is not None:
                cgroup.remove()
            raise
        status, gate = self._opened.claim(self._status), self._opened.claim(self._gate)
        return Child(process, status, gate, cgroup, profile.limits if limiting else None)
