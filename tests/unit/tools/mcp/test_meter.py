"""How much a server can pour out."""

import pytest

from agentd.tools.mcp.meter import Lines, Meter, TooLong


def test_a_burst_passes_and_a_flood_waits() -> None:
    meter = Meter(rate_per_s=10, burst=5)
    assert [meter.delay_s(100.0) for _ in range(5)] == [0] * 5
    assert meter.delay_s(100.0) == pytest.approx(0.1)
    assert meter.delay_s(100.0) == pytest.approx(0.2)
    assert meter.delay_s(101.0) == 0
    assert meter.delay_s(500.0) == 0


def test_the_long_run_has_the_rate() -> None:
    meter, now_s = Meter(rate_per_s=10, burst=5), 100.0
    for _ in range(1_000):
        now_s += meter.delay_s(now_s)
    assert now_s == pytest.approx(199.5)


def test_lines_are_cut_wherever_the_chunks_end() -> None:
    text = b"one\n\ntwo three\nrest"
    for size in range(1, len(text)):
        lines = Lines()
        chunks = [text[start : start + size] for start in range(0, len(text), size)]
        assert [line for chunk in chunks for line in lines.feed(chunk)] == [
            b"one",
            b"",
            b"two three",
        ]


def test_a_line_has_a_bound() -> None:
    lines = Lines(limit_bytes=4)
    assert list(lines.feed(b"1234\n12")) == [b"1234"]
    with pytest.raises(TooLong):
        list(lines.feed(b"345"))
