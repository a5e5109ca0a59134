"""The library, built once for all tests of it."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bindings.kit import Kit, lacking

SCRIPT = {
    "conversations": [
        {
            "goal": "19 and 23",
            "turns": [
                {"calls": [{"tool": "add", "arguments": {"a": 19, "b": 23}}]},
                {"text": "It is {{last_result}}."},
            ],
        },
        {"goal": "live", "turns": [{"text": "I lived", "delay_ms": 300}]},
    ]
}


def built(prefix: Path, *, sanitized: bool) -> Kit:
    """Build the library, or skip the test with a sentence that says for want of what."""
    if why := lacking():
        pytest.skip(why)
    return Kit.build(prefix, sanitized=sanitized)


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """The library as users build it."""
    return built(tmp_path_factory.mktemp("library"), sanitized=False)


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """The library with AddressSanitizer in it and in its programs."""
    return built(tmp_path_factory.mktemp("sanitized"), sanitized=True)


@pytest.fixture
def embedded() -> Iterator[str]:
    """The address of a daemon inside the program, with a state of its own."""
    with tempfile.TemporaryDirectory(prefix="agentd-") as directory:
        yield f"embedded:{directory}"


@pytest.fixture
def settings(tmp_path: Path) -> str:
    """Settings that have a script answer in place of a model."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps(SCRIPT), "utf-8")
    return f"models.default = scripted/script\nmodels.scripted.file = {script}"
