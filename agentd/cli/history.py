"""`agentd logs` and `agentd events`: what happened, for people and for programs."""

import sys
from datetime import UTC
from typing import Any

import click

from agentd.cli.base import Command, Settings, pass_settings, run_async
from agentd.cli.exits import Exit
from agentd.cli.following import Follower, tell_end
from agentd.cli.output import TABLE, as_json, output_option, write_document, write_line
from agentd.cli.render import Renderer
from agentd.cli.talk import Talk
from agentd.cli.text import line, resource
from agentd.client import ENDED
from agentd.client.types import Event, EventFilter, to_json

FOLLOW = click.option("-f", "--follow", is_flag=True, help="Go on as more happens.")


@click.command(cls=Command, examples="agentd logs RUN\nagentd logs -f RUN\nagentd logs RUN | less")
@click.argument("run")
@FOLLOW
@pass_settings
def logs(settings: Settings, run: str, *, follow: bool) -> int:
    """Show the history of a RUN: goal, model text, tool calls and their results.

    With -f, shows what happens until the run has ended; Ctrl-C leaves it running.
    """
    return run_async(_logs(settings, resource(run, "runs"), follow=follow))


async def _logs(settings: Settings, name: str, *, follow: bool) -> Exit:
    talk = Talk(sys.stdout)
    async with settings.client() as client:
        run = await client.runs.get(name)
        talk.say(f"> {line(run.goal)}", "bold")
        renderer = Renderer(sys.stdout, talk)
        chosen = EventFilter(runs=[name])
        if follow and run.state not in ENDED:
            watch = client.watch(chosen, include_deltas=True, until_ended=True, sequences={name: 0})
            return await Follower(client, name, watch, renderer, Talk(sys.stderr)).follow()
        async for event in client.events(chosen):
            renderer.show(event)
        renderer.close()
        if run.state in ENDED:
            tell_end(run, Talk(sys.stderr))
    return Exit.OK


@click.command(
    cls=Command,
    examples="agentd events --run RUN\nagentd events -f\nagentd events -f -o jsonl --after 1200",
)
@FOLLOW
@click.option("--run", "runs", multiple=True, metavar="RUN", help="Events of this run. Repeatable.")
@click.option("--agent", default="", metavar="AGENT", help="Events of the runs of this agent.")
@click.option("--session", default="", metavar="SESSION", help="Events of this session's runs.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="As call_ended. Repeatable.")
@click.option(
    "--after",
    default=None,
    type=click.IntRange(0),
    metavar="REVISION",
    help="Events after this revision. [default: all; with -f from now on]",
)
@output_option
@pass_settings
def events(settings: Settings, /, *, follow: bool, output: str, **options: Any) -> int:
    """Show the journal's events, oldest first. `-o jsonl` writes them whole, one a line."""
    after = options["after"]
    chosen = EventFilter(
        runs=[resource(run, "runs") for run in options["runs"]],
        agent=resource(options["agent"], "agents") if options["agent"] else "",
        session=resource(options["session"], "sessions") if options["session"] else "",
        kinds=options["kinds"],
    )
    if follow and output == "json":
        raise click.UsageError("A stream has no end to make one document of: use -o jsonl with -f.")
    if follow:
        start = after if after is not None else (0 if chosen.runs else -1)
        return run_async(_follow_events(settings, chosen, start, output))
    return run_async(_list_events(settings, chosen, after or 0, output))


async def _list_events(settings: Settings, chosen: EventFilter, after: int, output: str) -> Exit:
    async with settings.client() as client:
        found = client.events(chosen, after_revision=after)
        if output == "json":
            write_document([to_json(event) async for event in found])
            return Exit.OK
        async for event in found:
            _write(event, output)
    return Exit.OK


async def _follow_events(settings: Settings, chosen: EventFilter, after: int, output: str) -> Exit:
    talk = Talk(sys.stderr)
    async with settings.client() as client:
        watch = client.watch(
            chosen,
            after_revision=after,
            until_ended=bool(chosen.runs),
            on_interruption=talk.cut,
        )
        async for event in watch:
            if isinstance(event, Event):
                _write(event, output)
    return Exit.OK


def _write(event: Event, output: str) -> None:
    if output != TABLE:
        write_line(to_json(event))
        return
    kind = event.WhichOneof("payload") or "?"
    time = event.time.ToDatetime(tzinfo=UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    payload = to_json(getattr(event, kind)) if kind != "?" else {}
    run = event.run.removeprefix("runs/")
    said = line(as_json(payload), 120) if payload else ""
    row = f"{event.revision:>8}  {time}  {run}  {event.sequence:>4}  {kind:<18}  {said}"
    sys.stdout.write(row.rstrip() + "\n")
    sys.stdout.flush()
