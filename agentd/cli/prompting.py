"""Asks a person at the terminal about the calls of one run, one at a time.

No answer is no decision: the run waits, and the question can be answered from anywhere else.
"""

import asyncio
import os
from typing import TYPE_CHECKING, Final

import click

from agentd.cli.questions import decided, question_lines
from agentd.cli.talk import Talk
from agentd.cli.text import exact_json, line
from agentd.client.types import Approval, ApprovalScope, ApprovalState, Event
from agentd.errors import AgentdError, Unavailable

if TYPE_CHECKING:
    from agentd.client import Client

KEYS: Final = "[y] allow  [a] allow such calls in this run  [n] deny  [e] edit, then allow > "
RETRY_S: Final = 1.0
_PENDING = ApprovalState.APPROVAL_STATE_PENDING


class Keyboard:
    """Lines that a person types, without a thread that waits for them."""

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._waiting: asyncio.Future[str | None] | None = None

    async def line(self) -> str | None:
        """Return the next line, or None when the person has closed the input or is interrupted."""
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_reader(self._descriptor, self._read)
        try:
            return await self._waiting
        finally:
            loop.remove_reader(self._descriptor)
            self._waiting = None

    def interrupt(self) -> None:
        """Have whoever waits for a line go on without one."""
        self._answer(None)

    def _read(self) -> None:
        # The terminal gives a line at a time, and nothing for its end.
        data = os.read(self._descriptor, 65_536)
        self._answer(data.decode("utf-8", "replace").strip() if data else None)

    def _answer(self, text: str | None) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(text)


class Prompter:
    """The questions of one run, in the order of their asking."""

    def __init__(self, client: "Client", talk: Talk, keyboard: Keyboard | None = None) -> None:
        self._client = client
        self._talk = talk
        self._keyboard = keyboard or Keyboard()
        self._open: dict[str, str] = {}
        """The call, or the run that has a plan, of each approval that was asked for and is not
        decided."""
        self._present = ""
        self._more = asyncio.Event()

    def note(self, event: Event) -> None:
        """Take note of what an event says about questions."""
        match event.WhichOneof("payload"):
            case "approval_requested":
                asked = event.approval_requested
                self._open[asked.approval] = asked.call
                self._more.set()
            case "approval_decided":
                self._close(event.approval_decided.approval)
            case "plan_approval_requested":
                self._open[event.plan_approval_requested.approval] = event.run
                self._more.set()
            case "plan_approval_decided":
                self._close(event.plan_approval_decided.approval)
            case "run_ended":
                for approval in [name for name, run in self._open.items() if run == event.run]:
                    self._close(approval)
            case "call_ended":
                ended = event.call_ended.call
                for approval in [name for name, call in self._open.items() if call == ended]:
                    self._close(approval)
            case _:
                pass

    async def serve(self) -> None:
        """Ask until cancelled, or until the person closes the input."""
        while True:
            while not self._open:
                self._more.clear()
                await self._more.wait()
            self._present = next(iter(self._open))
            approval = await self._look(self._present)
            if approval is None:
                await asyncio.sleep(RETRY_S)
                continue
            if approval.state == _PENDING and not await self._ask(approval):
                return
            self._open.pop(approval.name, None)

    async def _look(self, name: str) -> Approval | None:
        """Return an approval as it is; None while the daemon is away, which the watch tells."""
        try:
            return await self._client.approvals.get(name)
        except Unavailable:
            return None

    def _close(self, approval: str) -> None:
        self._open.pop(approval, None)
        if approval == self._present:
            self._keyboard.interrupt()

    async def _ask(self, approval: Approval) -> bool:
        """Ask about one call until it is decided, here or elsewhere; return whether the person is
        still there."""
        for text in question_lines(approval):
            self._talk.say(text)
        while approval.name in self._open:
            self._talk.prompt(KEYS)
            key = await self._keyboard.line()
            if key is None:
                self._talk.say("")
                return approval.name not in self._open
            try:
                answer = await self._answer(approval, key.lower())
            except AgentdError as error:
                self._talk.say(line(error.message), "yellow")
                answer = await self._look(approval.name)
            if answer is not None and answer.state != _PENDING:
                self._talk.say(decided(answer), "dim")
                return True
        return True

    async def _answer(self, approval: Approval, key: str) -> Approval | None:
        """Carry out what a key means; return the approval when it was decided."""
        approvals = self._client.approvals
        match key:
            case "y":
                return await approvals.allow(approval)
            case "a":
                return await approvals.allow(approval, scope=ApprovalScope.APPROVAL_SCOPE_RUN)
            case "n":
                self._talk.prompt("Why, for the model? > ")
                reason = await self._keyboard.line()
                if reason is None:
                    return None
                return await approvals.deny(approval.name, reason=reason)
            case "e":
                return await self._edit(approval)
            case _:
                return None

    async def _edit(self, approval: Approval) -> Approval | None:
        """Have the arguments changed in the person's editor; saving them allows the call."""
        text = exact_json(approval.arguments_json)
        try:
            edited = await asyncio.to_thread(click.edit, text, extension=".json")
        except click.ClickException as error:  # There is no editor, or it failed.
            self._talk.say(error.format_message(), "yellow")
            return None
        if edited is None or edited.strip() == text.strip():
            self._talk.say("Nothing was changed.")
            return None
        return await self._client.approvals.allow(approval, edited_arguments_json=edited.strip())
