"""The command line's front door: reads arguments and imports a command only when it is called."""

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from agentd import __version__
from agentd.cli.base import Group, Settings
from agentd.cli.exits import Exit, exit_of
from agentd.errors import AgentdError, Reason

COMMANDS = {
    "run": ("agentd.cli.run", "Pursue a goal and show the answer."),
    "ps": ("agentd.cli.listing", "List runs."),
    "inspect": ("agentd.cli.inspecting", "Show a run, a call, an agent, a session or a tool."),
    "logs": ("agentd.cli.history", "Show what happened in a run, for people."),
    "events": ("agentd.cli.history", "Show or follow the journal's events."),
    "trace": ("agentd.cli.tracing", "Draw a run as a tree, with what each part took."),
    "send": ("agentd.cli.steering", "Give a run a message."),
    "wait": ("agentd.cli.steering", "Wait until a run has ended."),
    "cancel": ("agentd.cli.steering", "Cancel runs and report what stopped."),
    "pause": ("agentd.cli.steering", "Stop new work of a run."),
    "resume": ("agentd.cli.steering", "Let a paused run go on."),
    "resolve": ("agentd.cli.steering", "Say what became of a call of unknown outcome."),
    "approvals": ("agentd.cli.approvals", "List what waits for a person's decision."),
    "approve": ("agentd.cli.approvals", "Allow a call that waits."),
    "deny": ("agentd.cli.approvals", "Refuse a call that waits."),
    "explain": ("agentd.cli.explaining", "Say which rule decided about a call."),
    "agents": ("agentd.cli.agents", "Create, list, show, change and delete agents."),
    "sessions": ("agentd.cli.sessions", "Create, list, show and delete sessions."),
    "memory": ("agentd.cli.memory", "Search, add, list, show, forget and move memories."),
    "tools": ("agentd.cli.tools", "List and show tools, or host a file of them."),
    "models": ("agentd.cli.models", "List models, or get a local one."),
    "serve": ("agentd.cli.serve", "Run the daemon in the foreground."),
    "service": ("agentd.cli.service", "Make the daemon a service of systemd."),
    "config": ("agentd.cli.configuration", "Show and check the configuration."),
    "doctor": ("agentd.cli.doctor", "Look for what is wrong, and say what to do."),
    "version": ("agentd.cli.version", "Show versions."),
}
"""Each command with its module and its help, so that help imports no command."""

HELP = """Run AI agents.

\b
agentd run "What is the capital of France?"
agentd run --tools folder.py "Which of these files is the largest?"
agentd ps
agentd logs -f RUN
"""


class LazyGroup(Group):
    """Imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of use."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=HELP,
)
@click.version_option(__version__, "--version", prog_name="agentd", message="%(prog)s %(version)s")
@click.option("--address", metavar="ADDRESS", help="unix:/PATH or HOST:PORT of the daemon.")
@click.option("--namespace", metavar="NAME", help="The namespace to work in.")
@click.option("--token-file", metavar="FILE", help="The file with the token, for TCP.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A configuration value.")
@click.pass_context
def cli(
    ctx: click.Context,
    address: str | None,
    namespace: str | None,
    token_file: str | None,
    pairs: tuple[str, ...],
) -> None:
    """Take what stands before the command."""
    flags: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--set")
        flags[key] = value
    given = {"address": address, "namespace": namespace, "token_file": token_file}
    flags |= {f"client.{key}": value for key, value in given.items() if value is not None}
    ctx.obj = Settings(flags)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, by default that of this process's arguments, and return its exit code."""
    try:
        code = cli.main(arguments, prog_name="agentd", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader has gone, which is its right; Python must not complain of it at the end.
        sys.stdout = None
        return Exit.OK
    except AgentdError as error:
        _explain(error)
        return exit_of(error)
    return int(code or 0)


def _explain(error: AgentdError) -> None:
    from agentd.cli.output import say  # noqa: PLC0415

    say(f"agentd: {error.message}")
    for fault in error.faults:
        if fault.field not in error.message:
            say(f"  {fault.field}: {fault.description}")
    if error.reason is Reason.UNREACHABLE and "code" in error.metadata:
        say("Is it running? `agentd serve` starts it, `agentd doctor` looks for what is wrong.")
