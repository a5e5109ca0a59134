"""Set up the daemon's log: one JSON object a line on stderr, or lines for people at a terminal.

Events have stable snake_case names. The log explains the daemon, the journal explains the run:
prompts, tool output and secrets are never logged above DEBUG. `bind(run=…, call=…)` adds the ids of
what the present task works on to each of its lines.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast


@contextmanager
def _without_rich() -> Iterator[None]:
    """Hide rich from an import. structlog loads it when it is installed, for tracebacks that a
    daemon does not print: 30 of 45 ms and 4 of 6 MB, which a cold start need not pay."""
    if "rich" in sys.modules:
        yield
        return
    hidden = cast("dict[str, Any]", sys.modules)
    hidden["rich"] = None
    try:
        yield
    finally:
        del hidden["rich"]


with _without_rich():
    import structlog

bind = structlog.contextvars.bound_contextvars
"""Bind ids, such as `run` and `call`, to every line that the block's task logs."""


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger; it may be made before `configure` is called."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())


def configure(
    *,
    level: str = "info",
    format: str = "auto",
    stream: TextIO | None = None,
    redact: Callable[[str], str] | None = None,
) -> None:
    """Configure the log of this process. May be called again, as at a reload.

    `level` is debug, info, warning or error. `format` is json, console, or auto: console when the
    stream, by default stderr, is a terminal. Every line goes through `redact`.
    """
    output = stream or sys.stderr
    lines = cast("TextIO", _Redacted(output, redact)) if redact else output
    console = format == "console" or (format == "auto" and output.isatty())
    structlog.configure(
        processors=_console(colors=output.isatty()) if console else _json(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(lines),
        cache_logger_on_first_use=False,
    )
    _adopt_stdlib(level)


class _Redacted:
    """A stream whose lines have no secrets."""

    def __init__(self, stream: TextIO, redact: Callable[[str], str]) -> None:
        self._stream = stream
        self._redact = redact

    def write(self, text: str) -> int:
        """Write a line without its secrets."""
        return self._stream.write(self._redact(text))

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def _json() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
    ]


def _console(*, colors: bool) -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        ),
    ]


class _StdlibHandler(logging.Handler):
    """Passes on what libraries log, so that the stream holds one format."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a library's record as an event of its own."""
        log = get_logger()
        log.log(
            record.levelno,
            "library_message",
            logger=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info,
        )


def _adopt_stdlib(level: str) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_StdlibHandler()]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
