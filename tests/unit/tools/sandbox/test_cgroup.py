"""Control groups, on the machine's own tree where it may be written, and what is refused there."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.tools.sandbox.cgroup import Cgroups, find_cgroups
from agentd.tools.sandbox.profile import Limits


def mount_point() -> Path | None:
    """Return where the tree is."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            return Path(line.split()[4])
    return None


@pytest.fixture
def delegated() -> Iterator[Path | None]:
    """Make a folder in the tree, marked as systemd marks what it gives away; None if we may not."""
    root = mount_point()
    folder = (root or Path("/nowhere")) / f"agentd-test-{uuid.uuid4().hex}"
    try:
        folder.mkdir()
        os.setxattr(folder, "user.delegate", b"1")
    except OSError:
        yield None
        return
    yield folder
    for child in folder.iterdir():
        if child.is_dir():
            child.rmdir()
    folder.rmdir()


def process_in(folder: Path, tmp_path: Path, root: Path) -> Path:
    """Describe a process of that group, as the kernel would."""
    (tmp_path / "cgroup").write_text(f"1:name=systemd:/\n0::/{folder.relative_to(root)}\n")
    (tmp_path / "mountinfo").write_text(f"30 24 0:26 / {root} rw - cgroup2 cgroup2 rw\n")
    return tmp_path


def test_everything_in_a_group_ends_at_once(delegated: Path | None, tmp_path: Path) -> None:
    root = mount_point()
    if delegated is None or root is None:
        assert isinstance(find_cgroups(), str), "where nothing may be written, nothing is delegated"
        return
    groups = find_cgroups(process_in(delegated, tmp_path, root))
    assert isinstance(groups, Cgroups)
    group = groups.make(Limits())
    script = "echo; for i in 1 2 3; do setsid sleep 60 & done; wait"
    process = subprocess.Popen(["/bin/sh", "-c", f"read _; {script}"], stdin=-1, stdout=-1)
    group.add(process.pid)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    process.stdout.readline()
    group.kill()
    process.communicate()
    assert process.returncode == -9
    while any(folder.name.startswith("tool-") for folder in delegated.iterdir()):
        group.remove()  # busy until the last of them is reaped


def test_the_root_of_the_tree_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("0::/\n")
    assert "no cgroup2 folder of its own" in str(find_cgroups(tmp_path))


def test_a_folder_that_is_not_delegated_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "slice"
    folder.mkdir(mode=0o555)
    (tmp_path / "cgroup").write_text("0::/slice\n")
    (tmp_path / "mountinfo").write_text(f"30 24 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
    assert "is not delegated" in str(find_cgroups(tmp_path))
    assert list(folder.iterdir()) == []
