"""`agentd agents`: the specifications that runs are made from."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import click

from agentd.cli.base import Group, Settings, pass_settings, run_async
from agentd.cli.inspecting import show as show_resource
from agentd.cli.output import TABLE, output_option, say, write_items, write_line
from agentd.cli.text import line, lower, resource
from agentd.client.types import (
    Agent,
    ModelRoute,
    PermissionRule,
    Protocol,
    Purpose,
    from_json,
    to_json,
)


@click.group(cls=Group)
def agents() -> None:
    """Create, list, show, change and delete agents."""


_PROTOCOLS = {
    "direct": Protocol.PROTOCOL_DIRECT,
    "lifecycle": Protocol.PROTOCOL_LIFECYCLE,
}


def spec_options(command: Any) -> Any:
    """Add the options that say what an agent is."""
    for option in (
        click.option(
            "--file",
            type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True),
            metavar="SPEC",
            help="A TOML or JSON file with the fields of an Agent; - reads JSON from stdin.",
        ),
        click.option("--instructions", metavar="TEXT", help="The system instructions."),
        click.option("--model", metavar="PROVIDER/MODEL", help="The model that does the work."),
        click.option("--tool", "tools", multiple=True, metavar="PATTERN", help="As toolset/*."),
        click.option(
            "--protocol",
            type=click.Choice(list(_PROTOCOLS)),
            help="How it reasons: at once, or by a plan.",
        ),
        *(
            click.option(f"--{word}", multiple=True, metavar="PERMISSION", help=text)
            for word, text in (
                ("allow", "A rule: calls may have it, such as 'tool.use:mail/*'."),
                ("ask", "A rule: a person is asked before a call may have it."),
                ("deny", "A rule: no call may have it. Without any rule, the default ones hold."),
            )
        ),
    ):
        command = option(command)
    return command


@agents.command(
    examples="""
    agentd agents create helper --instructions "Answer in French."
    agentd agents create reviewer --model anthropic/claude-sonnet-4-5 --tool "files/*"
    agentd agents create clerk --tool "mail/*" --allow "tool.use:*" --ask "tool.use:mail/send"
    agentd agents create --file reviewer.toml
    """
)
@click.argument("name", default="")
@spec_options
@output_option
@pass_settings
def create(settings: Settings, /, name: str, output: str, **options: Any) -> None:
    """Create an agent. Without NAME, the file names it, or the daemon does."""
    agent = _spec(name, **options)

    async def work() -> Agent:
        async with settings.client() as client:
            return await client.agents.create(agent)

    _print(run_async(work()), output)


@agents.command(examples='agentd agents update helper --instructions "Answer in Breton."')
@click.argument("name")
@spec_options
@output_option
@pass_settings
def update(settings: Settings, /, name: str, output: str, **options: Any) -> None:
    """Make a new revision with the given fields changed."""
    agent = _spec(name, **options)
    fields = [entry.name for entry, _ in agent.ListFields() if entry.name not in ("name", "etag")]
    if not fields:
        raise click.UsageError("Nothing to change was given.")

    async def work() -> Agent:
        async with settings.client() as client:
            return await client.agents.update(agent, fields=fields)

    _print(run_async(work()), output)


@agents.command("list", examples="agentd agents list\nagentd agents list -o jsonl")
@output_option
@pass_settings
def list_(settings: Settings, output: str) -> None:
    """List agents at their newest revisions."""

    async def work() -> list[Agent]:
        async with settings.client() as client:
            return [agent async for agent in client.agents.list()]

    _write_agents(run_async(work()), output)


@agents.command(examples="agentd agents show default\nagentd agents show helper --revision 2")
@click.argument("name")
@click.option("--revision", default=0, type=click.IntRange(0), help="[default: the newest]")
@output_option
@pass_settings
def show(settings: Settings, name: str, revision: int, output: str) -> None:
    """Show an agent."""

    async def work() -> Agent:
        async with settings.client() as client:
            return await client.agents.get(resource(name, "agents"), revision=revision)

    _print(run_async(work()), output)


@agents.command(examples="agentd agents revisions helper")
@click.argument("name")
@output_option
@pass_settings
def revisions(settings: Settings, name: str, output: str) -> None:
    """List the revisions of an agent, newest first."""

    async def work() -> list[Agent]:
        async with settings.client() as client:
            return [agent async for agent in client.agents.revisions(resource(name, "agents"))]

    _write_agents(run_async(work()), output)


@agents.command(examples="agentd agents delete helper")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@pass_settings
def delete(settings: Settings, names: tuple[str, ...]) -> None:
    """Delete agents. Their runs go on."""

    async def work() -> None:
        async with settings.client() as client:
            for name in names:
                await client.agents.delete(resource(name, "agents"))
                say(f"{resource(name, 'agents')} is deleted")

    run_async(work())


def _spec(
    name: str,
    *,
    file: Path | None,
    instructions: str | None,
    model: str | None,
    tools: tuple[str, ...],
    **more: Any,
) -> Agent:
    agent = _read(file) if file is not None else Agent()
    if name:
        agent.name = resource(name, "agents")
    if instructions is not None:
        agent.instructions = instructions
    if model is not None:
        agent.models.append(ModelRoute(purpose=Purpose.PURPOSE_EXECUTION, model=model))
    agent.tools.extend(tools)
    if protocol := more.pop("protocol"):
        agent.protocol = _PROTOCOLS[protocol]
    for word, permissions in more.items():
        decision = f"DECISION_{word.upper()}"
        agent.permissions.extend(
            PermissionRule(decision=decision, permission=each) for each in permissions
        )
    return agent


def _read(file: Path) -> Agent:
    """Return the agent of a file. A bare id in `name` will do."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        spec = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{file} cannot be read: {error}", param_hint="--file") from error
    agent = from_json(spec, Agent)
    if agent.name:
        agent.name = resource(agent.name, "agents")
    return agent


def _print(agent: Agent, output: str) -> None:
    if output == TABLE:
        show_resource(agent, [])
    else:
        write_line(to_json(agent))


def _write_agents(found: list[Agent], output: str) -> None:
    columns = ("AGENT", "REVISION", "PROTOCOL", "MODELS", "TOOLS", "INSTRUCTIONS")
    write_items(found, output, to_json=to_json, columns=columns, row=_row)


def _row(agent: Agent) -> tuple[str, ...]:
    return (
        agent.name.removeprefix("agents/"),
        str(agent.revision),
        lower(Protocol.Name(agent.protocol), "PROTOCOL_"),
        ", ".join(route.model for route in agent.models),
        ", ".join(agent.tools),
        line(agent.instructions, 50),
    )
