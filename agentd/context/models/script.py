"""Scripts for the scripted model: their format, their checking, their preparation for speed.

A script is JSON, or TOML if its file's name ends in `.toml`:

    {
      "usage": {"input_tokens": 100, "output_tokens": 20},
      "conversations": [
        {
          "goal": "weather",
          "turns": [
            {"text": "I will look.", "chunks": 3, "delay_ms": 20,
             "calls": [{"tool": "get_weather", "arguments": {"city": "Paris"}}],
             "faults": [{"kind": "RATE_LIMITED", "retry_after_s": 0.5, "times": 2}]},
            {"text": "The service says: {{last_result}}"}
          ]
        }
      ]
    }

`conversations`: the first one whose conditions all hold answers. The conditions are regular
expressions, searched for: `goal` in the user's text that began the run, `last` in the newest text
of the user, `instructions` in the system prompt. `purpose` names what the model is asked for, such
as PLANNING; a task and a phase of a run begin with a text, and count turns, of their own. A
conversation without conditions always holds.

`turns`: which one answers is decided by the request alone, so that a daemon that was killed and
started again gets the same answers: `"by": "turn"` (the default) takes the run's turn number,
`"by": "answers"` counts the answers since the newest text of the user. A turn with `"repeat": n`
stands for n turns; with 0, for every further one. A request beyond the last turn fails as
INVALID_REQUEST.

A turn has:
- `text`: the answer. `chunks` (default 1) says in how many deltas it is sent.
- `calls`: each with `tool` and `arguments`: an object, or a string that is passed on as it is, for
  arguments that are not JSON.
- `stop`: END_TURN, TOOL_USE, MAX_TOKENS or REFUSAL; by default what the calls imply.
- `usage`: `input_tokens`, `output_tokens`, `cache_read_tokens`, `cache_write_tokens`, `cost_nanos`;
  by default the script's own `usage`, else none. A cost of 0 is computed from the model's prices.
- `delay_ms` before the first delta, `chunk_delay_ms` before each further one.
- `faults`: each with `kind` (a ModelErrorKind, default TRANSIENT), `message`, `retry_after_s`,
  `after_chunks` (how many deltas are sent before it: a stream that is cut), `usage`, and `times`
  (default 1): the first fault hits that many first attempts of the turn, the next one the attempts
  after these; with 0, every attempt.

`{{goal}}`, `{{last_user}}`, `{{last_result}}`, `{{run}}` and `{{turn}}` are replaced in `text` and
in the strings of `arguments`.
"""

import re
import tomllib
from enum import Enum
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from agentd.agent.budget import NO_USAGE, ModelUsage
from agentd.agent.message import (
    ModelErrorKind,
    Purpose,
    StopReason,
    TextDelta,
)

PLACEHOLDER = re.compile(r"\{\{(goal|last_user|last_result|run|turn)\}\}")
_BYTE = re.compile(r"\(byte (\d+)\)")
_E = TypeVar("_E", bound=Enum)


class ScriptError(ValueError):
    """A script that cannot be used; the message names the file and the place in it."""


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    """The base of what a script is made of."""


class _Usage(_Strict):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_nanos: int = 0


class _Call(_Strict):
    tool: str
    arguments: dict[str, object] | str = {}


class _Fault(_Strict):
    kind: str = ModelErrorKind.TRANSIENT.name
    message: str = ""
    retry_after_s: float | None = None
    after_chunks: int = 0
    times: int = 1
    usage: _Usage | None = None


class _Turn(_Strict):
    text: str = ""
    chunks: int = 1
    calls: tuple[_Call, ...] = ()
    stop: str = ""
    usage: _Usage | None = None
    delay_ms: int = 0
    chunk_delay_ms: int = 0
    faults: tuple[_Fault, ...] = ()
    repeat: int = 1


class _Conversation(_Strict):
    turns: tuple[_Turn, ...]
    goal: str = ""
    last: str = ""
    instructions: str = ""
    purpose: str = ""
    by: Literal["turn", "answers"] = "turn"


class _Script(_Strict):
    conversations: tuple[_Conversation, ...]
    usage: _Usage | None = None


class Fault(msgspec.Struct, frozen=True):
    """A failure of the attempts up to `last_attempt`; 0 means of every attempt."""

    last_attempt: int
    after_chunks: int
    kind: ModelErrorKind
    message: str
    retry_after_s: float | None
    usage: ModelUsage


class Turn(msgspec.Struct, frozen=True):
    """One answer, prepared."""

    last_turn: int
    """The number of the last turn that it stands for, counted from 1; 0 means every further one."""
    text: str
    calls: tuple[tuple[str, str], ...]
    """Tool and arguments."""
    deltas: tuple[TextDelta, ...]
    """The text in pieces; empty when the text has placeholders."""
    chunks: int
    stop: StopReason
    usage: ModelUsage
    delay_s: float
    chunk_delay_s: float
    faults: tuple[Fault, ...]
    templated: bool


class Conversation(msgspec.Struct, frozen=True):
    """Turns, and the conditions under which they answer."""

    turns: tuple[Turn, ...]
    goal: re.Pattern[str] | None
    last: re.Pattern[str] | None
    instructions: re.Pattern[str] | None
    by_turn: bool
    purpose: Purpose | None = None


class Script(msgspec.Struct, frozen=True):
    """A parsed script."""

    source: str
    conversations: tuple[Conversation, ...]


def load_script(path: Path) -> Script:
    """Read a script from a file, or raise ScriptError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ScriptError(f"{path}: {error.strerror}") from error
    try:
        if path.suffix == ".toml":
            raw = tomllib.loads(content.decode())
        else:
            raw = msgspec.json.decode(content)
    except tomllib.TOMLDecodeError as error:
        raise ScriptError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise ScriptError(f"{path}: not UTF-8 at byte {error.start}") from error
    except msgspec.DecodeError as error:
        raise ScriptError(f"{path}: {_locate(str(error), content)}") from error
    return parse_script(raw, str(path))


def parse_script(raw: object, source: str = "script") -> Script:
    """Check and prepare a script that was read already, or raise ScriptError."""
    try:
        script = msgspec.convert(raw, _Script)
    except msgspec.ValidationError as error:
        raise ScriptError(f"{source}: {error}") from error
    conversations = []
    for index, conversation in enumerate(script.conversations):
        place = f"{source}: $.conversations[{index}]"
        conversations.append(_conversation(conversation, place, script.usage))
    return Script(source, tuple(conversations))


def _conversation(raw: _Conversation, place: str, usage: _Usage | None) -> Conversation:
    turns: list[Turn] = []
    number = 0
    for index, turn in enumerate(raw.turns):
        if turns and not turns[-1].last_turn:
            raise ScriptError(f"{place}.turns[{index}]: never reached after one with repeat 0")
        number = number + turn.repeat if turn.repeat > 0 else 0
        turns.append(_prepare(turn, f"{place}.turns[{index}]", usage, number))
    return Conversation(
        tuple(turns),
        _pattern(raw.goal, f"{place}.goal"),
        _pattern(raw.last, f"{place}.last"),
        _pattern(raw.instructions, f"{place}.instructions"),
        raw.by == "turn",
        _member(Purpose, raw.purpose, f"{place}.purpose") if raw.purpose else None,
    )


def _prepare(raw: _Turn, place: str, usage: _Usage | None, last_turn: int) -> Turn:
    calls = tuple((call.tool, _arguments(call.arguments)) for call in raw.calls)
    in_text = bool(PLACEHOLDER.search(raw.text))
    default = StopReason.TOOL_USE if calls else StopReason.END_TURN
    return Turn(
        last_turn=last_turn,
        text=raw.text,
        calls=calls,
        deltas=() if in_text else pieces(raw.text, raw.chunks),
        chunks=raw.chunks,
        stop=_member(StopReason, raw.stop, f"{place}.stop") if raw.stop else default,
        usage=_usage(raw.usage or usage),
        delay_s=raw.delay_ms / 1000,
        chunk_delay_s=raw.chunk_delay_ms / 1000,
        faults=_faults(raw.faults, place),
        templated=in_text or any(PLACEHOLDER.search(arguments) for _, arguments in calls),
    )


def _faults(raw: tuple[_Fault, ...], place: str) -> tuple[Fault, ...]:
    faults = []
    attempt = 0
    for index, fault in enumerate(raw):
        kind = _member(ModelErrorKind, fault.kind, f"{place}.faults[{index}].kind")
        attempt = attempt + fault.times if fault.times > 0 else 0
        faults.append(
            Fault(
                attempt,
                fault.after_chunks,
                kind,
                fault.message or f"the script says {kind.name}",
                fault.retry_after_s,
                _usage(fault.usage),
            )
        )
    return tuple(faults)


def _member(kinds: type[_E], name: str, place: str) -> _E:
    try:
        return kinds[name]
    except KeyError:
        known = ", ".join(kind.name for kind in kinds)
        raise ScriptError(f"{place}: {name!r} is none of {known}") from None


def _pattern(pattern: str, place: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern) if pattern else None
    except re.error as error:
        raise ScriptError(f"{place}: not a regular expression: {error}") from error


def _arguments(raw: dict[str, object] | str) -> str:
    return raw if isinstance(raw, str) else msgspec.json.encode(raw).decode()


def _usage(raw: _Usage | None) -> ModelUsage:
    if raw is None:
        return NO_USAGE
    return ModelUsage(
        raw.input_tokens,
        raw.output_tokens,
        raw.cache_read_tokens,
        raw.cache_write_tokens,
        raw.cost_nanos,
    )


def pieces(text: str, chunks: int) -> tuple[TextDelta, ...]:
    """Cut a text into at most so many deltas of about the same length."""
    if not text or chunks < 1:
        return ()
    size = -(-len(text) // chunks)
    return tuple(TextDelta(text[start : start + size]) for start in range(0, len(text), size))


def _locate(message: str, content: bytes) -> str:
    """Add line and column to a decoder's message that names a byte."""
    found = _BYTE.search(message)
    if not found:
        return message
    before = content[: int(found.group(1))]
    line = before.count(b"\n") + 1
    column = len(before) - before.rfind(b"\n")
    return f"{message[: found.start()].rstrip()} at line {line}, column {column}"
