"""Read the keys of a tree of sections from files, variables and flags. Knows no key by name."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from agentd.config.keys import Key, Origin, invalid_config, nearest, unknown_key

Parts = tuple[str, ...]
Values = dict[Parts, tuple[Any, Origin]]
"""Values that fit, each with its origin, by the parts of their keys."""

ANY = "*"
"""Stands in a schema for a name that the user chooses."""
PREFIX = "AGENTD_"
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def dotted(parts: Parts) -> str:
    """Return a key as TOML writes it."""
    return ".".join(part if _BARE.match(part) else f'"{part}"' for part in parts)


class Schema:
    """Every key of a tree of dataclasses, whose fields were declared by `keys.py`."""

    def __init__(self, root: type) -> None:
        self.keys = dict(_keys(root, ()))

    def find(self, parts: Parts) -> Key | None:
        """Return the key at a path."""
        return next((key for at, key in self.keys.items() if _fits(at, parts)), None)

    def is_section(self, parts: Parts) -> bool:
        """Whether keys lie below a path."""
        return any(_fits(at[: len(parts)], parts) for at in self.keys if len(at) > len(parts))

    def siblings(self, parts: Parts) -> set[str]:
        """Return the names that are possible where the last of the parts stands."""
        depth = len(parts) - 1
        return {
            dotted((*parts[:-1], at[depth]))
            for at in self.keys
            if len(at) > depth and _fits(at[:depth], parts[:-1])
        }


def read_file(schema: Schema, path: Path) -> Values:
    """Return what a TOML file sets; nothing if there is no file."""
    origin = Origin("file", str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise invalid_config(f"cannot be read: {error}", origin) from error
    # Where there is no file, a start need not pay for its parsers: 4 ms.
    import tomllib  # noqa: PLC0415

    from agentd.config.toml_lines import key_lines  # noqa: PLC0415

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        at = Origin("file", f"{path}:{line[1]}") if line else origin
        raise invalid_config(f"this is not TOML: {error}", at) from error
    return dict(_walk(schema, document, (), _Lines(path, key_lines(text))))


def read_variables(schema: Schema, environ: Mapping[str, str], names: Iterable[Parts]) -> Values:
    """Return what `AGENTD_*` variables set. `names` are keys of tables that exist already, which
    variables can set too. One that is no key's, but nearly, is refused as misspelt."""
    variables = {
        key.variable or _variable(parts): (parts, key)
        for parts, key in schema.keys.items()
        if ANY not in parts
    }
    for parts in names:
        key = schema.find(parts)
        if key is not None:
            variables.setdefault(_variable(parts), (parts, key))
    values = {}
    for name in environ.keys() & variables.keys():
        parts, key = variables[name]
        values[parts] = _read(parts, key, environ[name], Origin("environment", name))
    for name in sorted(environ.keys() - variables.keys()):
        _refuse_misspelt(name, variables)
    return values


def read_flags(schema: Schema, flags: Mapping[str, str]) -> Values:
    """Return what flags set, given as texts by dotted key."""
    values = {}
    for name, text in flags.items():
        parts = tuple(name.split("."))
        origin = Origin("flag", f"--{name.replace('.', '-').replace('_', '-')}")
        key = schema.find(parts)
        if key is None:
            raise unknown_key(name, schema.siblings(parts), origin)
        values[parts] = _read(parts, key, text, origin)
    return values


def build(section: type, prefix: Parts, values: Values) -> Any:
    """Return a section with its values, or defaults where there are none."""
    arguments: dict[str, Any] = {}
    for item in fields(section):
        at = (*prefix, item.name)
        if "key" in item.metadata:
            if at in values:
                arguments[item.name] = values[at][0]
        elif "section" in item.metadata:
            arguments[item.name] = build(item.metadata["section"], at, values)
        elif "table" in item.metadata:
            names = dict.fromkeys(
                parts[len(at)] for parts in values if len(parts) > len(at) and _fits(at, parts)
            )
            row = item.metadata["table"]
            arguments[item.name] = {name: build(row, (*at, name), values) for name in names}
    return section(**arguments)


def rows(section: Any, prefix: Parts = ()) -> Iterator[tuple[Parts, Any]]:
    """Yield each key of a section and its value, in the order of declaration."""
    for item in fields(section):
        at, value = (*prefix, item.name), getattr(section, item.name)
        if "key" in item.metadata:
            yield at, value
        elif "section" in item.metadata:
            yield from rows(value, at)
        elif "table" in item.metadata:
            for name, row in value.items():
                yield from rows(row, (*at, name))


def sample(section: type, prefix: Parts = ()) -> Iterator[str]:
    """Yield the lines of a TOML file with each key at its default, as a comment."""
    below: list[Field[Any]] = []
    for item in fields(section):
        key: Key | None = item.metadata.get("key")
        if key is None:
            below.append(item)
            continue
        yield f"# {key.doc} {key.kind.name[0].upper()}{key.kind.name[1:]}."
        yield f"# {item.name} = {literal(key.default)}"
    for item in below:
        at = (*prefix, item.name)
        if "section" in item.metadata:
            yield from ("", f"[{dotted(at)}]")
            yield from sample(item.metadata["section"], at)
        elif "table" in item.metadata:
            name = item.metadata["name"]
            yield from ("", f"# [{dotted((*at, name))}]")
            yield from sample(item.metadata["table"], (*at, name))


def literal(value: Any) -> str:
    """Return a value as TOML writes it. What is unset is an empty text."""
    match value:
        case None:
            return '""'
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:_}"
        case float():
            return repr(value)
        case tuple():
            return f"[{', '.join(literal(item) for item in value)}]"
        case _:
            return json.dumps(str(value), ensure_ascii=False)


class _Lines:
    """Where the keys of one file stand."""

    def __init__(self, path: Path, lines: Mapping[Parts, int]) -> None:
        self._path = path
        self._lines = lines

    def origin(self, parts: Parts) -> Origin:
        """Return the place of a key, or of the inline table that holds it."""
        ends = range(len(parts), 0, -1)
        line = next((self._lines[parts[:end]] for end in ends if parts[:end] in self._lines), 1)
        return Origin("file", f"{self._path}:{line}")


def _keys(section: type, prefix: Parts) -> Iterator[tuple[Parts, Key]]:
    for item in fields(section):
        at = (*prefix, item.name)
        if "key" in item.metadata:
            yield at, item.metadata["key"]
        elif "section" in item.metadata:
            yield from _keys(item.metadata["section"], at)
        elif "table" in item.metadata:
            yield from _keys(item.metadata["table"], (*at, ANY))


def _fits(pattern: Parts, parts: Parts) -> bool:
    return len(pattern) <= len(parts) and all(
        want in (ANY, got) for want, got in zip(pattern, parts, strict=False)
    )


def _walk(
    schema: Schema, level: Mapping[str, Any], prefix: Parts, lines: _Lines
) -> Iterator[tuple[Parts, tuple[Any, Origin]]]:
    for name, value in level.items():
        parts = (*prefix, name)
        origin = lines.origin(parts)
        key = schema.find(parts)
        if key is not None:
            yield parts, _accept(parts, key, value, origin)
        elif not schema.is_section(parts):
            raise unknown_key(dotted(parts), schema.siblings(parts), origin)
        elif not isinstance(value, dict):
            raise invalid_config(f"{dotted(parts)} must be a table", origin, dotted(parts))
        else:
            yield from _walk(schema, value, parts, lines)


def _read(parts: Parts, key: Key, text: str, origin: Origin) -> tuple[Any, Origin]:
    try:
        value = key.kind.read(text)
    except ValueError:
        value = text  # whose kind the next step refuses, in its own words
    return _accept(parts, key, value, origin)


def _accept(parts: Parts, key: Key, value: object, origin: Origin) -> tuple[Any, Origin]:
    try:
        return key.kind.accept(value), origin
    except ValueError:
        shown = json.dumps(value, default=str, ensure_ascii=False)
        message = f"{dotted(parts)} must be {key.kind.name}, not {shown[:80]}"
        raise invalid_config(message, origin, dotted(parts)) from None


def _variable(parts: Parts) -> str:
    return PREFIX + "_".join(re.sub(r"[^A-Z0-9]", "_", part.upper()) for part in parts)


def _refuse_misspelt(name: str, variables: Iterable[str]) -> None:
    """Refuse a variable that nearly is one. Others are left alone: Kubernetes, for one, sets
    AGENTD_PORT and more for a service of that name."""
    if not name.startswith(PREFIX):
        return
    rest = name.removeprefix(PREFIX)
    near = nearest(rest, [known.removeprefix(PREFIX) for known in variables], 0.8)
    if near is not None:
        raise invalid_config(
            f"there is no variable {name}; did you mean {PREFIX}{near}?",
            Origin("environment", name),
            name,
        )
