"""Keep modules honest: each says what it is, is used, and reaches only for what it may."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.tidy.tree import ROOT, Source, functions, sources

LAZY = {
    "agentd/config/": "a start without a file need not pay for the parsers: 4 ms",
    "agentd/daemon.py": "the composition root picks adapters, so that extras stay optional",
    "agentd/cli/": "a command pays only for its own imports",
    "agentd/native.py": "a host of another process's daemon need not pay for a daemon of its own",
    "agentd/context/models/": "a provider's SDK takes most of a second and 66 MB to import",
    "agentd/carriers/grpc_standard.py": "reflection is seldom asked for; a cold start need not pay",
    "agentd/tools/schema.py": "a daemon without tools need not load a schema checker",
}
"""Where an import may wait inside a function, and why. Each such line tells ruff so too."""

ENVIRONMENT_READERS = {
    "agentd/config/": "one place, so that `agentd config show --origin` can tell it all",
    "agentd/context/models/pull.py": "pip gets the whole of it, with a folder for its own files",
    "tests/": "a test gives programs the environment that it has",
}
"""Where the environment may be read, and why."""

BANNED = {"create_task", "ensure_future", "gather", "shield"}
"""What starts or hides a task outside a task group. There are no exceptions."""

QUOTED_TYPE = 80
"""Longer strings are prose, in which a name is not a use."""

PUBLIC_PACKAGES = ("agentd.client", "agentd.native")
"""What other people import, or libagentd does, beside the entry points."""


def product() -> list[Source]:
    return [source for source in sources() if source.is_product]


def test_each_module_opens_with_a_sentence() -> None:
    silent = []
    for source in sources():
        opening = (ast.get_docstring(source.tree) or "").split("\n\n")[0].strip()
        if not re.fullmatch(r"[`A-Z0-9].*[.:]", opening, re.DOTALL):
            silent.append(source.path)
    assert silent == []


def test_imports_stand_at_the_top() -> None:
    inside = [
        f"{source.path}:{node.lineno}"
        for source in product()
        if not source.path.startswith(tuple(LAZY))
        for _, function in functions(source)
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert inside == []


def names_from(source: Source, module: str) -> Iterator[tuple[str, str]]:
    """Yield what a file takes from a module, with its place: `module.name` and `import name`."""
    for node in ast.walk(source.tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner == module:
                yield name, f"{source.path}:{node.lineno}"
            case ast.ImportFrom(module=owner, names=names) if owner == module:
                yield from ((name.name, f"{source.path}:{node.lineno}") for name in names)
            case _:
                pass


def loops_methods(source: Source) -> Iterator[tuple[str, str]]:
    """Yield the methods that a file takes from an event loop, with their place."""
    for node in ast.walk(source.tree):
        match node:
            case ast.Attribute(value=owner, attr=name) if re.search(
                r"loop(\(\))?$", ast.unparse(owner)
            ):
                yield name, f"{source.path}:{node.lineno}"
            case _:
                pass


def test_the_environment_is_read_in_one_place() -> None:
    readers = [
        place
        for source in sources()
        if not source.path.startswith(tuple(ENVIRONMENT_READERS))
        for name, place in names_from(source, "os")
        if name in {"environ", "environb", "getenv", "getenvb"}
    ]
    assert readers == []


def test_tasks_belong_to_groups() -> None:
    loose = [
        place
        for source in sources()
        for name, place in (*names_from(source, "asyncio"), *loops_methods(source))
        if name in BANNED
    ]
    assert loose == []


def imported(source: Source) -> Iterator[str]:
    """Yield the dotted names that a module imports or spells out, which may be of attributes."""
    for node in ast.walk(source.tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{name.name}" for name in names)
            case ast.Constant(value=str(text)) if re.fullmatch(r"agentd(\.\w+)+", text):
                yield text
            case _:
                pass


@pytest.fixture
def entries() -> set[str]:
    """Return the modules where programs start; without them nothing can be told to be dead."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    modules = {target.partition(":")[0] for target in scripts.values()}
    for module in modules:
        pytest.importorskip(module)
    return modules


PROGRAMS = {"agentd.tools.sandbox.bridge": "read as a file, and executed inside the sandbox"}
"""Modules that nothing imports, and why."""


def test_no_module_is_dead(entries: set[str]) -> None:
    modules = {source.module: source for source in product()}
    waiting = [*entries, *PUBLIC_PACKAGES, *PROGRAMS, "agentd.__main__"]
    alive: set[str] = set()
    while waiting:
        name = waiting.pop()
        if not name or name in alive:
            continue
        alive.add(name)
        waiting.append(name.rpartition(".")[0])
        if name in modules:
            waiting += imported(modules[name])
    assert set(modules) - alive == set()


def definitions(source: Source) -> Iterator[str]:
    """Yield the names that a module defines. A decorated function belongs to its decorator."""
    for node in source.tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if not node.decorator_list:
                yield node.name
            case ast.ClassDef():
                yield node.name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(name)):
                yield name
            case _:
                pass


def names(source: Source) -> Iterator[str]:
    """Yield every name that a file spells, those within f-strings and quoted types included."""
    for node in ast.walk(source.tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name.rpartition(".")[2]
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.Constant(value=str(text)) if len(text) <= QUOTED_TYPE:
                yield from re.findall(r"\w+", text)
            case _:
                pass


@pytest.mark.usefixtures("entries")
def test_no_definition_is_dead() -> None:
    mentions = Counter(re.findall(r"\w+", (ROOT / "pyproject.toml").read_text("utf-8")))
    for source in sources():
        mentions.update(names(source))
    dead = [
        f"{source.path}:{name}"
        for source in product()
        for name in definitions(source)
        if mentions[name] < 2 and not name.startswith("__")
    ]
    assert dead == []
