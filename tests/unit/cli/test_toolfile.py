"""The functions of a file that are offered as tools."""

from pathlib import Path

import pytest

from agentd.cli.toolfile import load_functions, toolset_for
from agentd.errors import InvalidRequest


def write(directory: Path, text: str, name: str = "tools.py") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def test_public_functions_and_marked_ones(tmp_path: Path) -> None:
    write(tmp_path, "def imported(): ...\n", "beside.py")
    text = """
from json import dumps
from agentd.client import tool
from beside import imported

def probe(a: int): ...
def _hidden(): ...

@tool(effect="idempotent", reconcile=probe)
def marked(a: int): ...

@tool
def _marked_and_hidden(): ...

async def plain(): ...

class Thing:
    def method(self): ...
"""
    functions = load_functions(write(tmp_path, text))
    names = [function.__name__ for function in functions]
    assert names == ["marked", "_marked_and_hidden", "plain"]


@pytest.mark.parametrize("text", ["", "x = 1", "def broken(", "1 / 0", "raise SystemExit(3)"])
def test_a_file_that_is_no_use(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be used"):
        load_functions(write(tmp_path, text))


def test_no_file_at_all(tmp_path: Path) -> None:
    for name in ("absent.py", "tools.txt"):
        with pytest.raises(InvalidRequest):
            load_functions(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "start"), [("My Tools.py", "my-tools-"), ("7.py", "tools-7-"), ("é.py", "tools-")]
)
def test_a_toolset_is_of_this_process_alone(name: str, start: str) -> None:
    first, second = toolset_for(Path(name)), toolset_for(Path(name))
    assert first.startswith(start)
    assert first != second
