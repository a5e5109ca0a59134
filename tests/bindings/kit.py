"""Builds libagentd once into an environment of its own, and programs against it."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tidy.tree import ROOT

C = ROOT / "bindings" / "c"
BUILD = C / "build.py"
EXAMPLES = C / "examples"
PROGRAMS = Path(__file__).parent / "programs"
SANITIZER = "-fsanitize=address,undefined"
STRICT = ("-D_POSIX_C_SOURCE=200809L", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread")
DEADLINE_S = 25.0


def need(tool: str, package: str) -> None:
    """Skip the test unless a tool is installed, and say what would install it."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed: on Debian, apt install {package}")


def lacking() -> str:
    """Return what libagentd cannot be built for want of here; empty when it can."""
    if shutil.which("cc") is None:
        return "there is no C compiler: on Debian, apt install gcc libc6-dev"
    if importlib.util.find_spec("cffi") is None:
        return "cffi is not installed: pip install '.[dev]'"
    name = f"libpython{sysconfig.get_config_var('LDVERSION')}.so"
    folders = [sysconfig.get_config_var(key) for key in ("LIBDIR", "LIBPL")]
    if not any((Path(folder) / name).exists() for folder in folders if folder):
        return f"this Python has no {name}: on Debian, apt install libpython3-dev"
    return ""


def environment(prefix: Path, paths: Sequence[str]) -> None:
    """Make a virtual environment that sees these directories of packages and no other."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(prefix)
    [packages] = (prefix / "lib").glob("python3*/site-packages")
    (packages / "paths.pth").write_text("\n".join(paths), "utf-8")


def tree_paths() -> list[str]:
    """Return where this tree and what it stands on are imported from."""
    return [str(ROOT), *(path for path in sys.path if path.endswith("-packages"))]


@dataclass(frozen=True, slots=True)
class Kit:
    """A libagentd, installed, and where the programs that use it are made."""

    prefix: Path
    sanitized: bool = False

    @classmethod
    def build(cls, prefix: Path, *, sanitized: bool = False) -> "Kit":
        """Build the library by the README's command, into an environment that sees this tree."""
        environment(prefix, tree_paths())
        command = [sys.executable, str(BUILD), "--prefix", str(prefix)]
        built = subprocess.run(
            [*command, *(["--sanitize"] if sanitized else [])],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert built.returncode == 0, built.stderr
        assert built.stderr == ""
        return cls(prefix, sanitized)

    @property
    def library(self) -> Path:
        """The library's file."""
        return self.prefix / "lib" / "libagentd.so.1"

    def flags(self) -> list[str]:
        """Return the flags of a program that uses the library."""
        lib = self.prefix / "lib"
        find = ["-Wl,--enable-new-dtags", f"-Wl,-rpath,{lib}"]  # LD_LIBRARY_PATH goes first
        return [f"-I{self.prefix / 'include'}", f"-L{lib}", *find, "-lagentd"]

    def compile(self, source: Path, *options: str, compiler: str = "cc") -> Path:
        """Compile one program, as C99 unless the options say otherwise; a warning is an error."""
        target = self.prefix / "bin" / f"{source.stem}-{compiler.replace('+', 'p')}"
        standard = options or ("-std=c99",)
        sanitize = (SANITIZER,) if self.sanitized else ()
        command = [compiler, *standard, *STRICT, *sanitize, str(source), "-o", str(target)]
        made = subprocess.run(
            [*command, *self.flags(), "-ldl"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        return target

    def run(
        self,
        name: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        timeout_s: float = DEADLINE_S,
    ) -> subprocess.CompletedProcess[str]:
        """Compile one of our programs and run it, with no environment but a home."""
        program = self.compile(PROGRAMS / f"{name}.c")
        home = {"HOME": str(self.prefix)} if env is None else env
        return execute([str(program), *arguments], home, timeout_s=timeout_s)


def execute(
    command: Sequence[str], env: Mapping[str, str], *, timeout_s: float = DEADLINE_S
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; one that hangs fails the test."""
    return subprocess.run(
        command, env=dict(env), capture_output=True, text=True, timeout=timeout_s, check=False
    )


def said(result: subprocess.CompletedProcess[str], text: str) -> None:
    """Assert that a program went well and wrote a text."""
    ended = -result.returncode
    assert result.returncode == 0, (
        f"{signal.Signals(ended).name if ended > 0 else ''}{os.linesep}"
        + (result.stdout + result.stderr)
    )
    assert text in result.stdout
