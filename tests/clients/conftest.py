"""Runners, each built once, and a home for the daemon of each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.languages import LANGUAGES, BuildError, Command
from tests.e2e.daemon import Home

BUILT = pytest.StashKey[dict[str, Command | BuildError]]()


def folder_of(config: pytest.Config, name: str) -> Path:
    """Return the folder in which a language is built, kept in pytest's cache between runs."""
    assert config.cache is not None
    return config.cache.mkdir(f"clients-{name}")


@pytest.fixture
def runner_of(pytestconfig: pytest.Config) -> Callable[[str], Command]:
    """Return the function that gives a language's runner; it skips without the toolchain."""

    def command(name: str) -> Command:
        language = LANGUAGES[name]
        if language.missing:
            pytest.skip(f"{name} is not tested: there is no {' and no '.join(language.missing)}")
        built = pytestconfig.stash.setdefault(BUILT, {})
        if name not in built:
            try:
                built[name] = language.build(folder_of(pytestconfig, name))
            except BuildError as error:
                built[name] = error
        found = built[name]
        if isinstance(found, BuildError):
            raise found
        return found

    return command


@pytest.fixture
def home() -> Iterator[Home]:
    """A home for a daemon."""
    with Home() as made:
        yield made
