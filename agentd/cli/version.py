"""`agentd version`: what is installed, and what answers."""

import click

from agentd import __version__
from agentd.cli.base import Command, Settings, pass_settings, run_async
from agentd.cli.output import TABLE, output_option, write_document, write_pairs


@click.command(
    cls=Command,
    examples="agentd version\nagentd version --server\nagentd version --server -o json",
)
@click.option("--server", is_flag=True, help="Ask the daemon for its versions too.")
@output_option
@pass_settings
def version(settings: Settings, server: bool, output: str) -> None:
    """Show the version of this program, and with --server those of the daemon."""
    found = {"client": __version__}
    if server:
        found |= run_async(_server(settings))
    if output != TABLE:
        write_document(found)
    else:
        write_pairs(found.items())


async def _server(settings: Settings) -> dict[str, str]:
    async with settings.client() as client:
        info = await client.system.info()
    return {"server": info.version, **dict(sorted(info.runtime_versions.items()))}
