"""Work on files for a call: in a thread, on the paths that it was granted, one change at a time.

A tool of this kind is a function from its arguments and a `Job` to its result. It runs in a
thread, so that a slow disk does not hold the event loop, and looks at its job's `halt`.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from agentd.agent.hosting import Failed, Invocation, InvocationKind, Outcome
from agentd.agent.tool import Tool
from agentd.tools.builtin.beneath import KERNEL_TREES, is_beneath
from agentd.tools.builtin.frame import Refused, decode, succeeded, unfit

MAX_THREADS = 4
"""The most calls that work at the same time; the others wait."""
WORK_S = 20.0
"""How long a thread may look for files before it returns what it has found."""


class HasPath(Protocol):
    """Arguments that name a file or a folder."""

    @property
    def path(self) -> str:
        """Return it as the model wrote it."""


A = TypeVar("A", bound=HasPath)
T = TypeVar("T")


class Halt:
    """Tells a thread when to give up: its call was cancelled, or its time is over."""

    def __init__(self, seconds: float) -> None:
        self._cancelled = threading.Event()
        self._end = time.monotonic() + seconds

    def cancel(self) -> None:
        """Make the thread give up at its next look."""
        self._cancelled.set()

    @property
    def is_late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._end

    def check(self) -> None:
        """Raise Refused when the call was cancelled."""
        if self._cancelled.is_set():
            raise Refused("the call was cancelled")


class Turns:
    """Lets one call at a time change a file: a model may ask for several edits at once."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def turn(self, path: str) -> Iterator[None]:
        """Wait until no other call changes the file at this path."""
        with self._guard:
            lock, users = self._waiting.get(path, (threading.Lock(), 0))
            self._waiting[path] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._waiting.pop(path)
                if users > 1:
                    self._waiting[path] = (lock, users - 1)


class Threads:
    """Runs work in threads, a bounded number at a time."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(MAX_THREADS)
        self.turns = Turns()

    async def run(self, work: Callable[[], T], halt: Halt) -> T:
        """Return what `work` returns. When cancelled, wait for the work to end before."""
        async with self._room:
            future = asyncio.get_running_loop().run_in_executor(None, work)
            try:
                await asyncio.wait((future,))
            except asyncio.CancelledError:
                halt.cancel()
                await asyncio.wait((future,))
                future.exception()  # Nobody will ask for it, and that is no fault to be logged.
                raise
            return future.result()


@dataclass(frozen=True, slots=True)
class Job:
    """What a call may do."""

    workspace: str
    """An absolute path without symbolic links."""
    granted: frozenset[str]
    """The permissions that were granted, word for word."""
    simulate: bool
    attempt: int
    """Counted from 1."""
    halt: Halt
    turns: Turns

    def reach(self, kind: str, path: str, beneath: str = "") -> str:
        """Return where a path leads to, if the call was granted that. Raises Refused."""
        return reach(kind, path, self.workspace, self.granted, beneath)


@dataclass(frozen=True, slots=True)
class FileTool(Generic[A]):
    """A tool whose work on files is done in a thread."""

    manifest: Tool
    arguments: type[A]
    access: tuple[str, ...]
    """Which permissions it needs for its path, such as `fs.read`."""
    work: Callable[[A, Job], msgspec.Struct]
    """Raises Refused."""
    threads: Threads
    beneath: str = ""
    """`/**` if it needs them for all beneath its path too."""

    def needs(self, arguments: Mapping[str, Any], workspace: str) -> Sequence[str]:
        """Return the permissions of a call, whose arguments fit the schema. Never raises."""
        path = msgspec.convert(arguments, self.arguments).path
        return [
            need for kind in self.access for need in path_needs(kind, path, workspace, self.beneath)
        ]

    async def __call__(self, invocation: Invocation) -> Outcome:
        """Execute or simulate a call in a thread."""
        if answer := unfit(self.manifest, invocation):
            return answer
        job = Job(
            invocation.workspace,
            frozenset(invocation.permissions),
            invocation.kind is InvocationKind.SIMULATE,
            invocation.attempt,
            Halt(WORK_S),
            self.threads.turns,
        )
        try:
            arguments = decode(invocation.arguments_json, self.arguments)
            return succeeded(await self.threads.run(lambda: self.work(arguments, job), job.halt))
        except Refused as refusal:
            return Failed(str(refusal))


def path_needs(kind: str, path: str, workspace: str, beneath: str = "") -> Sequence[str]:
    """Return the permissions for a path: as it is named and, through links, where it leads."""
    named = _named(path, workspace)
    try:
        real = os.path.realpath(named)
    except (OSError, ValueError):
        real = named  # Such as one with a NUL, which no rule allows.
    return tuple(dict.fromkeys(_permission(kind, place, beneath) for place in (named, real)))


def reach(kind: str, path: str, workspace: str, granted: frozenset[str], beneath: str = "") -> str:
    """Return where a path leads to, if that was granted. Raises Refused."""
    try:
        real = os.path.realpath(_named(path, workspace))
    except ValueError:
        raise Refused(f"{path!r} is not a path") from None
    except OSError:
        raise Refused(f"{path!r} changed while it was looked at: try again") from None
    if any(is_beneath(real, kernel) for kernel in KERNEL_TREES):
        raise Refused(f"{path!r} belongs to the kernel: only files on disk can be opened")
    if _permission(kind, real, beneath) not in granted:
        raise Refused(f"{path!r} leads to {real!r}, for which the call has no {kind}")
    return real


def _named(path: str, workspace: str) -> str:
    """Return the absolute, normalised form of a path, which may be relative to the workspace."""
    absolute = path if path.startswith("/") else f"{workspace}/{path}"
    return "/" + os.path.normpath(absolute).lstrip("/")


def _permission(kind: str, path: str, beneath: str) -> str:
    return f"{kind}:{path.rstrip('/') if beneath else path}{beneath}"
