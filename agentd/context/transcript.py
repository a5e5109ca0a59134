"""A run's conversation as its model sees it, folded from events. Knows no provider's shapes."""

from collections.abc import Iterable, Sequence

from agentd.agent.events import (
    ApprovalDecided,
    CallEnded,
    Event,
    MessagePosted,
    ModelReplied,
    ModelRequested,
    RunCreated,
)
from agentd.agent.ids import CallId
from agentd.agent.message import AssistantMessage, Message, ToolResult, ToolUse, UserMessage
from agentd.agent.tool import CallState


class Transcript:
    """The messages of a run, after those of the earlier runs of its session.

    Every call of an answer is followed by its result before any other message, in the order of the
    answer: results are held back until all are there, and messages of the user until the next
    request. So what a provider is given is valid at every request.
    """

    __slots__ = ("_edited", "_messages", "_open", "_posted", "_references", "_results")

    def __init__(self, earlier: Iterable[Message] = ()) -> None:
        self._messages: list[Message] = list(earlier)
        self._posted: list[Message] = []
        self._open: dict[CallId, ToolUse] = {}
        self._results: dict[CallId, ToolResult] = {}
        self._edited: dict[CallId, str] = {}
        self._references = {
            use.reference
            for message in self._messages
            if isinstance(message, AssistantMessage)
            for use in message.calls
        }

    @property
    def messages(self) -> Sequence[Message]:
        """What a request made now would carry. Grows in place; never edited."""
        return self._messages

    def closing(self) -> Sequence[Message]:
        """Return every message, those that no request has carried yet included: what the next run
        of the session continues from."""
        return [*self._messages, *self._posted]

    def add(self, event: Event) -> None:
        """Fold one event."""
        match event:
            case RunCreated(goal=goal):
                self._posted.append(UserMessage(goal))
            case MessagePosted(text=text):
                self._posted.append(UserMessage(text))
            case ModelRequested():
                self._messages.extend(self._posted)
                self._posted.clear()
            case ModelReplied(message=message, calls=calls):
                self._messages.append(message)
                self._open = {
                    call.call: use for call, use in zip(calls, message.calls, strict=True)
                }
                self._references.update(use.reference for use in message.calls)
                self._edited.clear()
            case ApprovalDecided(edited_arguments_json=edited) if edited:
                self._edited[event.call] = edited
            case CallEnded():
                self._add_result(event)
            case _:
                pass

    def arguments(self, call: CallId) -> str:
        """Return the arguments that a call of the present turn is executed with."""
        return self._edited.get(call) or self._open[call].arguments_json

    def unique_reference(self, reference: str, fallback: str) -> str:
        """Return the provider's id for a call, or the fallback when it gave none or a used one."""
        return fallback if not reference or reference in self._references else reference

    def _add_result(self, event: CallEnded) -> None:
        use = self._open[event.call]
        succeeded = event.state in (CallState.SUCCEEDED, CallState.RECONCILED)
        content = event.result_json if succeeded else _explain(event)
        edited = self._edited.get(event.call)
        if edited:
            # The model's own words cannot be changed in its history: it is told instead.
            content = f"[A person changed the arguments of this call to {edited}]\n{content}"
        self._results[event.call] = ToolResult(use.reference, use.tool, content, not succeeded)
        if len(self._results) == len(self._open):
            self._messages.extend(self._results[call] for call in self._open)
            self._results.clear()


def _explain(event: CallEnded) -> str:
    message = event.error.message if event.error else ""
    return message or f"The call ended as {event.state.name.lower()}."
