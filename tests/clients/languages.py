"""How the runner of each language is built, and what its toolchain is called."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "clients"
BUILD_S = 540

Command = tuple[str, ...]


class BuildError(Exception):
    """A runner that cannot be built."""


@dataclass(frozen=True, slots=True)
class Language:
    """One client as the tests see it."""

    name: str
    tools: tuple[str, ...]
    """The programs that its toolchain needs."""
    build: Callable[[Path], Command]
    """Builds the runner, with a folder for its files; returns the command that starts it."""
    test: Callable[[Path], None] | None = None
    """Runs the client's own tests, with the same folder."""
    example: Callable[[Path], Command] | None = None
    """Builds the client's example, with the same folder; returns the command that starts it."""
    benchmark: Callable[[Path], Command] | None = None
    """Builds the client's benchmark, likewise."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The programs that this machine does not have."""
        return tuple(tool for tool in self.tools if shutil.which(tool) is None)


def run(command: Sequence[str], folder: Path, **environment: str) -> None:
    """Run a step of a build. Raises BuildError with the end of what it said."""
    result = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    if result.returncode != 0:
        said = f"{result.stdout}\n{result.stderr}".strip()
        raise BuildError(f"{' '.join(command)}:\n{said[-4000:]}")


def _python(_folder: Path) -> Command:
    return sys.executable, "-m", "tests.clients.runner"


def _go(folder: Path) -> Command:
    return _built_go(folder, "./internal/scenario")


def _test_go(_folder: Path) -> None:
    run(("go", "vet", "./..."), CLIENTS / "go")
    run(("go", "test", "-race", "./..."), CLIENTS / "go")


def _built_go(folder: Path, package: str) -> Command:
    program = folder / Path(package).name
    run(("go", "build", "-o", str(program), package), CLIENTS / "go")
    return (str(program),)


def _go_example(folder: Path) -> Command:
    return _built_go(folder, "./examples/files")


def _go_benchmark(folder: Path) -> Command:
    return _built_go(folder, "./internal/bench")


def _copied(name: str, folder: Path) -> Path:
    """Copy a client, so that what its package manager leaves behind is not in the tree."""
    copy = folder / name
    for path in sorted(copy.iterdir()) if copy.exists() else ():
        if path.name != "node_modules":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    left_out = shutil.ignore_patterns("node_modules", "dist", "target")
    shutil.copytree(CLIENTS / name, copy, ignore=left_out, dirs_exist_ok=True)
    return copy


def _node(folder: Path) -> Command:
    copy = _copied("node", folder)
    run(
        ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--prefer-offline"), copy
    )
    run(("npm", "run", "build"), copy)
    return "node", "--enable-source-maps", str(copy / "dist" / "test" / "scenario.js")


def _node_example(folder: Path) -> Command:
    return "node", str(folder / "node" / "dist" / "examples" / "files.js")


def _node_benchmark(folder: Path) -> Command:
    return "node", str(folder / "node" / "dist" / "test" / "bench.js")


def _test_node(folder: Path) -> None:
    run(("npm", "test"), folder / "node")


LANGUAGES: Mapping[str, Language] = {
    language.name: language
    for language in (
        Language("python", (), _python),
        Language("go", ("go",), _go, _test_go, _go_example, _go_benchmark),
        Language("node", ("node", "npm"), _node, _test_node, _node_example, _node_benchmark),
    )
}
