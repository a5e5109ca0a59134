"""Shows a run until it ends, until a person has to decide, or until Ctrl-C."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentd.cli.exits import Exit
from agentd.cli.interrupts import Interrupts
from agentd.cli.prompting import Prompter
from agentd.cli.questions import question_lines
from agentd.cli.render import EventLines, Renderer, failure, report_lines, spent
from agentd.cli.talk import Talk
from agentd.cli.text import sentence
from agentd.client.types import (
    ApprovalState,
    Event,
    Run,
    RunFailureReason,
    RunState,
    RunWaiting,
    WaitReason,
)
from agentd.errors import AgentdError

if TYPE_CHECKING:
    from agentd.client import Client, Watch

SECOND_S = 1.5
"""How soon the second Ctrl-C must follow the first to cancel."""
CANCEL_S = 10.0


@dataclass
class Follower:
    """Shows one run."""

    client: "Client"
    run: str
    watch: "Watch"
    renderer: Renderer | EventLines
    talk: Talk
    hosts_tools: bool = False
    """Whether this process hosts tools of the run, which go with it."""
    prompter: Prompter | None = None
    """Asks the person at the terminal; None when there is none."""

    async def follow(self) -> Exit:
        """Show the run. Ctrl-C once leaves it running, twice cancels it; both are INTERRUPTED."""
        interrupts = Interrupts()
        try:
            with interrupts.installed():
                async with asyncio.TaskGroup() as group:
                    showing = group.create_task(self._show())
                    code = await self._attend(showing, interrupts)
                    showing.cancel()
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        finally:
            self.renderer.close()
        return code

    async def _attend(self, showing: asyncio.Task[bool], interrupts: Interrupts) -> Exit:
        if not await interrupts.during(showing, 1):
            return await self._ended(to_the_end=await showing)
        self.renderer.close()
        self.talk.say("Detaching. Ctrl-C again cancels the run.")
        if await interrupts.during(showing, 2, SECOND_S):
            await self._cancel(interrupts)
        elif not showing.done():
            self._tell_how_to_go_on()
        return Exit.INTERRUPTED

    async def _show(self) -> bool:
        """Show what happens, and ask about it; return False when a person has to decide and nobody
        is here."""
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self.prompter.serve()) if self.prompter else None
            try:
                return await self._look()
            finally:
                if asking:
                    asking.cancel()

    async def _look(self) -> bool:
        async for item in self.watch:
            self.renderer.show(item)
            if not isinstance(item, Event):
                continue
            if self.prompter:
                self.prompter.note(item)
            if item.WhichOneof("payload") == "run_waiting" and self._is_alone(item.run_waiting):
                return False
        return True

    def _is_alone(self, wait: RunWaiting) -> bool:
        """Whether a run waits for a person who is not here."""
        match wait.reason:
            case WaitReason.WAIT_REASON_APPROVAL:
                return self.prompter is None
            case WaitReason.WAIT_REASON_INPUT:
                return not self.talk.is_terminal
            case _:
                return False

    async def _ended(self, *, to_the_end: bool) -> Exit:
        if not to_the_end:
            await self._tell_what_is_asked()
            self._tell_how_to_go_on()
            return Exit.DENIED
        run = await self.client.runs.get(self.run)
        self.renderer.close()
        if self.talk.is_terminal:
            self.talk.say(sentence((run.name, spent(run.usage))), "dim")
        return tell_end(run, self.talk)

    async def _cancel(self, interrupts: Interrupts) -> None:
        """Cancel the run and show the report; a third Ctrl-C does not wait for it."""
        self.renderer.close()
        self.talk.say("Cancelling. Ctrl-C again does not wait for the report.")
        async with asyncio.TaskGroup() as group:
            cancelling = group.create_task(self._cancel_run())
            if await interrupts.during(cancelling, 3):
                cancelling.cancel()

    async def _cancel_run(self) -> None:
        try:
            answer = await self.client.runs.cancel(self.run, reason="Ctrl-C", timeout_s=CANCEL_S)
        except AgentdError as error:
            self.talk.say(f"The run could not be cancelled: {error.message}")
            return
        for text in report_lines(answer.report):
            self.talk.say(text)

    async def _tell_what_is_asked(self) -> None:
        pending = (ApprovalState.APPROVAL_STATE_PENDING,)
        async for approval in self.client.approvals.list(states=pending, run=self.run):
            for text in question_lines(approval):
                self.talk.say(text)
            short = approval.name.removeprefix("approvals/")
            self.talk.say(f"Allow: agentd approve {short}    Refuse: agentd deny {short}")

    def _tell_how_to_go_on(self) -> None:
        short = self.run.removeprefix("runs/")
        self.talk.say(f"{self.run} goes on.")
        self.talk.say(f"Watch: agentd logs -f {short}    Stop: agentd cancel {short}")
        if self.hosts_tools:
            self.talk.say(
                "The tools of this command go with it: a run that calls one waits for "
                "`agentd tools host FILE --toolset NAME`."
            )


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def tell_end(run: Run, talk: Talk) -> Exit:
    """Say why a run did not succeed; return the exit code for how it ended."""
    if run.state == RunState.RUN_STATE_SUCCEEDED:
        return Exit.OK
    talk.say(failure(run), "red")
    if run.failure.reason == RunFailureReason.RUN_FAILURE_REASON_BUDGET_WALL_TIME:
        return Exit.TIMED_OUT
    return Exit.FAILED
