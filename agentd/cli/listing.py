"""`agentd ps`: the runs there are."""

import sys
from collections.abc import AsyncIterator
from typing import TypeVar

import click

from agentd.cli.base import Command, Settings, pass_settings, run_async
from agentd.cli.output import output_option, write_items
from agentd.cli.text import age_of_time, dollars, line, lower, resource
from agentd.client.types import Run, RunState, WaitReason, to_json

T = TypeVar("T")

UNFINISHED = (
    RunState.RUN_STATE_PENDING,
    RunState.RUN_STATE_RUNNING,
    RunState.RUN_STATE_WAITING,
    RunState.RUN_STATE_PAUSED,
    RunState.RUN_STATE_CANCELLING,
)
COLUMNS = ("RUN", "STATE", "AGENT", "AGE", "TURNS", "COST", "GOAL")


@click.command(cls=Command, examples="agentd ps\nagentd ps -a -n 20\nagentd cancel $(agentd ps -q)")
@click.option("-a", "--all", "everything", is_flag=True, help="Ended runs too.")
@click.option("-q", "--quiet", is_flag=True, help="Names only.")
@click.option("-n", "--limit", default=100, show_default=True, type=click.IntRange(1))
@click.option("--agent", default="", metavar="AGENT", help="Runs of this agent.")
@click.option("--session", default="", metavar="SESSION", help="Runs of this session.")
@output_option
@pass_settings
def ps(
    settings: Settings, /, *, everything: bool, quiet: bool, limit: int, output: str, **of: str
) -> None:
    """List the runs that have not ended, newest first."""

    async def fetch() -> list[Run]:
        async with settings.client() as client:
            runs = client.runs.list(
                states=() if everything else UNFINISHED,
                agent=resource(of["agent"], "agents") if of["agent"] else "",
                session=resource(of["session"], "sessions") if of["session"] else "",
            )
            return await take(runs, limit)

    found = run_async(fetch())
    if quiet:
        sys.stdout.writelines(f"{run.name}\n" for run in found)
    else:
        write_items(found, output, to_json=to_json, columns=COLUMNS, row=_row)


def _row(run: Run) -> tuple[str, ...]:
    return (
        run.name.removeprefix("runs/"),
        state_of(run),
        run.agent.removeprefix("agents/"),
        age_of(run),
        str(run.usage.turns),
        dollars(run.usage.cost_nanos),
        line(run.goal, 60),
    )


def state_of(run: Run) -> str:
    """Return a run's state for people, with what it waits for."""
    state = lower(RunState.Name(run.state), "RUN_STATE_")
    if run.wait_reason:
        state += f" ({lower(WaitReason.Name(run.wait_reason), 'WAIT_REASON_')})"
    return state


def age_of(run: Run) -> str:
    """Return how long ago a run was created."""
    return age_of_time(run.create_time)


async def take(items: AsyncIterator[T], limit: int) -> list[T]:
    """Return the first items of an iterator."""
    found: list[T] = []
    async for item in items:
        found.append(item)
        if len(found) >= limit:
            break
    return found
