"""One daemon for a socket."""

import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.errors import AlreadyExists, Conflict, Unavailable
from agentd.lock import Lock, lock_socket

USER = pwd.getpwuid(os.getuid()).pw_name


def test_a_second_holder_learns_who_is_the_first(tmp_path: Path) -> None:
    path = tmp_path / "agentd.sock"
    first = lock_socket(path)
    with pytest.raises(AlreadyExists) as caught:
        lock_socket(path)
    message = f"a daemon already holds the socket {path}: process {os.getpid()}, user {USER}"
    assert caught.value.message == message
    assert caught.value.metadata == {"pid": str(os.getpid()), "user": USER}
    first.release()
    lock_socket(path).release()


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, pathlib\nfrom agentd.lock import Lock\n"
        "lock = Lock(pathlib.Path(sys.argv[1]), 'it')\nprint('held', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyExists, match=f"process {child.pid}, user {USER}"):
            Lock(path, "it")
        child.kill()
    Lock(path, "it").release()


def test_what_a_dead_daemon_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "agentd.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert path.exists()
    lock_socket(path).release()
    assert not path.exists()


def test_a_socket_that_somebody_serves_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agentd.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(AlreadyExists, match=f"process {os.getpid()}, user {USER}"):
            lock_socket(path)
        lock_socket(path, adopted=True).release()
        assert path.exists()
    lock_socket(path).release()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agentd.sock"
    path.write_text("precious")
    with pytest.raises(Conflict, match="is not a socket"):
        lock_socket(path)
    assert path.read_text() == "precious"
    path.unlink()
    lock_socket(path).release()


def test_a_lock_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot lock it: .*No such file"):
        Lock(tmp_path / "missing" / "lock", "it")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="cannot lock it"):
        Lock(tmp_path / "link", "it")
    assert not (tmp_path / "elsewhere").exists()
