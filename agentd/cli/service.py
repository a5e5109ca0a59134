"""`agentd service`: makes the daemon a service of systemd."""

import shutil
import sys
from pathlib import Path

import click

from agentd.cli.base import Group
from agentd.cli.output import say
from agentd.errors import NotFound, Reason

PRIVATE = {"home", "root", "tmp"}
"""Folders that the system's unit is kept out of, by ProtectHome and PrivateTmp."""
PYTHON = Path(sys.executable).resolve()


@click.group(cls=Group)
def service() -> None:
    """Make the daemon a service of systemd."""


@service.command(
    examples="agentd service install\nsudo agentd service install --system\n"
    "agentd service install --directory /tmp/units"
)
@click.option("--user/--system", default=True, help="For this user, or for the whole machine.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where to write the units instead of where systemd looks.",
)
def install(*, user: bool, directory: Path | None) -> None:
    """Write the units, and say how to start them. Nothing is started."""
    from agentd.packaging.install import SYSTEM_DIRECTORY, write_units  # noqa: PLC0415

    usual = Path.home() / ".config" / "systemd" / "user" if user else SYSTEM_DIRECTORY
    program = _own_executable()
    written = write_units(system=not user, directory=directory or usual, executable=program)
    for path in written:
        click.echo(path)
    scope = "systemctl --user" if user else "systemctl"
    unit = "agentd.service" if user else "agentd.socket agentd.service"
    say(f"Start it, now and at each boot: {scope} daemon-reload && {scope} enable --now {unit}")
    unseen = "" if user else unseen_by_services(program, program.resolve(), PYTHON)
    if unseen:
        say(
            f"But the machine's services do not see {unseen}: install agentd with a Python that "
            "everybody can read, below /opt for instance, and run that one's `service install`."
        )
    if user:
        say("To keep it running while you are logged out: loginctl enable-linger")


def unseen_by_services(*paths: Path) -> str:
    """Return the first path that the system's unit is kept from; empty when it sees them all."""
    return next((str(path) for path in paths if path.parts[1] in PRIVATE), "")


def _own_executable() -> Path:
    """Return the `agentd` that runs this, or the one that the shell would find."""
    own = Path(sys.argv[0])
    found = own if own.name == "agentd" and own.is_file() else shutil.which("agentd")
    if found is None:
        message = "there is no program `agentd` in the search path that a unit could start"
        raise NotFound(Reason.UNREACHABLE, message)
    return Path(found).absolute()
