"""Keep the contract clean, compatible and generated."""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from agentd.errors import Reason
from agentd.v1.error_reason_pb2 import ErrorReason
from tests.tidy.tree import ROOT

INSTALL_DEADLINE_S = 240


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """Return proto/check.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("check", ROOT / "proto" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generator(pytestconfig: pytest.Config) -> Path:
    """Return a Python that has the extra `generate`, which cannot live beside the daemon's own
    grpcio. It is made once and kept in pytest's cache for as long as the extra stays the same."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = project["optional-dependencies"]["generate"]
    key = hashlib.sha256(json.dumps([wanted, sys.version]).encode()).hexdigest()[:12]
    cache = pytestconfig.cache
    assert cache is not None
    home = cache.mkdir("generator") / key
    python = home / "bin" / "python"
    ready = home / "ready"
    if not ready.exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True, timeout=60)
        result = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *wanted],
            capture_output=True,
            text=True,
            timeout=INSTALL_DEADLINE_S,
            check=False,
        )
        if result.returncode != 0:
            pytest.skip(f"the generator cannot be installed: {result.stderr.strip()[-300:]}")
        ready.touch()
    return python


@pytest.mark.timeout(INSTALL_DEADLINE_S + 120)
def test_generated_code_is_fresh(generator: Path, tmp_path: Path) -> None:
    subprocess.run([generator, ROOT / "proto" / "generate.py", tmp_path], check=True, timeout=60)
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "agentd" / "v1").iterdir()}
    folder = ROOT / "agentd/v1"
    generated = (*folder.glob("*_pb2.py*"), folder / "comments.json")
    committed = {path.name: path.read_bytes() for path in generated}
    assert sorted(committed) == sorted(fresh)
    assert [name for name in fresh if committed[name] != fresh[name]] == []


def test_lint(check: ModuleType) -> None:
    result = check.run_buf("lint")
    assert result.returncode == 0, result.stdout + result.stderr


def test_nothing_released_is_broken(check: ModuleType) -> None:
    result = check.run_buf("breaking")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("command", "old", "new", "complaint"),
    [
        ("lint", "// Never sent.\n", "\n", "non-empty comment"),
        ("breaking", "_NAME_TAKEN = ", "_NAME_LOST = ", "NAME_TAKEN"),
    ],
)
def test_buf_would_complain(
    check: ModuleType, tmp_path: Path, command: str, old: str, new: str, complaint: str
) -> None:
    proto = tmp_path / "proto"
    shutil.copytree(ROOT / "proto", proto)
    victim = proto / "agentd" / "v1" / "error_reason.proto"
    text = victim.read_text("utf-8")
    assert old in text
    victim.write_text(text.replace(old, new), "utf-8")
    result = check.run_buf(command, proto)
    assert result.returncode != 0
    assert complaint in result.stdout


def test_every_reason_is_in_the_contract_and_no_other() -> None:
    prefix = "ERROR_REASON_"
    contract = {name.removeprefix(prefix) for name in ErrorReason.DESCRIPTOR.values_by_name}
    assert contract - {"UNSPECIFIED"} == {reason.value for reason in Reason}
