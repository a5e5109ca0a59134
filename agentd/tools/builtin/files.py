"""The tools that read, write, edit and list files."""

import os
import stat
from collections.abc import Sequence
from itertools import accumulate, islice
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from agentd.agent.tool import EffectClass
from agentd.tools.builtin.beneath import Replacement, open_folder, read_file, replace_file, told
from agentd.tools.builtin.editing import difference, is_replaced, replace_text
from agentd.tools.builtin.frame import MAX_ANSWER_BYTES, LocalTool, Refused, Shapes, manifest_of
from agentd.tools.builtin.work import FileTool, Job, Threads

MAX_TEXT_BYTES = 96 * 1024
"""The most text of one reading; some 25,000 tokens."""
MAX_ENTRIES = 1000
"""The most entries of one listing."""
MAX_COUNTED = 100_000
"""The most entries that are looked at for it."""
Path: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=4096,
        description="Relative to the workspace, or absolute.",
    ),
]


class ReadArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of files/read."""

    path: Path
    offset: Annotated[int, Meta(ge=1, description="The first line to read, counted from 1.")] = 1
    limit: Annotated[int, Meta(ge=1, le=10_000, description="The most lines to read.")] = 2000


class ReadResult(msgspec.Struct, frozen=True):
    """Result of files/read."""

    content: str
    first_line: int
    lines: int
    """How many lines are in `content`."""
    total_lines: int
    size_bytes: int
    truncated: bool
    """Whether there is more after `content`."""


class WriteArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of files/write."""

    path: Path
    content: Annotated[str, Meta(description="The whole new content of the file.")]


class WriteResult(msgspec.Struct, frozen=True):
    """Result of files/write."""

    created: bool
    size_bytes: int


class EditArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of files/edit."""

    path: Path
    old: Annotated[
        str, Meta(min_length=1, description="The text to replace, exactly as it is in the file.")
    ]
    new: Annotated[str, Meta(description="The text to put in its place.")]
    replace_all: Annotated[
        bool, Meta(description="Replace every occurrence; else there must be just one.")
    ] = False


class EditResult(msgspec.Struct, frozen=True):
    """Result of files/edit."""

    replacements: int
    """0 if an earlier attempt at this call had made the change already."""
    size_bytes: int


class Preview(msgspec.Struct, frozen=True):
    """What files/write and files/edit would do."""

    created: bool
    size_bytes: int
    diff: str


class ListArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of files/list."""

    path: Path = "."


class Entry(msgspec.Struct, frozen=True):
    """One entry of a folder."""

    name: str
    type: str
    """`file`, `folder`, `link` or `other`."""
    size_bytes: int


class ListResult(msgspec.Struct, frozen=True):
    """Result of files/list."""

    entries: list[Entry]
    total: int
    """How many there are; more than in `entries` if there are too many to list. At most 100,000."""


def read(arguments: ReadArguments, job: Job) -> ReadResult:
    """Return lines of a text file."""
    real = job.reach("fs.read", arguments.path)
    with told(arguments.path):
        data, _ = read_file(real, job.workspace)
    _check_text(data, arguments.path)
    total = data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))
    start = arguments.offset - 1
    if start and start >= total:
        raise Refused(f"{arguments.path!r} has {total} lines: there is no line {arguments.offset}")
    begin = _after_lines(data, 0, start)
    end = _after_lines(data, begin, arguments.limit)
    if end - begin > MAX_TEXT_BYTES:
        # The lines that fit; of a line that is longer than that, its beginning.
        end = data.rfind(b"\n", begin, begin + MAX_TEXT_BYTES) + 1 or begin + MAX_TEXT_BYTES
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1  # Not in the middle of a character
    content = _text(data[begin:end], arguments.path)
    lines = content.count("\n") + (bool(content) and not content.endswith("\n"))
    return ReadResult(content, arguments.offset, lines, total, len(data), end < len(data))


def _after_lines(data: bytes, position: int, count: int) -> int:
    """Return where the line begins that is `count` lines after the one at a position."""
    rest = data[position:].split(b"\n", count)
    return len(data) - len(rest[-1]) if len(rest) > count else len(data)


def write(arguments: WriteArguments, job: Job) -> WriteResult | Preview:
    """Make or replace a file."""
    real = job.reach("fs.write", arguments.path)
    data = _encoded(arguments.content)
    with told(arguments.path), job.turns.turn(real):
        if not job.simulate:
            before = replace_file(Replacement(real, data), job.workspace, job.halt.check)
            return WriteResult(before is None, len(data))
        text = _text_before(real, job)
        diff = difference(arguments.path, text or "", arguments.content)
        return Preview(text is None, len(data), diff)


def edit(arguments: EditArguments, job: Job) -> EditResult | Preview:
    """Replace text in a file."""
    job.reach("fs.read", arguments.path)
    real = job.reach("fs.write", arguments.path)
    with told(arguments.path), job.turns.turn(real):
        data, found = read_file(real, job.workspace)
        _check_text(data, arguments.path)
        before = _text(data, arguments.path)
        if job.attempt > 1 and is_replaced(before, arguments.old, arguments.new):
            return EditResult(0, len(data))
        after, count = replace_text(
            before, arguments.old, arguments.new, everywhere=arguments.replace_all
        )
        encoded = _encoded(after)
        if job.simulate:
            return Preview(False, len(encoded), difference(arguments.path, before, after))
        replace_file(Replacement(real, encoded, found), job.workspace, job.halt.check)
        return EditResult(count, len(encoded))


def list_folder(arguments: ListArguments, job: Job) -> ListResult:
    """Return what is in a folder, by name."""
    real = job.reach("fs.read", arguments.path)
    with told(arguments.path), open_folder(real, job.workspace) as folder:
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in islice(found, MAX_COUNTED))
        sizes = accumulate(len(name) for name in names)
        fitting = sum(1 for size in islice(sizes, MAX_ENTRIES) if size <= MAX_ANSWER_BYTES)
        entries = [_entry(folder, name) for name in names[:fitting]]
    return ListResult([entry for entry in entries if entry], len(names))


def shown(name: str) -> str:
    """Return a file's name as JSON can carry it: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def _entry(folder: int, name: str) -> Entry | None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None  # Removed since it was listed.
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "other")
    return Entry(shown(name), kind, found.st_size if kind == "file" else 0)


_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


def _text_before(real: str, job: Job) -> str | None:
    """Return the text that a file has, for a comparison; None if there is no file."""
    try:
        data, _ = read_file(real, job.workspace)
    except FileNotFoundError:
        return None
    return data.decode("utf-8", "replace")


def _check_text(data: bytes, path: str) -> None:
    if b"\0" in data:
        raise Refused(f"{path!r} is a binary file of {len(data):,} bytes: only text can be read")


def _text(data: bytes, path: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused(
            f"{path!r} is not UTF-8 text: byte {data[error.start]:#04x} cannot be read; "
            "a command can convert it"
        ) from None


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Refused("the text has half of a surrogate pair, which no file can hold") from None


READ = manifest_of(
    "files/read",
    "Read a text file, or some of its lines. Says how many lines it has.",
    Shapes(ReadArguments, ReadResult),
    EffectClass.READ_ONLY,
)
WRITE = manifest_of(
    "files/write",
    "Make a text file, or replace all that is in it. Missing folders are made too.",
    Shapes(WriteArguments, WriteResult),
    EffectClass.IDEMPOTENT,
    simulate=True,
)
EDIT = manifest_of(
    "files/edit",
    "Replace a text in a file by another. Read the file first: the text must match exactly, and "
    "be there once unless replace_all is set.",
    Shapes(EditArguments, EditResult),
    EffectClass.IDEMPOTENT,
    simulate=True,
)
LIST = manifest_of(
    "files/list",
    "List what is in a folder: names, types and sizes.",
    Shapes(ListArguments, ListResult),
    EffectClass.READ_ONLY,
)


def file_tools(threads: Threads) -> Sequence[LocalTool]:
    """Return files/read, files/write, files/edit and files/list."""
    return (
        FileTool(READ, ReadArguments, ("fs.read",), read, threads),
        FileTool(WRITE, WriteArguments, ("fs.write",), write, threads),
        # To learn whether a text is in a file is to read it.
        FileTool(EDIT, EditArguments, ("fs.read", "fs.write"), edit, threads),
        FileTool(LIST, ListArguments, ("fs.read",), list_folder, threads),
    )
