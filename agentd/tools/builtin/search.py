"""The tools that find files: by name, and by what is in them."""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

import msgspec
from msgspec import Meta

from agentd.agent.tool import EffectClass
from agentd.tools.builtin.beneath import (
    expected_owner,
    open_beneath,
    open_folder,
    read_descriptor,
    told,
)
from agentd.tools.builtin.files import Path, shown
from agentd.tools.builtin.frame import MAX_ANSWER_BYTES, LocalTool, Refused, Shapes, manifest_of
from agentd.tools.builtin.patterns import Pattern, compile_glob, compile_lines
from agentd.tools.builtin.work import FileTool, Halt, Job, Threads

MAX_PATHS = 1000
"""The most paths of one answer."""
MAX_SCANNED = 200_000
"""The most entries of folders that one call looks at."""
MAX_DEPTH = 64
"""The deepest folder that is looked into; each level holds a descriptor."""
MAX_SHOWN_BYTES = 400
"""The most that is shown of a line."""
LEAD_BYTES = 100
"""How much of that is shown before the match."""
WINDOW_BYTES = 64 * 1024
"""How much is given to RE2 at once: at its worst, 17 microseconds a byte, that takes a second."""
SNIFFED_BYTES = 8192
"""How much of a file is looked at to tell whether it is text."""
SKIPPED = frozenset({".git", ".hg", ".svn"})
"""Folders of version control, which hold each file a second time."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class GlobArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of files/glob."""

    pattern: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1000,
            description="Such as `src/**/*.py` or `*.{c,h}`; without a slash, in every folder.",
        ),
    ]
    path: Path = "."


class GlobResult(msgspec.Struct, frozen=True):
    """Result of files/glob."""

    paths: list[str]
    """Relative to the path that was asked for."""
    cut_short: str
    """Empty, or why there may be more: `limit`, `entries` or `time`."""


class SearchArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of files/search."""

    pattern: Annotated[
        str,
        Meta(min_length=1, max_length=1000, description="A regular expression (RE2) for a line."),
    ]
    path: Path = "."
    include: Annotated[
        str, Meta(max_length=1000, description="A glob for the files to search, such as `*.py`.")
    ] = "**"
    ignore_case: bool = False
    limit: Annotated[int, Meta(ge=1, le=500, description="The most lines to return.")] = 100


class Line(msgspec.Struct, frozen=True):
    """A line that matches."""

    path: str
    line: int
    """Counted from 1."""
    text: str


class SearchResult(msgspec.Struct, frozen=True):
    """Result of files/search."""

    matches: list[Line]
    files: int
    """How many files were searched."""
    cut_short: str
    """Empty, or why there may be more: `limit`, `entries` or `time`."""


@dataclass(slots=True)
class _Walk:
    """A walk through folders, which never follows a link."""

    halt: Halt
    scanned: int = 0
    cut_short: str = ""

    def files(self, folder: int, prefix: str = "", depth: int = 1) -> Generator[tuple[str, int]]:
        """Yield the path of each regular file, and a descriptor of the folder that it is in."""
        with os.scandir(folder) as found:
            entries = sorted(
                (entry.name, entry.is_dir(follow_symlinks=False))
                for entry in islice(found, MAX_SCANNED - self.scanned)
                if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
            )
        self.scanned += len(entries)
        for name, is_folder in entries:
            if self._is_over():
                return
            if not is_folder:
                yield f"{prefix}{name}", folder
            elif name not in SKIPPED and depth < MAX_DEPTH:
                yield from self._inner(folder, name, prefix, depth)

    def _inner(self, folder: int, name: str, prefix: str, depth: int) -> Iterator[tuple[str, int]]:
        try:
            inner = open_beneath(folder, name, _FOLDER)
        except OSError:
            return  # It is gone, became a link, or is closed to the daemon.
        try:
            yield from self.files(inner, f"{prefix}{name}/", depth + 1)
        finally:
            os.close(inner)

    def _is_over(self) -> bool:
        self.halt.check()
        if self.scanned >= MAX_SCANNED:
            self.cut_short = "entries"
        elif self.halt.is_late:
            self.cut_short = "time"
        return bool(self.cut_short)


def glob(arguments: GlobArguments, job: Job) -> GlobResult:
    """Return the paths of the files that match a glob, in order."""
    pattern = compile_glob(arguments.pattern)
    walk = _Walk(job.halt)
    paths: list[str] = []
    size = 0
    with _walked(arguments.path, job, walk) as files:
        for path, _ in files:
            if not pattern.search(os.fsencode(path)):
                continue
            size += len(path)
            if len(paths) == MAX_PATHS or size > MAX_ANSWER_BYTES:
                walk.cut_short = "limit"
                break
            paths.append(shown(path))
    return GlobResult(paths, walk.cut_short)


def search(arguments: SearchArguments, job: Job) -> SearchResult:
    """Return the lines that match a regular expression, file by file."""
    pattern = compile_lines(arguments.pattern, ignore_case=arguments.ignore_case)
    include = compile_glob(arguments.include)
    walk, scan = _Walk(job.halt), _Scan(pattern, arguments.limit, job.halt)
    count = 0
    with told(arguments.path):
        owner = expected_owner(job.reach("fs.read", arguments.path, "/**"), job.workspace)
    with _walked(arguments.path, job, walk) as files:
        for path, folder in files:
            if not include.search(os.fsencode(path)):
                continue
            data = _contents(folder, path.rpartition("/")[2], owner)
            if data is None:
                continue
            count += 1
            scan.file(shown(path), data)
            if scan.cut_short:
                break
    return SearchResult(scan.matches, count, scan.cut_short or walk.cut_short)


@contextmanager
def _walked(path: str, job: Job, walk: _Walk) -> Iterator[Iterator[tuple[str, int]]]:
    """Open a folder and yield a walk through it; through a file, one that finds it alone."""
    real = job.reach("fs.read", path, "/**")
    parent, name = os.path.split(real)
    with told(path), ExitStack() as stack:
        try:
            folder = stack.enter_context(open_folder(real, job.workspace))
        except NotADirectoryError:
            folder = stack.enter_context(open_folder(parent, job.workspace))
            files: Iterator[tuple[str, int]] = iter(((name, folder),))
        else:
            files = stack.enter_context(closing(walk.files(folder)))
        yield files


def _contents(folder: int, name: str, owner: int | None) -> bytes | None:
    """Return a file's bytes; None if it is no text, too large, or cannot be read."""
    try:
        data, _ = read_descriptor(open_beneath(folder, name, _READ), name, owner)
    except (OSError, Refused):
        return None
    return None if b"\0" in data[:SNIFFED_BYTES] else data


class _Scan:
    """Collects the lines that match."""

    def __init__(self, pattern: Pattern, limit: int, halt: Halt) -> None:
        self.matches: list[Line] = []
        self.cut_short = ""
        self._pattern = pattern
        self._limit = limit
        self._size = 0
        self._halt = halt

    def file(self, path: str, data: bytes) -> None:
        """Collect from one file."""
        position, line, counted = 0, 1, 0
        while position < len(data) and not self.cut_short:
            end = _window(data, position)
            self._look()
            match = self._pattern.search(data, position, end)
            if match is None:
                position = end
                continue
            start = match.start()
            line += data.count(b"\n", counted, start)
            counted = start
            found = Line(path, line, _excerpt(data, start))
            self._size += len(found.path) + len(found.text)
            if len(self.matches) == self._limit or self._size > MAX_ANSWER_BYTES:
                self.cut_short = "limit"
                return
            self.matches.append(found)
            position = data.find(b"\n", start) + 1 or len(data)

    def _look(self) -> None:
        self._halt.check()
        if self._halt.is_late:
            self.cut_short = "time"


def _window(data: bytes, position: int) -> int:
    """Return where the next piece ends: after a line, or within one that is too long."""
    end = position + WINDOW_BYTES
    if end >= len(data):
        return len(data)
    return data.rfind(b"\n", position, end) + 1 or end


def _excerpt(data: bytes, start: int) -> str:
    """Return the line around a match, or the part of it."""
    begin = data.rfind(b"\n", 0, start) + 1
    end = data.find(b"\n", start)
    begin = max(begin, start - LEAD_BYTES)
    text = data[begin : end if end >= 0 else len(data)][:MAX_SHOWN_BYTES]
    return text.decode("utf-8", "replace").rstrip("\r")


GLOB = manifest_of(
    "files/glob",
    "Find files by their names, in a folder and all folders beneath it.",
    Shapes(GlobArguments, GlobResult),
    EffectClass.READ_ONLY,
)
SEARCH = manifest_of(
    "files/search",
    "Find lines by a regular expression, in all text files of a folder and of the folders beneath "
    "it. Folders of version control are left out.",
    Shapes(SearchArguments, SearchResult),
    EffectClass.READ_ONLY,
)


def search_tools(threads: Threads) -> Sequence[LocalTool]:
    """Return files/glob and files/search."""
    return (
        FileTool(GLOB, GlobArguments, ("fs.read",), glob, threads, beneath="/**"),
        FileTool(SEARCH, SearchArguments, ("fs.read",), search, threads, beneath="/**"),
    )
