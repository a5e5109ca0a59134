"""What a configuration key is: its kind, its default, its meaning, and where a value came from."""

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from agentd.errors import InvalidRequest, Reason


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from."""

    kind: Literal["default", "file", "environment", "flag"]
    where: str = ""
    """The file and line, the variable, or the flag."""

    def __str__(self) -> str:
        return f"{self.kind} {self.where}".rstrip()


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that no representation shows."""

    _text: str = field(repr=False)
    origin: Origin

    def reveal(self) -> str:
        """Return the text; for the one place that sends it."""
        return self._text

    def __str__(self) -> str:
        return "(secret)"


@dataclass(frozen=True, slots=True)
class Kind:
    """A set of values."""

    name: str
    """What it must be, for people: `a number of seconds from 0 to 60`."""
    accept: Callable[[object], Any]
    """Return the value of what TOML holds, or raise ValueError."""
    read: Callable[[str], object] = str
    """Return what TOML would hold for the text of a flag or variable, or raise ValueError."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the configuration."""

    default: Any
    kind: Kind
    doc: str
    variable: str = ""
    """The variable that sets it; empty means AGENTD_ and the key's path."""


T = TypeVar("T")


def key(default: T, kind: Kind, doc: str, *, variable: str = "") -> T:
    """Declare a key of a section, as the default of a dataclass field."""
    return field(default=default, metadata={"key": Key(default, kind, doc, variable)})


def section(cls: type[T]) -> T:
    """Declare a section within a section."""
    return field(default_factory=cls, metadata={"section": cls})


def table(cls: type[T], name: str) -> Mapping[str, T]:
    """Declare a table whose names the user chooses; `name` says what they are."""
    metadata = {"table": cls, "name": name}
    return cast("Mapping[str, T]", field(default_factory=dict, metadata=metadata))


def invalid_config(message: str, origin: Origin = DEFAULT, key: str = "") -> InvalidRequest:
    """Return the error of a configuration that cannot be used, which starts with where it is."""
    place = origin.where or origin.kind
    metadata = {"key": key, "origin": str(origin)} if key else {"origin": str(origin)}
    return InvalidRequest(Reason.INVALID_CONFIG, f"{place}: {message}", metadata=metadata)


def unknown_key(name: str, siblings: Iterable[str], origin: Origin) -> InvalidRequest:
    """Return the error of a key that does not exist, naming the nearest that does."""
    known = sorted(siblings)
    # A misspelt last part is nearer than a whole path suggests, so parts are compared.
    last = name.rpartition(".")[2]
    near = nearest(last, [key.rpartition(".")[2] for key in known], 0.6)
    if near is not None:
        hint = next(key for key in known if key.rpartition(".")[2] == near)
        advice = f"did you mean '{hint}'?"
    else:
        advice = f"there are: {', '.join(known)}"
    return invalid_config(f"there is no key '{name}'; {advice}", origin, name)


def nearest(word: str, words: Sequence[str], similarity: float) -> str | None:
    """Return the most similar word, from a similarity of 0 to 1 on."""
    from difflib import get_close_matches  # noqa: PLC0415 - few starts need it

    return next(iter(get_close_matches(word, words, 1, similarity)), None)


def read_secret(path: Path, origin: Origin, key: str) -> Secret:
    """Return the text of a file without surrounding space.

    Raises InvalidRequest (INVALID_CONFIG) when it cannot be read, is empty, or may be read by
    everybody.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise invalid_config(f"{key}: cannot read {path}: {error}", origin, key) from error
    if mode & stat.S_IROTH:
        raise invalid_config(f"{key}: everybody may read {path}: chmod 600", origin, key)
    if not text:
        raise invalid_config(f"{key}: {path} is empty", origin, key)
    return Secret(text, Origin("file", os.fspath(path)))


def integer(minimum: int, maximum: int, unit: str = "") -> Kind:
    """Whole numbers of a unit, both ends included."""
    name = f"a whole number{f' of {unit}' if unit else ''} from {minimum:,} to {maximum:,}"

    def accept(value: object) -> int:
        fits = isinstance(value, int) and not isinstance(value, bool)
        return cast("int", _within(value if fits else None, minimum, maximum))

    return Kind(name, accept, lambda text: int(text.replace("_", "")))


def number(minimum: float, maximum: float, unit: str) -> Kind:
    """Numbers of a unit, both ends included."""
    name = f"a number of {unit} from {minimum:,g} to {maximum:,g}"

    def accept(value: object) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        return float(_within(value if fits else None, minimum, maximum))

    return Kind(name, accept, float)


def _within(value: Any, minimum: float, maximum: float) -> float:
    if value is None or not minimum <= value <= maximum:
        raise ValueError
    return cast("float", value)


def choice(*values: str) -> Kind:
    """One of some words."""
    name = f"one of {', '.join(values)}"

    def accept(value: object) -> str:
        if value not in values:
            raise ValueError
        return str(value)

    return Kind(name, accept)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - the one error of every kind
    return value


def _path(value: object) -> Path:
    path = Path(_text(value))
    if not path.is_absolute():
        raise ValueError
    return path


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError  # noqa: TRY004 - likewise
    return tuple(_text(item) for item in value)


def _paths(value: object) -> tuple[Path, ...]:
    return tuple(_path(item) for item in _texts(value))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - the one error of every kind
    return value


def _read_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _read_flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


def _loopback(value: object) -> str:
    """Return HOST:PORT. Only this machine may connect: what goes over TCP is not encrypted."""
    address = _text(value)
    if not address:
        return ""
    host, separator, port = address.rpartition(":")
    literal = host.removeprefix("[").removesuffix("]")
    if not separator or not port.isdigit() or int(port) > 65_535:
        raise ValueError
    if literal != "localhost" and not ip_address(literal).is_loopback:
        raise ValueError
    return address


TEXT = Kind("a text", _text)
TEXTS = Kind("a list of texts", _texts, _read_list)
FLAG = Kind("true or false", _flag, _read_flag)
PATH = Kind("an absolute path", _path)
PATHS = Kind("a list of absolute paths", _paths, _read_list)
OPTIONAL_PATH = Kind(
    "an absolute path, or empty", lambda value: None if value == "" else _path(value)
)
LOOPBACK = Kind("HOST:PORT with a loopback host, or empty", _loopback)
MODE = choice("0600", "0660")
