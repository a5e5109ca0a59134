"""`agentd tools`: which tools there are, and hosting a file of them."""

import sys
from pathlib import Path

import click

from agentd.cli.base import Group, Settings, pass_settings, run_async
from agentd.cli.exits import Exit
from agentd.cli.inspecting import show as show_resource
from agentd.cli.interrupts import Interrupts
from agentd.cli.output import TABLE, output_option, write_items, write_line
from agentd.cli.talk import Talk
from agentd.cli.text import clean, line, lower
from agentd.cli.toolfile import load_functions, toolset_for
from agentd.client.types import EffectClass, Tool, to_json

COLUMNS = ("TOOL", "AVAILABLE", "EFFECT", "DESCRIPTION")


@click.group(cls=Group)
def tools() -> None:
    """List and show tools, or host a file of them."""


@tools.command("list", examples="agentd tools list\nagentd tools list --toolset files -o json")
@click.option("--toolset", default="", metavar="NAME", help="Tools of this toolset.")
@output_option
@pass_settings
def list_(settings: Settings, toolset: str, output: str) -> None:
    """List the known tools, whether or not their host is connected."""
    name = f"toolsets/{toolset.removeprefix('toolsets/')}" if toolset else ""

    async def work() -> list[Tool]:
        async with settings.client() as client:
            return [tool async for tool in client.tools.list(toolset=name)]

    write_items(run_async(work()), output, to_json=to_json, columns=COLUMNS, row=_row)


@tools.command(examples="agentd tools show files/read")
@click.argument("name", metavar="TOOLSET/TOOL")
@output_option
@pass_settings
def show(settings: Settings, name: str, output: str) -> None:
    """Show a tool."""
    toolset, _, tool = name.partition("/")
    full = name if name.startswith("toolsets/") else f"toolsets/{toolset}/tools/{tool}"

    async def work() -> Tool:
        async with settings.client() as client:
            return await client.tools.get(full)

    found = run_async(work())
    if output == TABLE:
        show_resource(found, [])
    else:
        write_line(to_json(found))


@tools.command(examples='agentd tools host folder.py\nagentd run --use "folder/*" "Tidy up"')
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--toolset", default="", metavar="NAME", help="[default: made from the file's name]")
@click.option("--host", default="", metavar="ID", help="An id to keep over restarts.")
@click.option("--capacity", default=16, show_default=True, type=click.IntRange(1, 10_000))
@pass_settings
def host(settings: Settings, file: Path, toolset: str, host: str, capacity: int) -> int:
    """Offer the functions of FILE as tools, until Ctrl-C."""
    functions = load_functions(file)
    talk = Talk(sys.stderr)

    async def work() -> Exit:
        interrupts = Interrupts()
        name = toolset or toolset_for(file)
        async with (
            settings.client() as client,
            client.host(name, functions, host=host, capacity=capacity) as hosted,
        ):
            for tool in hosted.tools:
                talk.say(f"{name}/{tool.name.rpartition('/')[2]}: {line(tool.description, 100)}")
            talk.say("Hosting. Ctrl-C stops when the calls in progress have ended.")
            with interrupts.installed():
                await interrupts.reach(1)
        return Exit.OK

    return run_async(work())


@tools.command(examples="agentd tools accept git\nagentd tools accept git --digest 5f2c…")
@click.argument("server", metavar="SERVER")
@click.option("--digest", default="", help="Accept what has this digest, without showing it.")
@pass_settings
def accept(settings: Settings, server: str, digest: str) -> None:
    """Accept the changed tools of an MCP server. Without --digest, shows what has changed."""

    async def work() -> None:
        async with settings.client() as client:
            if digest:
                await client.tools.accept(f"toolsets/mcp-{server}", digest)
                return
            info = await client.system.info()
            states = {state.name: state for state in info.mcp_servers}
            state = states.get(server)
            if state is None:
                known = ", ".join(states) or "none"
                raise click.UsageError(f"there is no MCP server {server!r}; there are: {known}")
            if not state.offered_digest:
                sys.stdout.write(f"{server} offers what was accepted.\n")
                return
            for change in state.changes:
                sys.stdout.write(clean(change) + "\n")
            sys.stdout.write(
                f"Accept: agentd tools accept {server} --digest {state.offered_digest}\n"
            )

    run_async(work())


def _row(tool: Tool) -> tuple[str, ...]:
    return (
        tool.name.removeprefix("toolsets/").replace("/tools/", "/"),
        "yes" if tool.available else "no",
        lower(EffectClass.Name(tool.effect), "EFFECT_CLASS_"),
        line(tool.description, 70),
    )
