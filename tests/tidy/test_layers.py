"""Hold the layers of the house apart, by the contracts in pyproject.toml."""

import os
import subprocess
import sys
from pathlib import Path

from tests.tidy.tree import ROOT


def test_imports_go_one_way() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run(
        [lint, "--no-cache"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
