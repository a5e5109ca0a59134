"""What programs write, cut and made harmless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.sandbox.output import Capture, clean


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\ttext\n", "plain\ttext\n"),
        ("grün 漢字 🦊".encode(), "grün 漢字 🦊"),
        (b"a\r\nb\rc\r\r\nd", "a\nb\nc\nd"),
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b[?25l\x1b[2J\x1b[1;1Hx", "x"),
        (b"\x1b]0;title\x07x", "x"),
        (b"\x1b]52;c;aGk=\x1b\\x", "x"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bPq#0;1\x1b\\x\x1b_apc\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\", "x"),
        (b"a\x1b]0;never ended", "a"),
        (b"\x1b(Bx\x1b7\x1b8\x1bc", "x"),
        ("\x9b31mx\x9d0;t\x9cy".encode(), "xy"),
        (b"\x1b", ""),
        (b"\x1b\x1b[31m\x1b[1mx", "x"),
        (b"\x00\x07\x08\x0b\x0c\x7fx", "x"),
        ("\u202egnp.exe\u2066\u2069\u200f\ufeff".encode(), "gnp.exe"),
        (b"\xff\xfex", "\N{REPLACEMENT CHARACTER}" * 2 + "x"),
    ],
)
def test_output_becomes_plain_text(data: bytes, text: str) -> None:
    assert clean(data) == text


@given(st.binary(max_size=200))
def test_nothing_that_a_terminal_obeys_is_left(data: bytes) -> None:
    for sample in (data, b"\x1b" + data, data.replace(b"a", b"\x1b[")):
        left = {char for char in clean(sample) if ord(char) < 32 or 127 <= ord(char) < 160}
        assert left <= {"\n", "\t"}


@given(st.lists(st.binary(max_size=30)), st.integers(min_value=1, max_value=60))
def test_head_and_tail_are_kept(pieces: list[bytes], limit: int) -> None:
    pieces = [piece.translate(bytes(97 + byte % 26 for byte in range(256))) for piece in pieces]
    capture = Capture(limit)
    for piece in pieces:
        capture.feed(piece)
    whole = b"".join(pieces).decode()
    head, tail = limit - limit // 2, limit // 2
    if len(whole) <= limit:
        assert capture.text() == whole
        assert capture.omitted == 0
    else:
        omitted = len(whole) - limit
        end = whole[len(whole) - tail :]
        assert capture.text() == f"{whole[:head]}\n[{omitted} bytes left out]\n{end}"
        assert capture.omitted == omitted


def test_memory_is_bounded() -> None:
    capture = Capture(1000)
    for _ in range(1000):
        capture.feed(bytes(1000))
    assert len(capture._head) + len(capture._tail) <= 2500
    assert capture.omitted == 999_000
