"""`agentd approvals`, `approve` and `deny`: what waits for a person, and the person's answer."""

import json

import click

from agentd.cli.base import Command, Settings, pass_settings, run_async
from agentd.cli.listing import take
from agentd.cli.output import output_option, say, write_items
from agentd.cli.questions import decided, find, question_lines, state_of, subject_of
from agentd.cli.text import age_of_time, line, resource
from agentd.client.types import Approval, ApprovalScope, ApprovalState, to_json

COLUMNS = ("APPROVAL", "RUN", "STATE", "AGE", "TOOL", "ARGUMENTS")
SCOPES = {
    "": ApprovalScope.APPROVAL_SCOPE_ONCE,
    "run": ApprovalScope.APPROVAL_SCOPE_RUN,
    "agent": ApprovalScope.APPROVAL_SCOPE_AGENT,
}


@click.command(
    cls=Command,
    examples="agentd approvals\nagentd approvals --run RUN -a\nagentd approvals -o json",
)
@click.option("-a", "--all", "everything", is_flag=True, help="Decided ones too.")
@click.option("--run", default="", metavar="RUN", help="Those of this run.")
@click.option("-n", "--limit", default=100, show_default=True, type=click.IntRange(1))
@output_option
@pass_settings
def approvals(settings: Settings, *, everything: bool, run: str, limit: int, output: str) -> None:
    """List the calls and plans that wait for a person's decision, newest first."""

    async def fetch() -> list[Approval]:
        async with settings.client() as client:
            found = client.approvals.list(
                states=() if everything else (ApprovalState.APPROVAL_STATE_PENDING,),
                run=resource(run, "runs") if run else "",
            )
            return await take(found, limit)

    write_items(run_async(fetch()), output, to_json=to_json, columns=COLUMNS, row=_row)


@click.command(
    cls=Command,
    examples="""
    agentd approve APPROVAL
    agentd approve runs/RUN/calls/c1-1 --always run
    agentd approve APPROVAL --edit '{"to": "ann"}'
    """,
)
@click.argument("name")
@click.option(
    "--always",
    type=click.Choice(["run", "agent"]),
    default=None,
    help="Later calls that need no more pass too: of this run, or of every run of its agent.",
)
@click.option("--edit", metavar="JSON", help="Arguments to execute the call with instead.")
@click.option("--reason", default="", help="Why, for the record.")
@pass_settings
def approve(
    settings: Settings, *, name: str, always: str | None, edit: str | None, reason: str
) -> None:
    """Allow the call of the approval NAME, with the arguments that are shown. The name of the call
    will do."""
    if edit is not None:
        try:
            json.loads(edit)
        except ValueError as fault:
            raise click.BadParameter(f"this is not JSON: {fault}", param_hint="--edit") from fault

    async def work() -> Approval:
        async with settings.client() as client:
            found = await find(client, name)
            for text in question_lines(found):
                say(text)
            return await client.approvals.allow(
                found,
                scope=SCOPES[always or ""],
                edited_arguments_json=edit or "",
                reason=reason,
            )

    say(decided(run_async(work())))


@click.command(cls=Command, examples='agentd deny APPROVAL --reason "ask her first"')
@click.argument("name")
@click.option("--reason", default="", help="Why: the model is told.")
@pass_settings
def deny(settings: Settings, *, name: str, reason: str) -> None:
    """Refuse the call of the approval NAME. The name of the call will do."""

    async def work() -> Approval:
        async with settings.client() as client:
            found = await find(client, name)
            return await client.approvals.deny(found.name, reason=reason)

    say(decided(run_async(work())))


def _row(approval: Approval) -> tuple[str, ...]:
    return (
        approval.name.removeprefix("approvals/"),
        approval.run.removeprefix("runs/"),
        state_of(approval),
        age_of_time(approval.create_time),
        subject_of(approval),
        line(approval.arguments_json, 60),
    )
