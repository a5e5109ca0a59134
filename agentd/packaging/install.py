"""Write the systemd units, with the path of the program that they start."""

from pathlib import Path

from agentd.errors import InvalidRequest, Reason, Unavailable

SYSTEM_DIRECTORY = Path("/etc/systemd/system")
HERE = Path(__file__).resolve().parent

_SYSTEM = {"agentd.service": "agentd.service", "agentd.socket": "agentd.socket"}
_USER = {"agentd.user.service": "agentd.service"}
_REFUSED = set("\"'\\$;")
"""What systemd refuses in a program's path, or reads as something else, however it is quoted."""


def write_units(*, system: bool, directory: Path, executable: Path) -> list[Path]:
    """Write the units of the system's daemon, or of a user's, and return their paths.

    `directory` is where the manager looks: SYSTEM_DIRECTORY, or `systemd/user` in the user's
    configuration. Units that are there are replaced; drop-ins, and so what was changed with
    `systemctl edit`, remain. Raises InvalidRequest (INVALID_CONFIG) for an executable that systemd
    could not start, and Unavailable (UNREACHABLE) when a file cannot be written.
    """
    unfit = set(str(executable)) & _REFUSED or not str(executable).isprintable()
    if not executable.is_absolute() or not executable.is_file() or unfit:
        raise InvalidRequest(
            Reason.INVALID_CONFIG,
            f"{str(executable)!r} is not the absolute path of a program that systemd would start",
            metadata={"path": str(executable)},
        )
    written = []
    for source, target in (_SYSTEM if system else _USER).items():
        text = (HERE / source).read_text(encoding="utf-8")
        path = directory / target
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("@EXECUTABLE@", _quoted(executable)), encoding="utf-8")
            path.chmod(0o644)
        except OSError as error:
            raise Unavailable(
                Reason.UNREACHABLE, f"cannot write {path}: {error}", metadata={"path": str(path)}
            ) from error
        written.append(path)
    return written


def _quoted(path: Path) -> str:
    """Return a path as a unit's command line holds it (systemd.syntax; systemd.unit on `%`)."""
    text = str(path).replace("%", "%%")
    return f'"{text}"' if " " in text else text
