"""`agentd trace`: a run as a tree, with what each part of it took."""

import sys

import click

from agentd.cli.base import Command, Settings, pass_settings, run_async
from agentd.cli.output import output_option, write_document, write_line
from agentd.cli.text import clean, dollars, resource
from agentd.cli.tree import Step, tree_of
from agentd.client.types import Event, EventFilter

EXAMPLES = """
agentd trace RUN
agentd trace RUN -o json
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("run")
@output_option
@pass_settings
def trace(settings: Settings, run: str, output: str) -> None:
    """Draw a RUN as a tree: its phases, tasks, model turns and calls, with time, tokens and
    cost. A part's figures include those of its parts."""
    name = resource(run, "runs")

    async def fetch() -> list[Event]:
        async with settings.client() as client:
            await client.runs.get(name)
            return [event async for event in client.events(EventFilter(runs=[name]))]

    root = tree_of(run_async(fetch()))
    match output:
        case "json":
            write_document(root.as_json())
        case "jsonl":
            write_line(root.as_json())
        case _:
            sys.stdout.write("".join(f"{clean(each)}\n" for each in drawn(root)))


def drawn(root: Step) -> list[str]:
    """Return the lines of a tree."""
    lines = [_told(root)]

    def draw(step: Step, margin: str) -> None:
        for index, part in enumerate(step.parts, 1):
            last = index == len(step.parts)
            lines.append(f"{margin}{'└─ ' if last else '├─ '}{_told(part)}")
            draw(part, margin + ("   " if last else "│  "))

    draw(root, "")
    return lines


def _told(step: Step) -> str:
    took = "" if step.seconds is None or step.kind == "note" else f"{step.seconds:.2f}s"
    tokens = f"{step.tokens} tokens" if step.tokens else ""
    figures = "  ".join(each for each in (took, tokens, dollars(step.cost)) if each)
    parts = [step.name, step.state, figures, step.detail]
    return "  ".join(part for part in parts if part)
