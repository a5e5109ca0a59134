"""Text for terminals."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.cli.exits import Exit, exit_of
from agentd.cli.output import as_json
from agentd.cli.render import Renderer, report_lines
from agentd.cli.talk import Talk
from agentd.cli.text import age, clean, dollars, line, lower, resource, seconds_of
from agentd.client.types import (
    CancelEntry,
    CancelOutcome,
    CancelReport,
    Delta,
    Event,
    ModelReplied,
    RunState,
)
from agentd.errors import (
    AgentdError,
    Conflict,
    Denied,
    InvalidRequest,
    NotFound,
    Reason,
    Unavailable,
)


@given(st.text())
def test_nothing_moves_the_cursor(text: str) -> None:
    for shown in (clean(text), line(text), as_json(text)):
        controls = [c for c in shown if ord(c) < 32 or 0x7F <= ord(c) < 0xA0]
        assert set(controls) <= {"\n", "\t"}
    assert "\n" not in line(text)


def test_clean_shows_what_was_there() -> None:
    assert clean("a\x1b[31m\r\nb\rc\x9b\u202ed\te") == "a␛[31m\nb␍c\\x9b\\u202ed\te"


def test_words() -> None:
    assert line("  a\n b\tc ", 4) == "a b…"
    assert lower("RUN_STATE_SUCCEEDED", "RUN_STATE_") == "succeeded"
    assert resource("a", "runs") == resource("runs/a", "runs") == "runs/a"
    assert (dollars(0), dollars(12_300_000)) == ("", "$0.0123")
    now = datetime(2026, 1, 10, tzinfo=UTC)
    ages = [age(now - timedelta(seconds=s), now) for s in (-5, 59, 60, 7200, 200_000)]
    assert ages == ["0s", "59s", "1m", "2h", "2d"]


def test_durations() -> None:
    texts = ("90", "1.5m", "2h", "500ms", "1d")
    assert [seconds_of(text) for text in texts] == [90, 90, 7200, 0.5, 86_400]
    for text in ("", "soon", "-1s", "1w", "1 h"):
        with pytest.raises(ValueError, match="not a duration"):
            seconds_of(text)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest(Reason.INVALID_FIELD, ""), Exit.USAGE),
        (NotFound(Reason.RUN_NOT_FOUND, ""), Exit.NOT_FOUND),
        (Denied(Reason.UNAUTHENTICATED, ""), Exit.DENIED),
        (Unavailable(Reason.UNREACHABLE, ""), Exit.UNREACHABLE),
        (
            Unavailable(Reason.UNREACHABLE, "", metadata={"code": "DEADLINE_EXCEEDED"}),
            Exit.TIMED_OUT,
        ),
        (Conflict(Reason.NO_MODEL, ""), Exit.FAILED),
    ],
)
def test_exit_codes(error: AgentdError, code: Exit) -> None:
    assert exit_of(error) is code


def show(*items: Event | Delta) -> str:
    """Return what a terminal would show of the model's words."""
    text = io.StringIO()
    renderer = Renderer(text, Talk(io.StringIO()))
    for item in items:
        renderer.show(item)
    renderer.close()
    return text.getvalue()


def piece(index: int, text: str, *, turn: int = 1, attempt: int = 1) -> Delta:
    return Delta(turn=turn, attempt=attempt, index=index, text=text)


def reply(text: str, *, turn: int = 1, attempt: int = 1) -> Event:
    return Event(model_replied=ModelReplied(turn=turn, attempt=attempt, text=text))


def test_words_are_shown_once() -> None:
    assert show(piece(0, "Hel"), piece(1, "lo"), reply("Hello")) == "Hello\n"
    assert show(reply("Hello")) == "Hello\n"
    assert show(piece(0, "Hel"), reply("Hello")) == "Hello\n"
    assert show(reply("Hello"), piece(1, "lo")) == "Hello\n"  # A piece that came too late.
    two = show(piece(0, "a"), reply("a"), piece(0, "b", turn=2), reply("b", turn=2))
    assert two == "a\nb\n"


def test_a_gap_is_shown_and_filled() -> None:
    assert show(piece(1, "lo"), reply("Hello")) == "…lo\nHello\n"
    assert show(piece(0, "He"), piece(2, "o"), reply("Hello")) == "He…o\nHello\n"


def test_a_new_attempt_begins_anew() -> None:
    again = show(piece(0, "Hel"), piece(0, "Good", attempt=2), reply("Good day", attempt=2))
    assert again == "Hel\nGood day\n"


def test_the_cancel_report() -> None:
    report = CancelReport(
        run="runs/a",
        state=RunState.RUN_STATE_CANCELLED,
        entries=[
            CancelEntry(
                name="runs/a/calls/c1-1",
                outcome=CancelOutcome.CANCEL_OUTCOME_STILL_RUNNING,
                detail="host\x1b x",
            )
        ],
    )
    assert report_lines(report) == [
        "runs/a cancelled after 0.0 s: something may still run",
        "  still running  calls/c1-1  host␛ x",
    ]


def test_an_outage_is_mentioned_once() -> None:
    said = io.StringIO()
    talk = Talk(said)
    for message in ("closed", "refused", "refused"):
        talk.cut(Unavailable(Reason.UNREACHABLE, message))
    assert said.getvalue() == "(closed; trying again)\n(refused; trying again)\n"
