"""Files are found by name and by content, in bounded time whatever the pattern."""

import os
from pathlib import Path

import pytest

from agentd.tools.builtin import search as module
from agentd.tools.builtin.frame import LocalTool, Refused
from agentd.tools.builtin.patterns import compile_glob, compile_lines
from agentd.tools.builtin.search import MAX_PATHS, MAX_SHOWN_BYTES, WINDOW_BYTES
from tests.unit.tools.builtin.calls import failure, result

Tools = dict[str, LocalTool]


@pytest.fixture
def tree(workspace: Path) -> Path:
    for path, text in (
        ("README.md", "# Title\nneedle here\n"),
        ("src/a.py", "import os\n\nNEEDLE = 1\n"),
        ("src/deep/b.py", "x\ny needle z\r\n"),
        ("src/deep/c.ts", "needle\nneedle\n"),
        (".git/config", "needle\n"),
    ):
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).write_bytes(text.encode())
    (workspace / "binary").write_bytes(b"needle\0")
    (workspace / "link.py").symlink_to("src/a.py")
    (workspace / "up").symlink_to("..")
    return workspace


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("*.py", ["src/a.py", "src/deep/b.py"]),
        ("src/*.py", ["src/a.py"]),
        ("**/*.py", ["src/a.py", "src/deep/b.py"]),
        ("src/**/*.{py,ts}", ["src/a.py", "src/deep/b.py", "src/deep/c.ts"]),
        ("src/**", ["src/a.py", "src/deep/b.py", "src/deep/c.ts"]),
        ("[A-Z]*", ["README.md"]),
        ("?.py", ["src/a.py", "src/deep/b.py"]),
        ("[!a].py", ["src/deep/b.py"]),
        ("README.md", ["README.md"]),
        ("README?md", ["README.md"]),
        ("nothing", []),
        ("README.m", []),
        ("**/deep/*", ["src/deep/b.py", "src/deep/c.ts"]),
    ],
)
async def test_globs(tools: Tools, tree: Path, pattern: str, paths: list[str]) -> None:
    found = await result(tools["glob"], tree, {"pattern": pattern})
    assert found == {"paths": paths, "cut_short": ""}


@pytest.mark.parametrize("pattern", ["{a", "[z-a]", "{" * 900])
async def test_a_glob_that_is_none_is_refused(tools: Tools, tree: Path, pattern: str) -> None:
    assert "not a pattern" in await failure(tools["glob"], tree, {"pattern": pattern})


@pytest.mark.parametrize("name", ["a+b", "(x)", "[", "a.b", "a|b", "^", "$", "\\", "é", "a,b", "}"])
def test_a_glob_means_its_characters(name: str) -> None:
    pattern = compile_glob(name)
    assert pattern.search(name.encode())
    assert not pattern.search(b"aab")


async def test_lines_are_found_with_their_places(tools: Tools, tree: Path) -> None:
    found = await result(tools["search"], tree, {"pattern": "needle", "ignore_case": True})
    assert found == {
        "matches": [
            {"path": "README.md", "line": 2, "text": "needle here"},
            {"path": "src/a.py", "line": 3, "text": "NEEDLE = 1"},
            {"path": "src/deep/b.py", "line": 2, "text": "y needle z"},
            {"path": "src/deep/c.ts", "line": 1, "text": "needle"},
            {"path": "src/deep/c.ts", "line": 2, "text": "needle"},
        ],
        "files": 4,
        "cut_short": "",
    }


async def test_a_search_can_be_narrowed(tools: Tools, tree: Path) -> None:
    found = await result(tools["search"], tree, {"pattern": "needle", "include": "*.ts"})
    assert [match["path"] for match in found["matches"]] == ["src/deep/c.ts"] * 2
    found = await result(tools["search"], tree, {"pattern": "^needle$", "limit": 1})
    assert (len(found["matches"]), found["cut_short"]) == (1, "limit")
    found = await result(tools["search"], tree, {"pattern": "needle", "path": "src/deep/b.py"})
    assert found["matches"] == [{"path": "b.py", "line": 2, "text": "y needle z"}]
    assert "no such" in await failure(tools["search"], tree, {"pattern": "x", "path": "none"})


@pytest.mark.parametrize(
    "pattern", ["(", "a{2000}", r"(?=a)", r"(a)\1", "*", r"(.*a){100}\pL{200}"]
)
async def test_a_pattern_that_is_none_is_refused(tools: Tools, tree: Path, pattern: str) -> None:
    assert "RE2" in await failure(tools["search"], tree, {"pattern": pattern})


def test_a_match_lies_within_one_line() -> None:
    assert not compile_lines(r"a\s+b", ignore_case=False).search(b"a\nb")
    assert not compile_lines("a[^x]b", ignore_case=False).search(b"a\nb")
    match = compile_lines("^b", ignore_case=False).search(b"a\nb")
    assert match
    assert match.start() == 2


def test_patterns_read_utf_8() -> None:
    assert compile_lines("^.ö$", ignore_case=False).search("äö".encode())
    with pytest.raises(Refused):
        compile_lines("\ud800", ignore_case=False)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+c", "(.*)*x", "(a?){50}a{50}c"])
async def test_a_catastrophic_pattern_is_none(tools: Tools, tree: Path, pattern: str) -> None:
    (tree / "long").write_text("a" * 100_000 + "b")
    found = await result(tools["search"], tree, {"pattern": pattern, "path": "long"})
    assert found["cut_short"] == ""


async def test_a_slow_search_ends_with_what_it_has(
    tools: Tools, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.tools.builtin.work.WORK_S", 0.0)
    found = await result(tools["search"], tree, {"pattern": "needle"})
    assert found["cut_short"] == "time"
    found = await result(tools["glob"], tree, {"pattern": "*"})
    assert found["cut_short"] == "time"


async def test_a_wide_search_ends_with_what_it_has(
    tools: Tools, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SCANNED", 3)
    found = await result(tools["glob"], tree, {"pattern": "**"})
    assert found["cut_short"] == "entries"
    monkeypatch.setattr(module, "MAX_PATHS", 1)
    monkeypatch.undo()
    for number in range(MAX_PATHS + 1):
        (tree / f"{number}.x").touch()
    found = await result(tools["glob"], tree, {"pattern": "*.x"})
    assert (len(found["paths"]), found["cut_short"]) == (MAX_PATHS, "limit")


async def test_long_lines_are_searched_and_shown_in_part(tools: Tools, workspace: Path) -> None:
    line = "x" * (2 * WINDOW_BYTES) + "needle" + "y" * WINDOW_BYTES
    (workspace / "f").write_text(f"one\n{line}\nneedle\n")
    found = await result(tools["search"], workspace, {"pattern": "needle"})
    assert [match["line"] for match in found["matches"]] == [2, 3]
    assert "needle" in found["matches"][0]["text"]
    assert len(found["matches"][0]["text"]) == MAX_SHOWN_BYTES


async def test_links_are_not_followed_and_pipes_not_opened(tools: Tools, tree: Path) -> None:
    (tree.parent / "secret.py").write_text("needle")
    os.mkfifo(tree / "pipe.py")
    (tree / "loop").symlink_to(".")
    found = await result(tools["search"], tree, {"pattern": "needle", "include": "*.py"})
    assert [match["path"] for match in found["matches"]] == ["src/deep/b.py"]


async def test_deep_trees_end(tools: Tools, workspace: Path) -> None:
    folder = os.open(workspace, os.O_RDONLY)
    for _ in range(100):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(os.open("f", os.O_CREAT, dir_fd=folder))
    os.close(folder)
    assert (await result(tools["glob"], workspace, {"pattern": "f"}))["paths"] == []
