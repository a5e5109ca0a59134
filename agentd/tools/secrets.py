"""The secrets that tools may be given: where each is, its value when needed, and its redaction.

Values are held by this module alone: nothing here shows one in a representation or an error.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import assert_never

import msgspec

from agentd.errors import FieldFault, InvalidRequest, Reason
from agentd.tools.redaction import MAX_BYTES, MIN_CHARACTERS, Redactor

MAX_SECRETS = 256
"""The most secrets of a daemon: each text is searched for all of them."""
KEPT_VALUES = 4
"""How many values of one secret are redacted: after a rotation the former ones still are."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")


_JSON_EDGES = frozenset('"\\')


class FileSource(msgspec.Struct, frozen=True):
    """A file that only the daemon's user may read."""

    path: str


class VariableSource(msgspec.Struct, frozen=True):
    """A variable of the environment."""

    variable: str


class CredentialSource(msgspec.Struct, frozen=True):
    """A credential of the systemd unit (`LoadCredential=`)."""

    id: str


Source = FileSource | VariableSource | CredentialSource


class Secrets:
    """The declared secrets of a daemon."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        environment: Mapping[str, str] | None = None,
        credentials: str = "",
    ) -> None:
        """Declare secrets by name, without reading any.

        `environment` holds the variables that sources name; `credentials` is the folder that
        systemd names in `$CREDENTIALS_DIRECTORY`. Raises InvalidRequest (INVALID_CONFIG) for a name
        that no `secret.use` could have, and beyond MAX_SECRETS.
        """
        if len(sources) > MAX_SECRETS:
            raise _invalid(
                "", f"there are {len(sources)} secrets, and at most {MAX_SECRETS} may be"
            )
        for name in sources:
            _check_name(name)
        self._sources = dict(sources)
        self._environment = {} if environment is None else environment
        self._credentials = credentials
        self._values: dict[str, tuple[str, ...]] = {}
        self._were_read = False
        self._redactor: Redactor | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the declared secrets."""
        return tuple(self._sources)

    @property
    def any(self) -> bool:
        """Whether there is anything to redact."""
        return bool(self._sources or self._values)

    def reveal(self, name: str) -> str:
        """Return the present value of a secret, for a call that was granted `secret.use:NAME`.

        Raises InvalidRequest (INVALID_CONFIG) for a name that is not declared, and for a source
        that cannot be read, that others may read, or whose value cannot be redacted.
        """
        source = self._sources.get(name)
        if source is None:
            raise _invalid(name, f"is not declared; there are: {', '.join(self.names) or 'none'}")
        value = self._read(name, source)
        self.conceal(name, value)
        return value

    def conceal(self, name: str, value: str) -> None:
        """Redact a value from now on, also one that is not given to tools, such as a provider's
        key. Raises InvalidRequest (INVALID_CONFIG) for a value that is too short or too long."""
        known = self._values.get(name, ())
        if value in known:
            return
        _check_name(name)
        _check_value(name, value)
        self._values[name] = (value, *known)[:KEPT_VALUES]
        self._redactor = None

    def check(self) -> tuple[FieldFault, ...]:
        """Read every secret, and return what is wrong with those that cannot be given to a tool."""
        faults: list[FieldFault] = []
        for name in self._sources:
            try:
                self.reveal(name)
            except InvalidRequest as error:
                faults += error.faults
        self._were_read = True
        return tuple(faults)

    def redact(self, text: str) -> str:
        """Return the text with `[secret NAME]` in the place of every value: what is read when this
        is called first, and what was revealed or concealed since."""
        return self._present().redact(text)

    def redact_bytes(self, data: bytes) -> bytes:
        """Return the bytes as `redact` does."""
        return self._present().redact_bytes(data)

    def unsettled(self, text: str) -> int:
        """Return how much of the end of a text that goes on `redact` cannot judge yet."""
        return self._present().unsettled(text)

    def _present(self) -> Redactor:
        if not self._were_read:
            self.check()
        if self._redactor is None:
            self._redactor = Redactor(self._values)
        return self._redactor

    def _read(self, name: str, source: Source) -> str:
        match source:
            case VariableSource(variable=variable):
                value = self._environment.get(variable)
                if value is None:
                    raise _invalid(name, f"the variable {variable} is not set")
                return value
            case FileSource(path=path):
                # Group and others: as with an SSH key, the file is the daemon's own or it is open.
                return _read_file(name, Path(path), forbidden=stat.S_IRWXG | stat.S_IRWXO)
            case CredentialSource(id=id):
                if not self._credentials:
                    raise _invalid(
                        name, f"systemd gave no credentials; {id!r} should be among them"
                    )
                if not _NAME.match(id):
                    raise _invalid(name, f"{id!r} is not the name of a credential")
                # systemd grants the unit's user by an access list, whose mask shows as the group's
                # bits, in a folder that nobody else can enter.
                return _read_file(name, Path(self._credentials, id), forbidden=stat.S_IRWXO)
            case _:
                assert_never(source)


def _read_file(name: str, path: Path, *, forbidden: int) -> str:
    """Return the text of a file without the line break at its end."""
    try:
        with open(path, "rb", opener=_open) as file:
            # Of what was opened, not of what has the name by now.
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _invalid(name, f"{path} is not a regular file")
            if status.st_mode & forbidden:
                mode = f"{stat.S_IMODE(status.st_mode):03o}"
                raise _invalid(name, f"{path} is open to other users (mode {mode}): chmod 600")
            return file.read(MAX_BYTES + 2).decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise _invalid(name, f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _invalid(name, f"{path} is not UTF-8 text") from None


def _open(path: str, flags: int) -> int:
    # Without blocking, because a FIFO would hold the daemon until somebody writes.
    return os.open(path, flags | os.O_NONBLOCK)


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        raise _invalid(
            name[:80], "is not a name for a secret: letters, digits, '_', '.' and '-', at most 128"
        )


def _check_value(name: str, value: str) -> None:
    if len(value) < MIN_CHARACTERS:
        raise _invalid(
            name,
            f"its value has {len(value)} characters: one of less than {MIN_CHARACTERS} cannot be "
            "told from ordinary text, and so it could not be redacted",
        )
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise _invalid(name, "its value is not UTF-8 text") from None
    if size > MAX_BYTES:
        raise _invalid(name, f"its value is longer than {MAX_BYTES} bytes")
    if value[0] in _JSON_EDGES or value[-1] in _JSON_EDGES:
        raise _invalid(
            name,
            "its value begins or ends with a quotation mark or a backslash, which could not be "
            "told from those of JSON",
        )


def _invalid(name: str, description: str) -> InvalidRequest:
    field = f"secrets.{name}" if name else "secrets"
    return InvalidRequest(
        Reason.INVALID_CONFIG,
        f"{field}: {description}",
        metadata={"key": field},
        faults=(FieldFault(field, description),),
    )
