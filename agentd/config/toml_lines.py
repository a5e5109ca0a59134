"""Find the line on which each key of a TOML document stands, which the standard parser forgets."""

import re
import tomllib
from typing import Any

Path = tuple[str, ...]

_PART = r"""(?:"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_DOTTED = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_ENTRY = re.compile(rf"[ \t]*(?:\[\[?[ \t]*({_DOTTED})[ \t]*\]|({_DOTTED})[ \t]*=)")
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*|[\[{]|[\]}]|\n|[^\"'\#\[\]{}\n]+",
    re.DOTALL,
)


def key_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, of each table header and key of a valid document.

    Keys inside an inline table have the line of the key that holds the table, which is found under
    its own path only.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    position = 0
    while position < len(text):
        entry = _ENTRY.match(text, position)
        if entry is not None:
            line = text.count("\n", 0, entry.end()) + 1
            if entry[1] is not None:
                table = _parts(entry[1])
                lines.setdefault(table, line)
            else:
                lines.setdefault(table + _parts(entry[2]), line)
            position = entry.end()
        position = _line_end(text, position)
    return lines


def _line_end(text: str, position: int) -> int:
    """Return where the next statement may start: after a newline outside strings and brackets."""
    depth = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            return len(text)
        position = token.end()
        if token[0] == "\n" and depth <= 0:
            return position
        depth += (token[0] in "[{") - (token[0] in "]}")
    return position


def _parts(dotted: str) -> Path:
    """Return the parts of a key, whose quotes and escapes the standard parser knows best."""
    level: Any = tomllib.loads(f"{dotted} = 0")
    parts = []
    while isinstance(level, dict):
        ((part, level),) = level.items()
        parts.append(part)
    return tuple(parts)
