"""A disk that can lose its power: records what SQLite does to its files, and rebuilds what a power
cut could have left at any moment.

The shared-memory index of the WAL is not recorded: it is never synced, and made anew after a cut.
"""

import errno
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import apsw

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes written to a file."""

    file: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file cut to a size."""

    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """Everything done to a file so far is on the disk for good."""

    file: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Somebody was told that this many events of a run are durable."""

    run: str
    events: int


@dataclass(frozen=True, slots=True)
class FailedSync:
    """What was done to a file since its last sync may never reach the disk, and no later sync will
    tell: a kernel forgets what it failed to write out."""

    file: str


Operation = Write | Truncate | Sync | FailedSync | Acknowledged


class Loss(Enum):
    """What becomes of operations after the last sync of their file."""

    DROPPED = 1
    KEPT = 2
    TORN = 3
    """Each sector of each write by chance, in any order of time."""


class Disk(apsw.VFS):
    """A file system that does what it is told and writes it down, or fails on order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.operations: list[Operation] = []
        self.syncs = self.writes = 0
        self.failing_syncs: Callable[[int], bool] = lambda _: False
        """Asked with the number of each sync, counted from 1."""
        self.failing_writes: Callable[[int], bool] = lambda _: False
        """Asked with the number of each write, counted from 1."""
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _DiskFile(self, name, flags)

    def note(self, operation: Operation) -> None:
        # From several threads: appending is atomic, and a lock could be met twice by one thread
        # when the collector closes a connection in between.
        self.operations.append(operation)


class _DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self._file = Path(path).name
        self._disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.writes += 1
        if self._disk.failing_writes(self._disk.writes):
            raise apsw.FullError(errno.ENOSPC, "no space left")
        super().xWrite(data, offset)
        self._disk.note(Write(self._file, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._disk.note(Truncate(self._file, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.syncs += 1
        if self._disk.failing_syncs(self._disk.syncs):
            self._disk.note(FailedSync(self._file))
            raise apsw.IOError(errno.EIO, "the disk failed")
        super().xSync(flags)
        self._disk.note(Sync(self._file))


@dataclass(slots=True)
class Image:
    """What a power cut left, and what had been promised before."""

    files: dict[str, bytes]
    acknowledged: dict[str, int]


@dataclass(slots=True)
class _Platter:
    chance: random.Random
    durable: dict[str, bytearray]
    pending: dict[str, list[Write | Truncate]] = field(default_factory=dict)

    def sync(self, file: str, loss: Loss = Loss.KEPT) -> None:
        """Make what is pending durable, or what a loss leaves of it."""
        content = self.durable.setdefault(file, bytearray())
        for operation in self.pending.pop(file, []):
            self._apply(content, operation, loss)

    def image(self, loss: Loss) -> dict[str, bytes]:
        files = {name: bytearray(content) for name, content in self.durable.items()}
        for file, operations in self.pending.items():
            content = files.setdefault(file, bytearray())
            for operation in operations:
                self._apply(content, operation, loss)
        return {name: bytes(content) for name, content in files.items()}

    def _apply(self, content: bytearray, operation: Write | Truncate, loss: Loss) -> None:
        match loss:
            case Loss.DROPPED:
                pass
            case Loss.KEPT:
                _apply(content, operation)
            case Loss.TORN:
                _tear(content, operation, self.chance)


def images(
    base: dict[str, bytes],
    operations: list[Operation],
    losses: list[Loss],
    *,
    seed: int,
    forgotten: Loss = Loss.DROPPED,
) -> Iterator[Image]:
    """Yield what a power cut could leave after each operation, oldest first; not the same twice.

    `forgotten` is what becomes of operations whose sync failed.
    """
    platter = _Platter(
        random.Random(seed), {name: bytearray(content) for name, content in base.items()}
    )
    acknowledged: dict[str, int] = {}
    newest: dict[Loss, Image] = {}
    for operation in operations:
        match operation:
            case Acknowledged(run, events):
                acknowledged[run] = max(events, acknowledged.get(run, 0))
            case Sync(file):
                platter.sync(file)
            case FailedSync(file):
                platter.sync(file, forgotten)
            case _:
                platter.pending.setdefault(operation.file, []).append(operation)
        for loss in losses:
            image = Image(platter.image(loss), dict(acknowledged))
            if image != newest.get(loss):
                newest[loss] = image
                yield image


def _apply(content: bytearray, operation: Write | Truncate) -> None:
    if isinstance(operation, Truncate):
        del content[operation.size :]
        return
    end = operation.offset + len(operation.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[operation.offset : end] = operation.data


def _tear(content: bytearray, operation: Write | Truncate, chance: random.Random) -> None:
    if isinstance(operation, Truncate):
        if chance.random() < 0.5:
            _apply(content, operation)
        return
    start, end = operation.offset, operation.offset + len(operation.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if chance.random() < 0.5:
            piece = operation.data[start - operation.offset : stop - operation.offset]
            _apply(content, Write(operation.file, start, piece))
        start = stop
