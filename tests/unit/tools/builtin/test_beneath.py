"""Files are opened where they were judged to be, whoever moves links about meanwhile."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentd.tools.builtin.beneath import (
    MAX_FILE_BYTES,
    Replacement,
    open_beneath,
    open_root,
    read_file,
    replace_file,
    told,
)
from agentd.tools.builtin.frame import Refused
from agentd.tools.builtin.work import reach
from tests.unit.tools.builtin.calls import names

OPENS = int(os.environ.get("AGENTD_RACE_OPENS", "20000"))
"""How many opens race against the links; a release runs 400,000."""
SECRET = b"secret"

FLIPPER = """
import os, sys
os.chdir(sys.argv[1])
print("ready", flush=True)
while True:
    os.symlink("../out/secret", "link"); os.rename("link", "x")
    os.link("good", "copy"); os.rename("copy", "x")
    os.rename("d", "kept"); os.symlink("../out", "d")
    os.unlink("d"); os.rename("kept", "d")
"""


@contextmanager
def flipping(workspace: Path) -> Iterator[None]:
    """Let a process exchange the file `x` and the folder `d` for links to a secret, and back."""
    argv = [sys.executable, "-I", "-c", FLIPPER, str(workspace)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


@pytest.fixture
def race(workspace: Path) -> Path:
    outside = workspace.parent / "out"
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)
    (workspace / "good").write_bytes(b"good")
    (workspace / "x").write_bytes(b"good")
    (workspace / "d").mkdir()
    (workspace / "d" / "secret").write_bytes(b"good")
    return workspace


def guarded(path: str, workspace: str, granted: frozenset[str]) -> bytes:
    """Open as the tools do."""
    with told(path):
        return read_file(reach("fs.read", path, workspace, granted), workspace)[0]


def checked_then_opened(path: str, workspace: str, granted: frozenset[str]) -> bytes:
    """Open as the tools must not: the check is right, and over too soon."""
    del granted
    named = f"{workspace}/{path}"
    try:
        if not os.path.realpath(named).startswith(f"{workspace}/"):
            raise Refused("leads out")
        return Path(named).read_bytes()
    except OSError:
        raise Refused("is not there") from None


@pytest.mark.timeout(240)
def test_no_open_escapes_from_flipping_links(
    race: Path, record_property: Callable[[str, object], None]
) -> None:
    root = str(race)
    granted = frozenset({f"fs.read:{race}/x", f"fs.read:{race}/d/secret"})
    seen = {b"good": 0, SECRET: 0, b"": 0}
    with flipping(race):
        for number in range(OPENS):
            try:
                seen[guarded(("x", "d/secret")[number % 2], root, granted)] += 1
            except Refused:
                seen[b""] += 1
    record_property("opened, escaped, refused", list(seen.values()))
    assert seen[SECRET] == 0
    assert seen[b"good"] > 0
    assert seen[b""] > 0


@pytest.mark.timeout(120)
def test_the_race_is_one_that_can_be_lost(race: Path) -> None:
    with flipping(race):
        for number in range(500_000):
            try:
                path = ("x", "d/secret")[number % 2]
                if checked_then_opened(path, str(race), frozenset()) == SECRET:
                    return
            except Refused:
                pass
    pytest.fail("the negative control never escaped: the race is not run")


@pytest.mark.timeout(120)
def test_no_write_escapes_from_flipping_links(race: Path) -> None:
    granted = frozenset({f"fs.write:{race}/d/new"})
    written = 0
    with flipping(race):
        while written < 100:
            try:
                with told("d/new"):
                    real = reach("fs.write", "d/new", str(race), granted)
                    replace_file(Replacement(real, b"x"), str(race), lambda: None)
                written += 1
            except Refused:
                pass
    assert names(race.parent / "out") == ["secret"]


@pytest.mark.parametrize("path", ["link", "link/secret", "../out/secret", "/etc/passwd", ".."])
def test_the_kernel_itself_refuses_links_and_ways_out(race: Path, path: str) -> None:
    (race / "link").symlink_to("../out")
    with open_root(str(race)) as root, pytest.raises(OSError, match=r"\[Errno (18|40)\]"):
        os.close(open_beneath(root, path, os.O_RDONLY))


def test_a_link_on_the_way_to_the_workspace_is_refused(race: Path) -> None:
    (race.parent / "alias").symlink_to(race)
    with pytest.raises(OSError, match="symbolic"), open_root(str(race.parent / "alias")):
        pass


def test_only_regular_files_are_read(race: Path) -> None:
    os.mkfifo(race / "pipe")
    (race / "folder").mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(race / "socket"))
    for name, reason in (
        ("pipe", "not a regular file"),
        ("folder", "is a folder"),
        ("socket", "not a regular file"),
    ):
        with pytest.raises(Refused, match=reason), told(name):
            read_file(f"{race}/{name}", str(race))
        with pytest.raises(Refused, match=reason), told(name):
            replace_file(Replacement(f"{race}/{name}", b""), str(race), lambda: None)
    listener.close()


def test_a_device_is_not_read(workspace: Path) -> None:
    with pytest.raises(Refused, match="not a regular file"):
        read_file("/dev/zero", str(workspace))


def test_a_large_file_is_refused_by_its_size(race: Path) -> None:
    with (race / "sparse").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(Refused, match="16,777,217 bytes"):
        read_file(f"{race}/sparse", str(race))
    with (race / "sparse").open("wb") as file:
        file.truncate(5 * 1024**3)
    with pytest.raises(Refused, match=r"bytes|too large"), told("sparse"):
        read_file(f"{race}/sparse", str(race))


@pytest.mark.skipif(os.geteuid() != 0, reason="files of two users are needed")
def test_a_hard_link_to_a_file_of_somebody_else_is_refused(race: Path) -> None:
    os.chown(race, 12345, 12345)
    os.link(race.parent / "out" / "secret", race / "hard")
    with pytest.raises(Refused, match="hard link"):
        read_file(f"{race}/hard", str(race))
    os.chown(race / "hard", 12345, 12345)
    assert read_file(f"{race}/hard", str(race))[0] == SECRET


def test_a_file_is_replaced_with_its_mode_and_without_remains(race: Path) -> None:
    (race / "tool").write_bytes(b"old")
    (race / "tool").chmod(0o4750)
    before = replace_file(Replacement(f"{race}/tool", b"new"), str(race), lambda: None)
    assert before is not None
    assert before.st_size == 3
    assert (race / "tool").read_bytes() == b"new"
    assert (race / "tool").stat().st_mode & 0o7777 == 0o750
    assert names(race) == ["d", "good", "tool", "x"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_new_files_and_folders_belong_to_the_owner_of_their_folder(race: Path) -> None:
    os.chown(race, 12345, 54321)
    replace_file(Replacement(f"{race}/a/b/new", b"x"), str(race), lambda: None)
    for name in ("a", "a/b", "a/b/new"):
        found = (race / name).stat()
        assert (found.st_uid, found.st_gid) == (12345, 54321)


def test_a_replacement_that_is_stopped_leaves_nothing(race: Path) -> None:
    def stop() -> None:
        raise Refused("stopped")

    with pytest.raises(Refused, match="stopped"):
        replace_file(Replacement(f"{race}/x", b"new"), str(race), stop)
    assert (race / "x").read_bytes() == b"good"
    assert names(race) == ["d", "good", "x"]


def test_a_file_that_changed_meanwhile_is_not_replaced(race: Path) -> None:
    _, found = read_file(f"{race}/x", str(race))
    (race / "x").write_bytes(b"somebody's work")
    with pytest.raises(Refused, match="changed by somebody else"):
        replace_file(Replacement(f"{race}/x", b"new", found), str(race), lambda: None)
    (race / "x").unlink()
    with pytest.raises(Refused, match="changed by somebody else"):
        replace_file(Replacement(f"{race}/x", b"new", found), str(race), lambda: None)


def test_a_link_is_not_replaced_by_a_file(race: Path) -> None:
    (race / "link").symlink_to("good")
    with pytest.raises(Refused, match="not a regular file"):
        replace_file(Replacement(f"{race}/link", b""), str(race), lambda: None)


def test_the_workspace_itself_and_what_is_above_it_are_no_files(race: Path) -> None:
    for place in (race, race.parent, Path("/")):
        with pytest.raises(Refused, match="is a folder"), told("x"):
            replace_file(Replacement(str(place), b""), str(race), lambda: None)


def test_descriptors_are_closed(race: Path) -> None:
    def count() -> int:
        return len(names(Path("/proc/self/fd")))

    def stop() -> None:
        raise Refused("stopped")

    before = count()
    for name in ("x", "a/b", "d", "good/x", "missing/../x"):
        with pytest.raises(Refused), told(name):
            replace_file(Replacement(f"{race}/{name}", b"y"), str(race), stop)
    for name in ("none", "d", "good/x"):
        with pytest.raises(Refused), told(name):
            read_file(f"{race}/{name}", str(race))
    assert count() == before
