"""The journal's files: its tables, who owns the directory, and how connections are opened.

journal.db    the database, in WAL mode, with journal.db-wal and journal.db-shm beside it
journal.lock  locked by the daemon that owns the directory; holds its pid
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw
import msgspec

from agentd.errors import Conflict, Corrupt, Reason, Unavailable

APPLICATION_ID: Final = 0x6167_6E74
"""`agnt`: tells the file from other SQLite databases."""
SCHEMA_VERSION: Final = 1

_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\x00"

_TABLES = """
CREATE TABLE log (
    position INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE runs (
    key INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    agent TEXT NOT NULL,
    session TEXT,
    state INTEGER NOT NULL,
    head_position INTEGER NOT NULL,
    head_sequence INTEGER NOT NULL,
    UNIQUE (namespace, id)
) STRICT;
CREATE INDEX runs_by_namespace ON runs (namespace);
CREATE INDEX runs_by_session ON runs (namespace, session) WHERE session IS NOT NULL;
CREATE INDEX runs_unfinished ON runs (key) WHERE state < 6;
CREATE TABLE bodies (
    key INTEGER PRIMARY KEY,
    spec BLOB NOT NULL,
    view BLOB NOT NULL,
    snapshot BLOB,
    snapshot_sequence INTEGER NOT NULL DEFAULT 0,
    snapshot_position INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE records (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body BLOB NOT NULL,
    create_time_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, namespace, id, revision)
) STRICT, WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES
    ('heads_revision', 0), ('oldest_revision', 0), ('last_time_ms', 0), ('repairs', 0);
"""
# `log` is keyed by nothing but its position: keyed or indexed by run it would touch one page per
# live run in every commit. `runs` is narrow and `bodies` apart, because all heads are rewritten at
# each checkpoint of heads. 6 is RunState.SUCCEEDED, the first state in which a run has ended.


class Options(msgspec.Struct, frozen=True):
    """How a journal is tuned; tests put faults in by `vfs` and `on_boundary`."""

    synchronous: str = "FULL"
    """What SQLite syncs. Anything but FULL loses acknowledged events at a power cut."""
    vfs: str | None = None
    max_pending: int = 65_536
    """Writes that may wait for a commit; more of them wait outside the queue."""
    max_batch: int = 4_096
    """Writes of one commit."""
    checkpoint_pages: int = 1_000
    """Pages of the WAL after which it is copied into the database."""
    heads_rows: int = 65_536
    """Rows of the log after which all heads are brought up to date: what an open reads again."""
    on_boundary: Callable[[str], None] | None = None
    """Called by the writer's thread at `before_append` (before the transaction), `appended` (after
    the commit, before it is acknowledged) and `acknowledged`."""


def database_path(directory: Path) -> Path:
    """Return the database's path."""
    return directory / "journal.db"


def lock_directory(directory: Path) -> int:
    """Return the descriptor whose lock makes this process the owner of the directory.

    Raises Unavailable (UNREACHABLE), naming the pid of the owner when there is one, else what is
    wrong with the directory.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(directory / "journal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"the journal in {directory} cannot be opened: {error}"
        metadata = {"directory": str(directory)}
        raise Unavailable(Reason.UNREACHABLE, message, metadata=metadata) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise Unavailable(
            Reason.UNREACHABLE,
            f"the journal in {directory} is in use by the process {holder}",
            metadata={"directory": str(directory), "pid": holder},
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def prepare(directory: Path, options: Options) -> None:
    """Create the database unless it exists, and refuse one that must not be opened.

    Looks at the header only and changes nothing of a database that exists. Raises Conflict
    (JOURNAL_NEWER) or Corrupt (JOURNAL_CORRUPT).
    """
    path = database_path(directory)
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        _create(directory, options)
        return
    # The format of the header: https://www.sqlite.org/fileformat.html, section 1.3.
    page_size = int.from_bytes(header[16:18], "big")
    known = header[:16] == _MAGIC and int.from_bytes(header[68:72], "big") == APPLICATION_ID
    whole = len(header) == _HEADER_BYTES and page_size & (page_size - 1) == 0
    version = int.from_bytes(header[60:64], "big")
    if not known or not whole or version == 0:
        raise corrupt(f"{path} is not a journal of agentd, or its header is damaged")
    if version > SCHEMA_VERSION:
        raise Conflict(
            Reason.JOURNAL_NEWER,
            f"{path} has the version {version} of a newer daemon; this one knows {SCHEMA_VERSION}",
            metadata={"version": str(version), "known": str(SCHEMA_VERSION)},
        )


def open_writer(directory: Path, options: Options) -> apsw.Connection:
    """Return the one connection that writes and checkpoints."""
    connection = apsw.Connection(
        str(database_path(directory)), flags=apsw.SQLITE_OPEN_READWRITE, vfs=options.vfs
    )
    connection.execute(f"PRAGMA synchronous = {options.synchronous}")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    connection.execute("PRAGMA cache_size = -8192")
    connection.wal_autocheckpoint(0)
    # A commit whose sync failed before a crash may be in the WAL by the page cache alone. What
    # comes after it would be lost with it, so nothing is ever added to a WAL that was found.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return connection


def open_reader(directory: Path, options: Options) -> apsw.Connection:
    """Return a connection that reads. It also keeps the WAL's index alive when the writer's
    connection is opened again after a fault."""
    connection = apsw.Connection(
        str(database_path(directory)), flags=apsw.SQLITE_OPEN_READONLY, vfs=options.vfs
    )
    connection.execute("PRAGMA cache_size = -4096")
    connection.execute("SELECT value FROM meta").fetchall()
    return connection


def corrupt(message: str) -> Corrupt:
    """Return the error for a journal that cannot be trusted."""
    return Corrupt(Reason.JOURNAL_CORRUPT, message)


def _create(directory: Path, options: Options) -> None:
    # Made under another name and then renamed: a crash leaves a whole database or none.
    draft = directory / "journal.draft"
    for leftover in directory.glob("journal.draft*"):
        leftover.unlink()
    connection = apsw.Connection(str(draft), vfs=options.vfs)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute(f"BEGIN; {_TABLES} COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    draft.chmod(0o600)  # SQLite gives the files beside it the same mode.
    draft.rename(database_path(directory))
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
