"""The units, as systemd itself judges them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agentd.config import default_toml
from agentd.errors import InvalidRequest, Unavailable
from agentd.packaging import install
from agentd.packaging.install import write_units

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


@pytest.fixture
def executable(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "agentd"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def analyze(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(directory)}
    return subprocess.run(
        [ANALYZE, *arguments], capture_output=True, text=True, env=environ, check=False
    )


@needs_systemd
@pytest.mark.parametrize("system", [True, False])
def test_systemd_has_nothing_to_say(tmp_path: Path, executable: Path, *, system: bool) -> None:
    units = write_units(system=system, directory=tmp_path, executable=executable)
    expected = ["agentd.service", "agentd.socket"] if system else ["agentd.service"]
    assert [unit.name for unit in units] == expected
    manager = [] if system else ["--user"]
    for unit in units:
        verdict = analyze(tmp_path, *manager, "verify", str(unit))
        # It exits with 0 even for keys that it does not know.
        assert (verdict.returncode, verdict.stderr) == (0, "")


@needs_systemd
def test_the_verdict_can_be_bad(tmp_path: Path, executable: Path) -> None:
    unit, _ = write_units(system=True, directory=tmp_path, executable=executable)
    unit.write_text(unit.read_text().replace("UMask=", "Unmask="))
    assert "Unmask" in analyze(tmp_path, "verify", str(unit)).stderr


@needs_systemd
def test_the_system_unit_is_hardened(tmp_path: Path, executable: Path) -> None:
    unit, _ = write_units(system=True, directory=tmp_path, executable=executable)
    arguments = ["security", "--offline=yes", "--threshold=30", "--no-pager", str(unit)]
    verdict = analyze(tmp_path, *arguments)
    assert verdict.returncode == 0, verdict.stdout[-200:]


def test_nothing_keeps_bubblewrap_from_working(tmp_path: Path, executable: Path) -> None:
    """Each of these does, or did in the field."""
    unit, _ = write_units(system=True, directory=tmp_path, executable=executable)
    keys = dict(re.findall(r"^(\w+)=(.*)", unit.read_text(), re.MULTILINE))
    closed = {"RestrictNamespaces", "ProtectProc", "ProcSubset", "ProtectKernelTunables"}
    assert not keys.keys() & (closed | {"ProtectKernelLogs", "ProtectControlGroups"})
    assert "AF_NETLINK" in keys["RestrictAddressFamilies"]
    filters = " ".join(re.findall(r"^SystemCallFilter=(.*)", unit.read_text(), re.MULTILINE))
    assert {"@mount", "pivot_root", "unshare", "setns"} <= set(filters.split())


@needs_systemd
def test_any_path_of_a_program_is_written_so_that_it_starts(tmp_path: Path) -> None:
    program = tmp_path / "a program, 100%i (new)" / "agentd"
    program.parent.mkdir()
    shutil.copy("/bin/true", program)
    unit, _ = write_units(system=True, directory=tmp_path / "units", executable=program)
    assert analyze(tmp_path, "verify", str(unit)).stderr == ""


def test_a_program_that_is_not_there_is_refused(tmp_path: Path) -> None:
    odd = tmp_path / "$HOME"
    shutil.copy("/bin/true", odd)
    for path in (Path("agentd"), tmp_path / "missing", tmp_path, odd):
        with pytest.raises(InvalidRequest, match="is not the absolute path of a program"):
            write_units(system=True, directory=tmp_path / "units", executable=path)
    assert not (tmp_path / "units").exists()


def test_a_directory_that_cannot_be_written_is_explained(executable: Path) -> None:
    with pytest.raises(Unavailable, match="cannot write"):
        write_units(system=False, directory=executable / "units", executable=executable)


def test_the_sample_is_fresh() -> None:
    assert (install.HERE / "agentd.toml").read_text() == default_toml()
