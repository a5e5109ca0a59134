"""Read the tree that the house rules are checked on: which files there are, and their syntax."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Source:
    """A hand-written Python file of the tree."""

    path: str
    """From the root, with slashes."""
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """Return its dotted name."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def is_product(self) -> bool:
        """Tell whether it is installed, rather than a test or a tool."""
        return self.path.startswith("agentd/")


@cache
def tracked() -> tuple[Path, ...]:
    """List the files that belong to the tree: all but what .gitignore names, so that a copy
    without its repository is checked alike."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()]
    return tuple(_walk(ROOT, (".git", *ignored)))


def _walk(folder: Path, ignored: tuple[str, ...]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if any(fnmatch(path.name, pattern) for pattern in ignored):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, ignored)
        else:
            yield path


@cache
def sources() -> tuple[Source, ...]:
    """Parse every hand-written Python file."""
    found = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py" and not name.endswith("_pb2.py"):
            text = path.read_text("utf-8")
            found.append(Source(name, text, ast.parse(text, name)))
    return tuple(found)


def functions(source: Source) -> Iterator[tuple[str, Function]]:
    """Yield each function of a file with its qualified name."""
    yield from _functions(source.tree, "")


def _functions(parent: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for node in ast.iter_child_nodes(parent):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield f"{prefix}{node.name}", node
                yield from _functions(node, f"{prefix}{node.name}.")
            case ast.ClassDef():
                yield from _functions(node, f"{prefix}{node.name}.")
            case _:
                yield from _functions(node, prefix)
