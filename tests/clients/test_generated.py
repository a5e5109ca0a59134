"""The clients' generated code is what `clients/generate.py` makes of the contract."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.languages import BUILD_S, CLIENTS
from tests.tidy.test_contract import INSTALL_DEADLINE_S, generator

__all__ = ["generator"]

FOLDERS = {"go": ("go", "go/agentdv1"), "node": ("npm", "node/src/gen")}
"""The program that a language's generator needs, and where its code lives."""


@pytest.mark.timeout(INSTALL_DEADLINE_S + BUILD_S)
@pytest.mark.parametrize("language", FOLDERS)
def test_generated_code_is_fresh(generator: Path, tmp_path: Path, language: str) -> None:
    program, folder = FOLDERS[language]
    if shutil.which(program) is None:
        pytest.skip(f"{language} is not generated: there is no {program}")
    script = CLIENTS / "generate.py"
    subprocess.run([generator, script, language, "--output", tmp_path], check=True, timeout=BUILD_S)
    fresh, committed = _files(tmp_path / folder), _files(CLIENTS / folder)
    assert sorted(committed) == sorted(fresh)
    assert [name for name in fresh if committed[name] != fresh[name]] == []


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
