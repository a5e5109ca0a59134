"""Keep the traces of one machine out of every file."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.tidy.tree import ROOT, tracked

REGISTRIES = {
    "a4aa2ac280bb8d1a",
    "8b5bb5eb9d758455",
    "8743857e3ea00fd1",
    "87d14f070cb96869",
    "00a7dc5a0cc38858",
    "9da5f32d96412512",
    "3d01f3609be82d98",
    "eb7e11c7f9ecbcf4",
    "317d2d52829b7812",
    "57e5b76ee2abe1ab",
}
"""Hosts that a build asks by default for packages of Python, Node, Go, Rust, Java and protobuf,
each as the first 16 digits of its SHA-256: this file may not name them either. Which of them, or
which mirror, is asked is for each machine to say."""

HOST = re.compile(r"[\w-]+(?:\.[\w-]+)+")

HOMES = ("home", "Users", "root")
"""Folders in which people keep their own things."""


def unwanted() -> re.Pattern[str]:
    """Return what no file may hold: this machine's own folders and mirror, and anybody's home."""
    literal = {str(ROOT), str(Path.home()), *mirrors()}
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


def registries(text: str) -> set[str]:
    """Return the hosts of registries, or below one, that a text names."""
    hosts = set()
    for host in set(HOST.findall(text)):
        labels = host.split(".")
        hosts |= {".".join(labels[start:]) for start in range(len(labels) - 1)}
    return {host for host in hosts if digest(host) in REGISTRIES}


def digest(host: str) -> str:
    """Return a host as `REGISTRIES` has it."""
    return hashlib.sha256(host.lower().encode()).hexdigest()[:16]


def test_the_host_of_a_registry_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "REGISTRIES", {digest("registry.example")})
    assert registries("see https://files.Registry.Example/a.whl.") == {"Registry.Example"}
    assert not registries("a registry.example.net, or my-registry.example")


def test_no_file_names_a_machine_or_a_registry() -> None:
    pattern = unwanted()
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {hit.group()}" for hit in pattern.finditer(text)]
        found += [f"{path.relative_to(ROOT)}: {host}" for host in registries(text)]
    assert found == []
