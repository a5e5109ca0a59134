"""Keep the traces of one machine out of every file."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.tidy.tree import ROOT, tracked

REGISTRIES = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("yarnpkg", "com"),
    ("proxy", "golang", "org"),
    ("sum", "golang", "org"),
    ("static", "crates", "io"),
    ("index", "crates", "io"),
    ("repo", "maven", "apache", "org"),
    ("buf", "build"),
)
"""Hosts that a build asks by default, in pieces so that this file passes its own test. Which of
them, or which mirror, is asked is for each machine to say."""

HOMES = ("home", "Users", "root")
"""Folders in which people keep their own things."""


def unwanted() -> re.Pattern[str]:
    """Return what no file may hold: this machine's own folders and mirror, anybody's home, and
    the registries' hosts."""
    literal = {str(ROOT), str(Path.home()), *map(".".join, REGISTRIES), *mirrors()}
    literal -= {"", "/"}
    homes = rf"(?<![\w.}}$/-])/(?:{'|'.join(HOMES)})/\w"
    return re.compile("|".join((homes, *(rf"(?<![\w-]){re.escape(text)}\b" for text in literal))))


def mirrors() -> set[str]:
    """Return the hosts that pip is configured to ask on this machine."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    ).stdout
    return {urlsplit(url).hostname or "" for url in re.findall(r"https?://[^'\s]+", listed)}


def test_no_file_names_a_machine_or_a_registry() -> None:
    pattern = unwanted()
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {hit.group()}" for hit in pattern.finditer(text)]
    assert found == []
