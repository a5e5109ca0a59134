"""Each run has a folder of its own, or one that is really where its client says."""

import os
from pathlib import Path

import pytest

from agentd.agent.ids import Namespace, RunId
from agentd.errors import InvalidRequest
from agentd.tools.builtin.beneath import open_root
from agentd.tools.builtin.workspace import check_workspace, make_workspace

NAMESPACE, RUN = Namespace("default"), RunId("run-1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path.resolve() / "runs"


def test_a_folder_is_made_for_its_owner_alone(root: Path) -> None:
    made = make_workspace(str(root), NAMESPACE, RUN)
    assert made == f"{root}/default/run-1"
    assert [Path(path).stat().st_mode & 0o777 for path in (made, root / "default", root)] == [
        0o700,
        0o711,
        0o711,
    ]
    with open_root(made) as folder:
        assert os.fstat(folder).st_ino == Path(made).stat().st_ino


def test_a_folder_is_found_again_with_what_is_in_it(root: Path) -> None:
    made = Path(make_workspace(str(root), NAMESPACE, RUN))
    (made / "f").write_text("kept")
    assert make_workspace(str(root), NAMESPACE, RUN) == str(made)
    assert (made / "f").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_folder_is_given_to_the_user_of_commands(root: Path) -> None:
    made = Path(make_workspace(str(root), NAMESPACE, RUN, owner=12345))
    assert made.stat().st_uid == 12345
    assert (root / "default").stat().st_uid == 0


def test_a_link_in_the_place_of_the_folder_is_refused(root: Path) -> None:
    (root / "default").mkdir(parents=True)
    (root / "default" / "run-1").symlink_to("/etc")
    with pytest.raises(OSError, match="symbolic"):
        make_workspace(str(root), NAMESPACE, RUN, owner=12345)
    assert Path("/etc").stat().st_uid == 0


def test_the_mode_does_not_depend_on_the_umask(root: Path) -> None:
    before = os.umask(0o077)
    try:
        make_workspace(str(root), NAMESPACE, RUN)
    finally:
        os.umask(before)
    assert (root / "default").stat().st_mode & 0o777 == 0o711


def test_a_named_folder_is_taken_as_it_is(root: Path) -> None:
    root.mkdir()
    assert check_workspace(str(root), "run.workspace") == str(root)


@pytest.mark.parametrize(
    "path",
    [
        *("", "runs", "/", "//", "{}/../x", "{}/", "{}//x", "{}/none", "{}/file", "{}/link"),
        *("{}/link/d", "/proc", "/proc/self", "/dev", "/sys/kernel", "{}/nul\0", "{}/a*"),
    ],
)
def test_what_cannot_be_a_workspace_is_refused_with_its_field(root: Path, path: str) -> None:
    (root / "real" / "d").mkdir(parents=True)
    (root / "a*").mkdir()
    (root / "file").touch()
    (root / "link").symlink_to("real")
    with pytest.raises(InvalidRequest) as refused:
        check_workspace(path.format(root), "run.workspace")
    assert refused.value.metadata["field"] == "run.workspace"


def test_a_link_is_named_with_where_it_leads(root: Path) -> None:
    (root / "real").mkdir(parents=True)
    (root / "link").symlink_to("real")
    with pytest.raises(InvalidRequest, match=f"it leads to '{root}/real'"):
        check_workspace(f"{root}/link", "f")
