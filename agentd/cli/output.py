"""Data on stdout, talk on stderr: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from agentd.cli.text import clean

T = TypeVar("T")

TABLE, JSON, JSONL = "table", "json", "jsonl"

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice([TABLE, JSON, JSONL]),
    default=TABLE,
    show_default=True,
    help="A table, one JSON document, or one JSON document a line.",
)


def say(text: str) -> None:
    """Tell a person something, on stderr."""
    click.echo(clean(text), err=True)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON that a terminal cannot take for commands."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # JSON escapes the C0 control characters itself; what is left stands inside strings only.
    return "".join(f"\\u{ord(c):04x}" if "\x7f" <= c <= "\x9f" else c for c in text)


def write_line(value: Any) -> None:
    """Write one JSON document as one line, at once."""
    sys.stdout.write(as_json(value) + "\n")
    sys.stdout.flush()


def write_document(value: Any) -> None:
    """Write one JSON document over many lines."""
    sys.stdout.write(as_json(value, indent=2) + "\n")


def write_items(
    items: Iterable[T],
    output: str,
    *,
    to_json: Callable[[T], Any],
    columns: Sequence[str],
    row: Callable[[T], Sequence[str]],
) -> None:
    """Write a list as asked for."""
    match output:
        case "json":
            write_document([to_json(item) for item in items])
        case "jsonl":
            for item in items:
                write_line(to_json(item))
        case _:
            write_table(columns, [row(item) for item in items])


def write_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table: drawn on a terminal, aligned columns elsewhere."""
    cleaned = [[clean(cell).replace("\n", " ") for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cleaned)
        return
    everything = [list(columns), *cleaned]
    widths = [max(len(row[i]) for row in everything) for i in range(len(columns))]
    for row in everything:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def write_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Write names and values, one a line; values of several lines are indented."""
    shown = [(name, clean(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        first, *others = value.split("\n")
        sys.stdout.write(f"{name.ljust(width)}  {first}\n")
        for other in others:
            sys.stdout.write(" " * (width + 2) + other + "\n")
