"""What every command is made of: help with examples first, settings, and the way to the daemon."""

import os
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentd.cli.text import seconds_of

if TYPE_CHECKING:
    from agentd.client import Client
    from agentd.config import Config

T = TypeVar("T")


class Command(click.Command):
    """A command whose help starts with examples."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then what click writes."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples.strip().splitlines():
                    formatter.write_text(example.strip())
            formatter.write_paragraph()
        super().format_help(ctx, formatter)


class Group(click.Group):
    """A group that suggests what a mistyped command may have meant."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which ones are near."""
        from difflib import get_close_matches  # noqa: PLC0415

        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = get_close_matches(args[0], self.list_commands(ctx), n=3, cutoff=0.5)
            advice = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"There is no command {args[0]!r}.{advice}")
        return super().resolve_command(ctx, args)


@dataclass
class Settings:
    """What the flags before the command say, and what follows from them."""

    flags: dict[str, str] = field(default_factory=dict)
    """Texts by configuration key."""

    @cached_property
    def config(self) -> "Config":
        """The configuration. Raises InvalidRequest (INVALID_CONFIG)."""
        from agentd.config import load  # noqa: PLC0415

        return load(self.flags)

    @property
    def address(self) -> str:
        """Where the daemon is: as configured, else the user's own if it is there, else the
        system's if that is there and lets the user in, else where the user's own would be."""
        from agentd.config import SYSTEM_SOCKET  # noqa: PLC0415

        if self.config.client.address:
            return self.config.client.address
        own = self.config.server.socket
        chosen = self.config.origin("server.socket").kind != "default"
        if chosen or own.exists() or not os.access(SYSTEM_SOCKET, os.W_OK):
            return f"unix:{own}"
        return f"unix:{SYSTEM_SOCKET}"

    def client(self, *, attempts: int = 4) -> "Client":
        """Return a client, which has dialled nothing yet."""
        from agentd.client import RetryPolicy, connect  # noqa: PLC0415

        config = self.config.client
        return connect(
            self.address,
            token_file=config.token_file,
            namespace=config.namespace,
            retry=RetryPolicy(attempts=attempts),
        )


class Duration(click.ParamType[float]):
    """Seconds, written as 90, 90s, 5m or 2h."""

    name = "DURATION"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds, or fail as click does."""
        if isinstance(value, float):
            return value
        try:
            return seconds_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = Duration()

pass_settings = click.make_pass_decorator(Settings, ensure=True)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    import asyncio  # noqa: PLC0415

    return asyncio.run(work)
