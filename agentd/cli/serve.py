"""`agentd serve`: the daemon in the foreground."""

import click

from agentd.cli.base import Command, Settings, pass_settings

FLAGS = {
    "socket": "server.socket",
    "tcp": "server.tcp",
    "http": "server.http",
    "state_directory": "state.directory",
    "log_level": "log.level",
}

EXAMPLES = """
agentd serve
agentd serve --socket /tmp/agentd.sock --state-directory /tmp/agentd
agentd --set server.token_file=/etc/agentd/token serve --tcp 127.0.0.1:7431
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.option("--socket", metavar="PATH", help="The Unix socket.")
@click.option("--tcp", metavar="HOST:PORT", help="A TCP address as well; needs a token.")
@click.option("--http", metavar="HOST:PORT", help="An address for HTTP; needs a token.")
@click.option("--state-directory", metavar="DIR", help="Where the journal is kept.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@pass_settings
def serve(settings: Settings, /, **options: str | None) -> int:
    """Run the daemon in the foreground until SIGTERM or Ctrl-C.

    Work in progress is given time to end; what has not ended goes on at the next start.
    """
    from agentd import daemon  # noqa: PLC0415

    settings.flags |= {FLAGS[name]: value for name, value in options.items() if value is not None}
    return daemon.serve(settings.config, settings.flags)
