"""`agentd run`: pursues a goal and shows the answer, from nothing but an installed package."""

import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from agentd.cli.autostart import find_or_start
from agentd.cli.base import DURATION, Command, Settings, pass_settings, run_async
from agentd.cli.exits import Exit
from agentd.cli.following import Follower
from agentd.cli.output import write_document, write_line
from agentd.cli.prompting import Prompter
from agentd.cli.readiness import ensure_model
from agentd.cli.render import EventLines, Renderer
from agentd.cli.talk import Talk
from agentd.cli.text import clean, resource
from agentd.cli.toolfile import load_functions, toolset_for
from agentd.client import Client
from agentd.client.host import THREAD_NAME
from agentd.client.types import Budget, CreateRunResponse, Run, to_json

TEXT, JSON, JSONL = "text", "json", "jsonl"

EXAMPLES = """
agentd run "Write a haiku about queues"
agentd run --tools folder.py "Which of these files is the largest?"
git diff | agentd run --model anthropic/claude-sonnet-4-5 --max-cost 0.10 -
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of a run."""

    goal: str
    agent: str
    model: str
    session: str
    tools: tuple[Path, ...]
    use: tuple[str, ...]
    toolset: str
    workspace: Path | None
    max_turns: int
    max_tokens: int
    max_cost: float
    timeout: float
    simulate: bool
    detach: bool
    yes: bool
    output: str


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("goal")
@click.option("--agent", default="", metavar="AGENT", help="The agent. [default: default]")
@click.option("--model", default="", metavar="PROVIDER/MODEL", help="The model, for this run.")
@click.option("--session", default="", metavar="SESSION", help="The conversation to continue.")
@click.option(
    "--tools",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.py",
    help="Offer the functions of a Python file as tools, from this process. Repeatable.",
)
@click.option("--toolset", default="", metavar="NAME", help="The toolset of --tools.")
@click.option("--use", multiple=True, metavar="PATTERN", help="Other tools, such as files/*.")
@click.option(
    "--workspace",
    default=None,
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    metavar="DIR",
    help="The folder that files/* and process/* work in. [default: one of the run's own]",
)
@click.option("--max-turns", default=0, type=click.IntRange(0), help="The most model turns.")
@click.option("--max-tokens", default=0, type=click.IntRange(0), help="The most tokens in all.")
@click.option("--max-cost", default=0.0, type=click.FloatRange(0), help="The most US dollars.")
@click.option("--timeout", default=0.0, type=DURATION, help="How long the run may take, as 5m.")
@click.option("--simulate", is_flag=True, help="End with the plan, and what it would do.")
@click.option("-d", "--detach", is_flag=True, help="Print the run's name and leave it running.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before getting a large local model.")
@click.option(
    "-o",
    "--output",
    type=click.Choice([TEXT, JSON, JSONL]),
    default=TEXT,
    show_default=True,
    help="The answer, the run as JSON at its end, or its events one a line.",
)
@pass_settings
def run(settings: Settings, /, **options: Any) -> int:
    """Pursue a GOAL and show the answer. `-` reads the goal from stdin.

    Starts the daemon if none runs, and gets a small local model if there is no other. Ctrl-C leaves
    the run running; twice cancels it. Exit codes: 0 succeeded, 1 failed, 2 usage, 3 daemon
    unreachable, 4 not found, 5 denied or needs a decision, 6 timed out, 130 interrupted.
    """
    chosen = Options(**options)
    if chosen.detach and chosen.tools:
        raise click.UsageError("--tools are hosted by this process: they cannot go with --detach.")
    if chosen.toolset and len(chosen.tools) != 1:
        raise click.UsageError("--toolset names the toolset of exactly one --tools.")
    code = run_async(_run(settings, chosen))
    _leave_threads_behind(code)
    return code


async def _run(settings: Settings, options: Options) -> Exit:
    talk = Talk(sys.stderr)
    goal = sys.stdin.read() if options.goal == "-" else options.goal
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(settings.client())
        found = await find_or_start(settings, talk.say)
        await ensure_model(settings, client, found, options.model, talk, yes=options.yes)
        toolsets = await stack.enter_async_context(_hosting(client, options))
        created = await client.runs.create(_new_run(goal, options, toolsets))
        if options.detach:
            _print_created(created, options.output)
            return Exit.OK
        return await _follow(client, created, options, talk)


@asynccontextmanager
async def _hosting(client: Client, options: Options) -> AsyncIterator[list[str]]:
    """Host the files of tools; yield their toolsets."""
    async with AsyncExitStack() as stack:
        toolsets = [options.toolset or toolset_for(path) for path in options.tools]
        for path, toolset in zip(options.tools, toolsets, strict=True):
            await stack.enter_async_context(client.host(toolset, load_functions(path)))
        yield toolsets


def _new_run(goal: str, options: Options, toolsets: list[str]) -> Run:
    budget = Budget(
        max_turns=options.max_turns,
        max_tokens=options.max_tokens,
        max_cost_nanos=round(options.max_cost * 1e9),
    )
    if options.timeout:
        budget.max_wall_time.FromNanoseconds(round(options.timeout * 1e9))
    return Run(
        goal=goal,
        agent=resource(options.agent, "agents") if options.agent else "",
        session=resource(options.session, "sessions") if options.session else "",
        model=options.model,
        tools=[*options.use, *(f"{toolset}/*" for toolset in toolsets)],
        budget=budget,
        workspace=str(options.workspace or ""),
        simulate_only=options.simulate,
    )


async def _follow(client: Client, created: CreateRunResponse, options: Options, talk: Talk) -> Exit:
    name = created.run.name
    live = options.output == TEXT and sys.stdout.isatty()
    follower = Follower(
        client,
        name,
        client.follow(created, on_interruption=talk.cut),
        EventLines() if options.output == JSONL else Renderer(sys.stdout if live else None, talk),
        talk,
        hosts_tools=bool(options.tools),
        prompter=Prompter(client, talk) if talk.is_terminal and sys.stdin.isatty() else None,
    )
    code = await follower.follow()
    if options.output == JSON:
        write_document(to_json(await client.runs.get(name)))
    elif options.output == TEXT and not live and code is Exit.OK:
        sys.stdout.write(clean((await client.runs.get(name)).output) + "\n")
    return code


def _print_created(created: CreateRunResponse, output: str) -> None:
    if output == TEXT:
        sys.stdout.write(created.run.name + "\n")
    else:
        write_line(to_json(created.run))


def _leave_threads_behind(code: int) -> None:
    """End the process at once when a tool still runs in a thread, which Python would wait for."""
    if any(thread.name.startswith(THREAD_NAME) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
