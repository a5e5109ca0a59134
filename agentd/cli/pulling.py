"""Gets the file of a local model, and shows how far it is."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.cli.talk import Talk
from agentd.errors import NotFound, Reason

if TYPE_CHECKING:
    from agentd.context.models.files import LocalModel

DEFAULT_MODEL = "smollm2"
"""Small enough to fetch without asking: below 100 MB."""
PREFIX = "local/"
NOTE_S = 5.0
"""How often a line is written where no bar can be drawn."""


def pullable(name: str) -> "LocalModel":
    """Return a model whose file can be pulled. Raises NotFound naming those that can."""
    from agentd.context.models.files import PULLABLE  # noqa: PLC0415

    model = PULLABLE.get(name.removeprefix(PREFIX))
    if model is None:
        known = ", ".join(sorted(PULLABLE))
        raise NotFound(Reason.MODEL_NOT_FOUND, f"{name} cannot be pulled; there are: {known}")
    return model


async def pull_model(name: str, directory: Path, talk: Talk) -> Path:
    """Get a model's file into a directory, with a progress bar on a terminal, and those that belong
    to it. Return the path of the first.

    Raises what agentd.context.models.pull raises.
    """
    model = pullable(name)
    path = await _pull_file(model, directory, talk)
    for beside in model.beside:
        await _pull_file(pullable(beside), directory, talk)
    return path


async def _pull_file(model: "LocalModel", directory: Path, talk: Talk) -> Path:
    from agentd.context.models.pull import pull  # noqa: PLC0415

    talk.say(f"Getting {model.title} ({megabytes(model.download_bytes)}) into {directory}")
    if talk.is_terminal:
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TransferSpeedColumn,
        )

        columns = (TextColumn(model.name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=talk.console, transient=True) as bar:
            task = bar.add_task(model.name, total=model.download_bytes)

            def draw(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            return await asyncio.to_thread(pull, model.name, directory, draw)
    return await asyncio.to_thread(pull, model.name, directory, _notes(talk))


def _notes(talk: Talk) -> Callable[[int, int], None]:
    """Return a progress function that writes a line from time to time."""
    last = time.monotonic()

    def note(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= NOTE_S:
            last = time.monotonic()
            talk.say(f"  {megabytes(done)} of {megabytes(total)}")

    return note


def megabytes(size_bytes: int) -> str:
    """Return a size in MB."""
    return f"{size_bytes / 1e6:.0f} MB"
