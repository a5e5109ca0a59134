"""`agentd inspect`: one resource with all that is known of it."""

from typing import Any

import click

from agentd.cli.base import Command, Settings, pass_settings, run_async
from agentd.cli.listing import age_of, state_of
from agentd.cli.output import (
    as_json,
    output_option,
    write_document,
    write_line,
    write_pairs,
    write_table,
)
from agentd.cli.render import spent, why
from agentd.cli.text import line, lower
from agentd.client import Client
from agentd.client.types import Call, CallState, EffectClass, Run, to_json

EXAMPLES = """
agentd inspect RUN
agentd inspect runs/RUN/calls/c1-1
agentd inspect agents/default -o json
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("name")
@output_option
@pass_settings
def inspect(settings: Settings, name: str, output: str) -> None:
    """Show the resource NAME: a run (its id will do), a call, an approval, an agent, a session or a
    tool."""

    async def fetch() -> tuple[Any, list[Call]]:
        async with settings.client() as client:
            found = await find(client, name)
            calls = (
                [c async for c in client.runs.calls(found.name)] if isinstance(found, Run) else []
            )
            return found, calls

    found, calls = run_async(fetch())
    match output:
        case "json":
            write_document(to_json(found))
        case "jsonl":
            write_line(to_json(found))
        case _:
            show(found, calls)


async def find(client: Client, name: str) -> Any:
    """Return the resource of a name; a bare id is a run's."""
    match name.split("/"):
        case ["agents", _]:
            return await client.agents.get(name)
        case ["sessions", _]:
            return await client.sessions.get(name)
        case ["approvals", _]:
            return await client.approvals.get(name)
        case ["toolsets", _, "tools", _]:
            return await client.tools.get(name)
        case ["runs", _, "calls", _]:
            return await client.runs.get_call(name)
        case ["runs", _]:
            return await client.runs.get(name)
        case [_]:
            return await client.runs.get(f"runs/{name}")
        case _:
            message = f"{name} is not the name of a run, call, agent, session or tool"
            raise click.BadParameter(message, param_hint="NAME")


def show(found: Any, calls: list[Call]) -> None:
    """Write a resource for people."""
    if not isinstance(found, Run):
        enums = {field.json_name: field.enum_type for field in found.DESCRIPTOR.fields}
        write_pairs(
            (_words(key), _value(value, enums[key])) for key, value in to_json(found).items()
        )
        return
    write_pairs(
        (
            ("run", found.name),
            ("state", state_of(found)),
            ("waits for", line(found.wait_detail)),
            ("agent", f"{found.agent} at revision {found.agent_revision}"),
            ("session", found.session),
            ("model", found.model),
            ("tools", ", ".join(found.tools)),
            ("created", f"{age_of(found)} ago"),
            ("spent", spent(found.usage)),
            ("failure", why(found.failure) if found.HasField("failure") else ""),
            ("goal", found.goal),
            ("output", found.output),
        )
    )
    if calls:
        click.echo()
        write_table(("CALL", "TOOL", "STATE", "EFFECT", "ATTEMPT", "ARGUMENTS"), _rows(calls))


def _rows(calls: list[Call]) -> list[tuple[str, ...]]:
    return [
        (
            call.name.rpartition("/")[2],
            call.tool.removeprefix("toolsets/").replace("/tools/", "/"),
            lower(CallState.Name(call.state), "CALL_STATE_"),
            lower(EffectClass.Name(call.effect), "EFFECT_CLASS_"),
            str(call.attempt),
            line(call.arguments_json, 60),
        )
        for call in calls
    ]


def _words(key: str) -> str:
    """Return a JSON key as words: `createTime` as `create time`."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in key)


def _value(value: Any, enum: Any) -> str:
    """Return a field's value; that of an enum `EffectClass` without the prefix EFFECT_CLASS_."""
    if not isinstance(value, str):
        return as_json(value)
    return (
        lower(value, f"{_words(enum.name).strip().replace(' ', '_').upper()}_") if enum else value
    )
