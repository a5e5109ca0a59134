"""Granted paths are opened without following anybody's links but root's."""

import errno
import os
from pathlib import Path

import pytest

from agentd.errors import InvalidRequest
from agentd.tools.sandbox.descriptors import Opened, open_memory, open_path
from agentd.tools.sandbox.profile import Profile


def is_same(fd: int, path: Path) -> bool:
    """Compare an open file with a path, and close it."""
    same = os.path.samestat(os.fstat(fd), path.stat())
    os.close(fd)
    return same


def foreign_link(link: Path, target: Path) -> None:
    """Make a link as an unprivileged command would."""
    link.symlink_to(target)
    if os.getuid() == 0:
        os.chown(link, 65534, -1, follow_symlinks=False)


def test_plain_paths_are_opened(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert is_same(open_path(str(tmp_path / "a")), tmp_path / "a")


def test_links_of_root_are_followed() -> None:
    links = [path for path in Path("/").iterdir() if path.is_symlink() and path.exists()]
    for link in links or [Path("/usr")]:
        assert is_same(open_path(str(link)), link)


def test_other_links_are_not(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "below").mkdir()
    foreign_link(tmp_path / "link", tmp_path / "real")
    for name in ("link", "link/below"):
        with pytest.raises(OSError, match="symbolic link") as caught:
            open_path(str(tmp_path / name))
        assert caught.value.errno == errno.ELOOP


def test_a_refusal_names_the_field_and_leaves_nothing_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    profile = Profile(workspace=str(tmp_path), readable=(str(tmp_path), str(tmp_path / "no")))
    with pytest.raises(InvalidRequest) as caught, Opened() as opened:
        opened.grant(profile)
    assert caught.value.metadata == {"field": "readable[1]"}
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_writable_is_not_bound_again_as_readable(tmp_path: Path) -> None:
    with Opened() as opened:
        opened.grant(Profile(workspace=str(tmp_path), readable=(str(tmp_path), "/usr")))
        assert set(opened.readable) == {"/usr"}
        assert set(opened.writable) == {str(tmp_path)}


def test_a_gate_stays_shut_when_its_keeper_is_gone() -> None:
    with Opened() as opened:
        ours, theirs = opened.gate()
        os.close(opened.claim(ours))
        os.set_blocking(theirs, False)
        with pytest.raises(BlockingIOError):
            os.read(theirs, 1)


def test_memory_is_read_from_its_beginning() -> None:
    fd = open_memory(b"data")
    assert os.read(fd, 10) == b"data"
    os.close(fd)
