"""Keep the READMEs true: links lead somewhere, the map is the tree, commands exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.tree import ROOT, tracked

PAGES = tuple(path for path in tracked() if path.suffix == ".md")
FENCE = re.compile(
    r"(?:<!-- (?P<mark>\w+) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)```", re.DOTALL
)


def blocks(page: Path, language: str) -> list[str]:
    """Return the bodies of a page's fenced blocks in one language."""
    found = FENCE.finditer(page.read_text("utf-8"))
    return [block["body"] for block in found if block["language"] == language]


def marked(mark: str) -> str:
    """Return the one block of the first README that stands beneath `<!-- mark -->`."""
    found = FENCE.finditer((ROOT / "README.md").read_text("utf-8"))
    [body] = [block["body"] for block in found if block["mark"] == mark]
    return body


def commands() -> list[list[str]]:
    """Return every shell command of every page, in words."""
    lines = [line for page in PAGES for body in blocks(page, "sh") for line in body.splitlines()]
    parts = [part for line in lines for part in line.split(" && ")]
    return [words for words in (shlex.split(part, comments=True) for part in parts) if words]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"`[^`]*`", "", page.read_text("utf-8"))
    targets = re.findall(r"\]\(([^)#\s]+)", prose)
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_map_is_the_tree() -> None:
    drawn = {line.split()[0].rstrip("/") for line in marked("map").splitlines()}
    top = {path.relative_to(ROOT).parts[0] for path in tracked()}
    plain = {name for name in top if not name.startswith(".") and not name.endswith(".md")}
    assert drawn - top == set()
    assert plain - drawn == {"LICENSE"}


def test_each_file_that_a_command_names_exists() -> None:
    named = {
        word for words in commands() for word in words if re.fullmatch(r"[\w.]+/[\w./]+", word)
    }
    assert {word for word in named if not word.startswith(".venv/")} != set()
    missing = [
        word for word in named if not word.startswith(".venv/") and not (ROOT / word).exists()
    ]
    assert missing == []


def test_each_test_that_a_page_names_exists() -> None:
    named = {
        pair
        for page in PAGES
        for pair in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text("utf-8"))
    }
    assert named != set()
    missing = [
        (path, name)
        for path, name in sorted(named)
        if f"def {name}(" not in (ROOT / path).read_text("utf-8")
    ]
    assert missing == []


def test_each_agentd_command_exists() -> None:
    """The parser refuses a command or an option that it does not know before it prints help."""
    ours = [words for words in commands() if Path(words[0]).name == "agentd"]
    assert ours != []
    for words in ours:
        command = [sys.executable, "-m", "agentd", *words[1:], "--help"]
        result = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
        )
        assert result.returncode == 0, f"{shlex.join(words)}: {result.stderr}"
