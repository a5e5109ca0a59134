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
    RunEnded,
    RunStarted,
)
from agentd.agent.ids import CallId
from agentd.agent.lifecycle import TaskId, ThreadId
from agentd.agent.lifecycle_events import (
    PhaseAnswered,
    PhaseEnded,
    PhaseStarted,
    TaskEnded,
    TaskStarted,
)
from agentd.agent.message import (
    AssistantMessage,
    Message,
    Purpose,
    ToolResult,
    ToolUse,
    UserMessage,
)
from agentd.agent.tool import CallState
from agentd.protocol.lifecycle.folding import turn_of


class Transcript:
    """The messages of a run, after those of the earlier runs of its session.

    Every call of an answer is followed by its result before any other message, in the order of the
    answer: results are held back until all are there, and messages of the user until the next
    request. So what a provider is given is valid at every request.
    """

    __slots__ = (
        "_before",
        "_edited",
        "_messages",
        "_open",
        "_posted",
        "_references",
        "_results",
        "_threads",
    )

    def __init__(self, earlier: Iterable[Message] = ()) -> None:
        self._messages: list[Message] = list(earlier)
        self._before = len(self._messages)
        self._threads: Threads | None = None
        """The parts of a run that has several conversations."""
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

    @property
    def answers(self) -> int:
        """How many answers were given here, those of earlier runs left out."""
        own = self._messages[self._before :]
        return sum(isinstance(message, AssistantMessage) for message in own)

    def of(self, thread: ThreadId) -> "Transcript":
        """Return the conversation of a thread; that of the run itself for none."""
        return self._threads.of(thread) if self._threads and thread else self

    def closing(self) -> Sequence[Message]:
        """Return every message, those that no request has carried yet included: what the next run
        of the session continues from."""
        return [*self._messages, *self._posted]

    def add(self, event: Event) -> None:
        """Fold one event."""
        if self._threads is not None:
            self._add_beside(self._threads, event)
            return
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
            case RunStarted(lifecycle=terms) if terms:
                self._threads = Threads(self._messages)
            case _:
                pass

    def ask(self, prompt: str) -> None:
        """Add what the next request asks."""
        self._posted.append(UserMessage(prompt))

    def arguments(self, call: CallId) -> str:
        """Return the arguments that a call of the present turn is executed with."""
        if self._threads is not None:
            return self._threads.of_turn(turn_of(call)).arguments(call)
        return self._edited.get(call) or self._open[call].arguments_json

    def unique_reference(self, reference: str, fallback: str) -> str:
        """Return the provider's id for a call, or the fallback when it gave none or a used one."""
        return fallback if not reference or reference in self._references else reference

    def _add_beside(self, threads: "Threads", event: Event) -> None:
        """Fold one event of a run that has several conversations: what belongs to the run itself is
        what its session goes on from."""
        threads.add(event)
        match event:
            case MessagePosted(text=text):
                self._posted.append(UserMessage(text))
            case RunEnded(output=output) if output:
                self._posted.append(AssistantMessage(output))
            case _:
                pass

    def answer(self, event: PhaseAnswered) -> None:
        """Add the answer to what a phase asks, and what is wrong with it."""
        self._messages.append(AssistantMessage(event.text or "(no answer)"))
        if event.faults:
            faults = "\n".join(f"- {fault}" for fault in event.faults)
            self._posted.append(
                UserMessage(f"That cannot be accepted:\n{faults}\nSubmit it again.")
            )

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


class Threads:
    """The conversations of a run's threads that have not ended."""

    __slots__ = ("_earlier", "_live", "_tasks", "_turns")

    def __init__(self, earlier: Sequence[Message]) -> None:
        self._earlier = earlier
        self._live: dict[ThreadId, Transcript] = {}
        self._tasks: dict[ThreadId, TaskId] = {}
        """The task of each thread that carries one out or judges one."""
        self._turns: dict[int, ThreadId] = {}
        """The thread of each turn."""

    def of(self, thread: ThreadId) -> Transcript:
        """Return the conversation of a thread."""
        return self._live[thread]

    def of_turn(self, turn: int) -> Transcript:
        """Return the conversation that a turn is part of."""
        return self._live[self._turns[turn]]

    def add(self, event: Event) -> None:
        """Fold one event."""
        match event:
            case PhaseStarted(phase=phase, thread=thread, prompt=prompt, task=task) if thread:
                if task:
                    self._close(task)
                # What was said before in the session bears on what is planned.
                earlier = self._earlier if phase is Purpose.PLANNING else ()
                self._open(thread, task, Transcript(earlier), prompt)
            case TaskStarted(task=task, thread=thread, prompt=prompt):
                self._open(thread, task, Transcript(), prompt)
            case PhaseEnded(task=task) | TaskEnded(task=task):
                self._close(task)
            case ModelRequested(turn=turn, thread=thread):
                self._turns[turn] = thread
                self._live[thread].add(event)
            case ModelReplied(turn=turn):
                self.of_turn(turn).add(event)
            case PhaseAnswered(turn=turn):
                self.of_turn(turn).answer(event)
            case CallEnded(call=call) | ApprovalDecided(call=call):
                self.of_turn(turn_of(call)).add(event)
            case MessagePosted():
                for thread in self._tasks:
                    self._live[thread].add(event)
            case _:
                pass

    def _open(self, thread: ThreadId, task: TaskId, transcript: Transcript, prompt: str) -> None:
        transcript.ask(prompt)
        self._live[thread] = transcript
        if task:
            self._tasks[thread] = task

    def _close(self, task: TaskId) -> None:
        """Forget the threads of a task, or all of them for none."""
        for thread in tuple(self._live):
            if not task or self._tasks.get(thread) == task:
                del self._live[thread]
                self._tasks.pop(thread, None)
        self._turns = {turn: thread for turn, thread in self._turns.items() if thread in self._live}


def _explain(event: CallEnded) -> str:
    message = event.error.message if event.error else ""
    return message or f"The call ended as {event.state.name.lower()}."
