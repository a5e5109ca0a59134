"""Shows a run as it goes: the model's text as it comes, and a line for each thing that happens."""

from typing import TextIO

from agentd.cli.output import write_line
from agentd.cli.stages import stage
from agentd.cli.talk import Talk
from agentd.cli.text import clean, dollars, line, lower, sentence
from agentd.client.types import (
    ApprovalDecided,
    ApprovalState,
    CallEnded,
    CallErrorReason,
    CallState,
    CallUnknown,
    CancelOutcome,
    CancelReport,
    Delta,
    Event,
    ModelErrorKind,
    ModelFailed,
    ModelReplied,
    Run,
    RunFailure,
    RunFailureReason,
    RunState,
    RunWaiting,
    Usage,
    WaitReason,
    to_json,
)

WIDTH = 160
"""Where a line about arguments or a result is cut."""


_FOR_A_PERSON = (WaitReason.WAIT_REASON_APPROVAL, WaitReason.WAIT_REASON_INPUT)


class Renderer:
    """Writes what happens. `text` gets the model's words as they come, `talk` everything else.

    With `text` None, words are not written as they come: the caller shows the answer at the end.
    Control characters of models and tools are shown, never obeyed.
    """

    def __init__(self, text: TextIO | None, talk: Talk) -> None:
        self._text = _Text(text) if text is not None else None
        self._talk = talk
        self._tools: dict[str, str] = {}
        self._plans = False
        """Whether the words are those of phases and tasks, many at a time, and not the answer."""

    def close(self) -> None:
        """Leave the terminal as it was found."""
        self._talk.settle()
        if self._text is not None:
            self._text.end()

    def show(self, item: Event | Delta) -> None:
        """Show one event or delta."""
        if isinstance(item, Event):
            self._show_event(item)
        elif item.HasField("progress"):
            self._show_progress(item)
        elif item.WhichOneof("source") == "turn" and self._text is not None and not self._plans:
            self._talk.settle()
            self._text.piece(item)

    def _say(self, text: str, style: str = "dim") -> None:
        if self._text is not None:
            self._text.end()
        self._talk.say(text, style)

    def _show_event(self, event: Event) -> None:
        match event.WhichOneof("payload"):
            case "message_posted":
                self._say(f"> {line(event.message_posted.text, WIDTH)}")
            case "run_waiting":
                self._say(waiting(event.run_waiting))
                if event.run_waiting.reason not in _FOR_A_PERSON:  # They may be typing.
                    self._talk.wait_for("waiting")
            case "approval_decided":
                self._say(decision(event.approval_decided))
            case "run_paused":
                self._say(f"paused; go on with: agentd resume {event.run}")
            case "run_cancelling":
                self._say(sentence(("stopping", line(event.run_cancelling.reason, WIDTH))))
            case "model_requested":
                self._plans = bool(event.model_requested.thread)
                self._talk.wait_for(f"{event.model_requested.model} is thinking")
            case "model_replied":
                self._show_reply(event.model_replied)
            case "model_failed":
                self._say(model_failure(event.model_failed), "yellow")
            case "call_ended":
                self._say(f"← {ended(event.call_ended)}")
            case "call_lost":
                tool = self._tools.get(event.call_lost.call, event.call_lost.call)
                self._say(f"← {tool}: lost, it is tried again", "yellow")
            case "call_unknown":
                self._say(unknown(event.call_unknown), "yellow")
            case "run_ended" if self._plans and self._text is not None:
                self._talk.settle()
                self._text.whole(event.run_ended.output)
            case _:
                if said := stage(event):
                    self._say(said)

    def _show_reply(self, reply: ModelReplied) -> None:
        self._talk.settle()
        if self._text is not None and not self._plans:
            self._text.reply(reply)
        elif reply.text and reply.calls:
            self._say(line(reply.text, WIDTH))
        for call in reply.calls:
            self._tools[call.call] = call.tool
            arguments = line(call.arguments_json, WIDTH)
            self._say(f"→ {line(call.tool)}({arguments if arguments != '{}' else ''})")

    def _show_progress(self, delta: Delta) -> None:
        note = delta.progress
        part = f"{note.fraction:.0%}" if note.fraction >= 0 else ""
        tool = self._tools.get(delta.call, delta.call)
        self._say(f"  {line(tool)}: {sentence((part, line(note.message, WIDTH)))}")


class EventLines:
    """Writes each event as one line of JSON. Deltas are not events."""

    def show(self, item: Event | Delta) -> None:
        """Write an event."""
        if isinstance(item, Event):
            write_line(to_json(item))

    def close(self) -> None:
        """Do nothing: every line was written at once."""


class _Text:
    """The model's words, each turn once: as pieces come, and completed from the finished reply."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._source = (0, 0)
        self._next_index = 0
        self._written = ""
        self._answered_turn = 0
        self._in_line = False

    def piece(self, delta: Delta) -> None:
        source = (delta.turn, delta.attempt)
        if delta.turn <= self._answered_turn:
            return
        if source != self._source:
            self._start(source)
        if delta.index != self._next_index:
            # Deltas are not kept: some went by before this watch began, or while it was cut. The
            # finished reply will not continue what is written, and so is written whole.
            self._write("…")
        self._next_index = delta.index + 1
        self._write(delta.text)

    def reply(self, reply: ModelReplied) -> None:
        source = (reply.turn, reply.attempt)
        if source != self._source or not reply.text.startswith(self._written):
            self._start(source)
        self._write(reply.text[len(self._written) :])
        self._answered_turn = reply.turn
        self.end()

    def whole(self, text: str) -> None:
        """Write a text of its own."""
        self._start((0, 0))
        self._write(text)
        self.end()

    def end(self) -> None:
        """End the line that is being written."""
        if self._in_line:
            self._stream.write("\n")
            self._stream.flush()
        self._in_line = False

    def _start(self, source: tuple[int, int]) -> None:
        self.end()
        self._source, self._next_index, self._written = source, 0, ""

    def _write(self, text: str) -> None:
        if text:
            self._written += text
            self._stream.write(clean(text))
            self._stream.flush()
            self._in_line = not text.endswith("\n")


def waiting(event: RunWaiting) -> str:
    """Say what a run waits for, and what a person can do about it."""
    reason = lower(WaitReason.Name(event.reason), "WAIT_REASON_")
    said = sentence((f"waiting for {reason}", line(event.detail, WIDTH)))
    if event.reason == WaitReason.WAIT_REASON_INPUT:
        said += " (see `agentd resolve -h`)"
    elif event.reason == WaitReason.WAIT_REASON_APPROVAL:
        said += " (see `agentd approve -h`)"
    return said


def decision(event: ApprovalDecided) -> str:
    """Say what a person has decided about a call, in a line."""
    state = lower(ApprovalState.Name(event.decision), "APPROVAL_STATE_")
    call = event.call.rpartition("/")[2]
    edited = line(event.edited_arguments_json, WIDTH)
    changed = f"with other arguments: {edited}" if edited else ""
    who = f"by {line(event.decided_by)}" if event.decided_by else ""
    return "  " + sentence((f"{call} {state}", who, line(event.reason, WIDTH), changed))


def unknown(event: CallUnknown) -> str:
    """Say that nobody knows whether a call had its effect."""
    return f"? {event.call}: outcome unknown: {line(event.message, WIDTH)}"


def ended(event: CallEnded) -> str:
    """Say how a call ended, in a line."""
    if event.HasField("error"):
        reason = lower(CallErrorReason.Name(event.error.reason), "CALL_ERROR_REASON_")
        state = lower(CallState.Name(event.state), "CALL_STATE_")
        return f"{state}: {reason}: {line(event.error.message, WIDTH)}"
    return line(event.result_json, WIDTH)


def model_failure(event: ModelFailed) -> str:
    """Say why a model request failed, and what follows."""
    kind = lower(ModelErrorKind.Name(event.kind), "MODEL_ERROR_KIND_")
    seconds = event.retry_delay.ToTimedelta().total_seconds()
    next_try = f"again in {seconds:.1f} s" if event.will_retry else ""
    return sentence((f"the model failed: {kind}", line(event.message, WIDTH), next_try))


def failure(run: Run) -> str:
    """Say why a run did not succeed, in a line."""
    state = lower(RunState.Name(run.state), "RUN_STATE_")
    if not run.HasField("failure"):
        return f"{run.name} {state}"
    return f"{run.name} {state}: {why(run.failure)}"


def why(reason: RunFailure) -> str:
    """Return a failure's reason and message."""
    name = lower(RunFailureReason.Name(reason.reason), "RUN_FAILURE_REASON_")
    return sentence((name, line(reason.message)))


def spent(usage: Usage) -> str:
    """Return what a run has spent, for people."""
    return sentence(
        (
            _count(usage.turns, "turn"),
            _count(usage.tool_calls, "tool call"),
            _count(usage.input_tokens + usage.output_tokens, "token"),
            dollars(usage.cost_nanos),
        )
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if number else ""


def report_lines(report: CancelReport) -> list[str]:
    """Say what a cancel stopped, what refused, and what still runs."""
    lines = [
        f"  {lower(CancelOutcome.Name(entry.outcome), 'CANCEL_OUTCOME_'):<13}  "
        f"{entry.name.removeprefix(report.run + '/')}  {line(entry.detail, WIDTH)}".rstrip()
        for entry in report.entries
    ]
    state = lower(RunState.Name(report.state), "RUN_STATE_")
    elapsed = report.elapsed.ToTimedelta().total_seconds()
    tail = "everything has ended" if report.complete else "something may still run"
    return [f"{report.run} {state} after {elapsed:.1f} s: {tail}", *lines]
