"""`agentd sessions`: the conversations that runs share."""

import click

from agentd.cli.base import Group, Settings, pass_settings, run_async
from agentd.cli.inspecting import show as show_resource
from agentd.cli.output import TABLE, output_option, say, write_items, write_line
from agentd.cli.text import line, resource
from agentd.client.types import Session, to_json

COLUMNS = ("SESSION", "RUNS", "LAST RUN", "NAME")


@click.group(cls=Group)
def sessions() -> None:
    """Create, list, show and delete sessions."""


@sessions.command(examples="agentd sessions create\nagentd sessions create research")
@click.argument("name", default="")
@click.option("--display-name", default="", metavar="TEXT", help="A name for people.")
@output_option
@pass_settings
def create(settings: Settings, name: str, display_name: str, output: str) -> None:
    """Create an empty session. Without NAME, the daemon makes one."""
    wanted = Session(name=resource(name, "sessions") if name else "", display_name=display_name)

    async def work() -> Session:
        async with settings.client() as client:
            return await client.sessions.create(wanted)

    found = run_async(work())
    if output == TABLE:
        click.echo(found.name)
    else:
        write_line(to_json(found))


@sessions.command("list", examples="agentd sessions list")
@output_option
@pass_settings
def list_(settings: Settings, output: str) -> None:
    """List sessions, newest first."""

    async def work() -> list[Session]:
        async with settings.client() as client:
            return [session async for session in client.sessions.list()]

    write_items(run_async(work()), output, to_json=to_json, columns=COLUMNS, row=_row)


@sessions.command(examples="agentd sessions show research")
@click.argument("name")
@output_option
@pass_settings
def show(settings: Settings, name: str, output: str) -> None:
    """Show a session."""

    async def work() -> Session:
        async with settings.client() as client:
            return await client.sessions.get(resource(name, "sessions"))

    found = run_async(work())
    if output == TABLE:
        show_resource(found, [])
    else:
        write_line(to_json(found))


@sessions.command(examples="agentd sessions delete research")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@pass_settings
def delete(settings: Settings, names: tuple[str, ...]) -> None:
    """Delete sessions that have no unfinished run."""

    async def work() -> None:
        async with settings.client() as client:
            for name in names:
                await client.sessions.delete(resource(name, "sessions"))
                say(f"{resource(name, 'sessions')} is deleted")

    run_async(work())


def _row(session: Session) -> tuple[str, ...]:
    return (
        session.name.removeprefix("sessions/"),
        str(session.run_count),
        session.last_run.removeprefix("runs/"),
        line(session.display_name, 50),
    )
