"""`agentd config`: what the configuration is, and where each value came from."""

import click

from agentd.cli.base import Group, Settings, pass_settings
from agentd.cli.output import output_option, say, write_items


@click.group(cls=Group)
def config() -> None:
    """Show and check the configuration."""


@config.command(
    examples="agentd config show\nagentd config show --origin\nagentd config show -o json"
)
@click.option("--origin", is_flag=True, help="Where each value came from.")
@output_option
@pass_settings
def show(settings: Settings, origin: bool, output: str) -> None:
    """Show every value in force. Secrets are hidden."""
    rows = [(name, value, str(where)) for name, value, where in settings.config.describe()]
    count = 3 if origin else 2
    write_items(
        rows,
        output,
        to_json=lambda row: dict(zip(("key", "value", "origin"), row, strict=True)),
        columns=("KEY", "VALUE", "ORIGIN")[:count],
        row=lambda row: row[:count],
    )


@config.command(examples="agentd config default > agentd.toml")
def default() -> None:
    """Print a file with every key at its default."""
    from agentd.config import default_toml  # noqa: PLC0415

    click.echo(default_toml(), nl=False)


@config.command(examples="agentd config check")
@pass_settings
def check(settings: Settings) -> None:
    """Say whether the configuration can be used; exit code 2 when it cannot."""
    count = len(settings.config.describe())
    say(f"The configuration is valid: {count} values.")
