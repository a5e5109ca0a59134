"""`agentd send`, `wait`, `cancel`, `pause`, `resume`, `resolve`: what a person does to a run."""

import json
import sys
from typing import Any

import click

from agentd.cli.base import DURATION, Command, Settings, pass_settings, run_async
from agentd.cli.exits import Exit
from agentd.cli.following import tell_end
from agentd.cli.listing import state_of
from agentd.cli.output import TABLE, output_option, say, write_document, write_line
from agentd.cli.render import report_lines
from agentd.cli.talk import Talk
from agentd.cli.text import clean, lower, resource
from agentd.client import ENDED
from agentd.client.types import (
    AbandonCall,
    CallState,
    CancelRunResponse,
    ResolveCallRequest,
    RetryCall,
    Run,
    to_json,
)

WAIT_S = 365 * 86_400.0


@click.command(
    cls=Command, examples='agentd send RUN "Look in src too"\nagentd send RUN - < more.txt'
)
@click.argument("run")
@click.argument("text")
@pass_settings
def send(settings: Settings, run: str, text: str) -> None:
    """Give an unfinished RUN a message, which the model reads at its next turn."""
    message = sys.stdin.read() if text == "-" else text

    async def work() -> int:
        async with settings.client() as client:
            return await client.runs.send(resource(run, "runs"), message)

    say(f"The message is event {run_async(work())} of the journal.")


@click.command(cls=Command, examples="agentd wait RUN\nagentd wait RUN --timeout 5m -o json")
@click.argument("run")
@click.option("--timeout", default=WAIT_S, type=DURATION, help="How long to wait, as 5m.")
@output_option
@pass_settings
def wait(settings: Settings, run: str, timeout: float, output: str) -> int:
    """Wait until a RUN has ended and print its answer; the exit code is that of `agentd run`."""

    async def work() -> Run:
        async with settings.client() as client:
            return await client.runs.wait(resource(run, "runs"), timeout_s=timeout)

    found = run_async(work())
    if output != TABLE:
        write_line(to_json(found))
    if found.state not in ENDED:
        say(f"{found.name} is still {state_of(found)}")
        return Exit.TIMED_OUT
    if output == TABLE and found.output:
        sys.stdout.write(clean(found.output) + "\n")
    return tell_end(found, Talk(sys.stderr))


@click.command(cls=Command, examples="agentd cancel RUN\nagentd cancel $(agentd ps -q)")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--timeout", default=10.0, type=DURATION, help="How long to wait for what stops.")
@output_option
@pass_settings
def cancel(
    settings: Settings, runs: tuple[str, ...], reason: str, timeout: float, output: str
) -> None:
    """Cancel each RUN and report what stopped, what refused and what still runs."""

    async def work() -> list[CancelRunResponse]:
        async with settings.client() as client:
            return [
                await client.runs.cancel(resource(run, "runs"), reason=reason, timeout_s=timeout)
                for run in runs
            ]

    reports = [answer.report for answer in run_async(work())]
    match output:
        case "json":
            write_document([to_json(report) for report in reports])
        case "jsonl":
            for report in reports:
                write_line(to_json(report))
        case _:
            for report in reports:
                sys.stdout.writelines(clean(text) + "\n" for text in report_lines(report))


@click.command(cls=Command, examples="agentd pause RUN")
@click.argument("run")
@pass_settings
def pause(settings: Settings, run: str) -> None:
    """Stop new work of a RUN; what is in progress ends and is recorded."""

    async def work() -> Run:
        async with settings.client() as client:
            return await client.runs.pause(resource(run, "runs"))

    found = run_async(work())
    say(f"{found.name} is {state_of(found)}")


@click.command(cls=Command, examples="agentd resume RUN")
@click.argument("run")
@pass_settings
def resume(settings: Settings, run: str) -> None:
    """Let a paused RUN go on."""

    async def work() -> Run:
        async with settings.client() as client:
            return await client.runs.resume(resource(run, "runs"))

    found = run_async(work())
    say(f"{found.name} is {state_of(found)}")


@click.command(
    cls=Command,
    examples="""
    agentd resolve runs/RUN/calls/c1-1 --result '{"id": 7}'
    agentd resolve runs/RUN/calls/c1-1 --error "the mail bounced"
    agentd resolve runs/RUN/calls/c1-1 --retry
    """,
)
@click.argument("call")
@click.option("--result", metavar="JSON", help="It happened, with this result.")
@click.option("--error", metavar="TEXT", help="It happened, and failed.")
@click.option("--retry", is_flag=True, help="It did not happen, or may happen twice.")
@click.option("--abandon", is_flag=True, help="Nobody will know; the model is told so.")
@click.option("--reason", default="", help="Why, for the record.")
@pass_settings
def resolve(settings: Settings, /, call: str, reason: str, **options: Any) -> None:
    """Say what became of a CALL whose outcome is unknown: exactly one of the four options."""
    request = _resolution(call, reason, **options)

    async def work() -> Any:
        async with settings.client() as client:
            return await client.runs.resolve_call(request)

    found = run_async(work())
    say(f"{found.name} is {lower(CallState.Name(found.state), 'CALL_STATE_')}")


def _resolution(
    call: str, reason: str, *, result: str | None, error: str | None, retry: bool, abandon: bool
) -> ResolveCallRequest:
    if sum((result is not None, error is not None, retry, abandon)) != 1:
        raise click.UsageError("Give exactly one of --result, --error, --retry and --abandon.")
    request = ResolveCallRequest(name=resource(call, "runs"), reason=reason)
    if result is not None:
        try:
            json.loads(result)
        except ValueError as fault:
            raise click.BadParameter(f"this is not JSON: {fault}", param_hint="--result") from fault
        request.result_json = result
    elif error is not None:
        request.error_message = error
    elif retry:
        request.retry.CopyFrom(RetryCall())
    else:
        request.abandon.CopyFrom(AbandonCall())
    return request
