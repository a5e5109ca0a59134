"""A model is there before a run is made, or the ways on are named."""

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli
from tests.unit.cli.test_run import stop_daemon


@pytest.fixture
def bare(idle: Cli) -> Cli:
    """A user with no configuration, and no package index in reach."""
    (idle.home / ".config/agentd/agentd.toml").unlink()
    return idle


NO_INDEX = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_TIMEOUT": "1"}


def test_no_key_no_model_and_no_index(bare: Cli) -> None:
    result = bare("run", "hello", env=NO_INDEX)
    try:
        assert result.returncode == 1
        assert "Getting SmolLM2" in result.stderr
        last = result.stderr.strip().splitlines()[-1]
        assert last.startswith("agentd: No model can be used: ")
        for way in ("ANTHROPIC_API_KEY", "agentd models pull smollm2", "base_url"):
            assert way in last
        again = bare("run", "hello", env=NO_INDEX | {"OPENAI_API_KEY": "k"})
        assert "OPENAI_API_KEY did not reach the daemon" in again.stderr
    finally:
        stop_daemon(bare)


def test_a_key_in_the_environment_reaches_a_daemon_that_is_started(bare: Cli) -> None:
    key = {"ANTHROPIC_API_KEY": "k"}
    try:
        bare("run", "--detach", "hello", env=key)
        assert "anthropic/" in bare("models", "list").stderr
        assert "Getting" not in bare("run", "--detach", "hello").stderr
    finally:
        stop_daemon(bare)


def test_a_model_that_is_there_is_used(bare: Cli, tmp_path: Path) -> None:
    """The file is no model: that it is used is enough here."""
    del tmp_path
    models = bare.home / ".local/share/agentd/models"
    models.mkdir(parents=True)
    (models / "smollm2.gguf").write_bytes(b"not a model")
    try:
        result = bare("run", "--detach", "hello", env=NO_INDEX)
        assert result.returncode == 0, result.stderr
        assert "Getting" not in result.stderr
    finally:
        stop_daemon(bare)
