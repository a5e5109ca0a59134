"""Single values are accepted up to their bounds and refused beyond."""

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent.tool import EffectClass
from agentd.errors import InvalidRequest
from agentd.services import checks


@given(st.integers(0, 10**6), st.integers(0, 999_999_999))
def test_durations_are_rounded_up_to_milliseconds(seconds: int, nanos: int) -> None:
    total = seconds * 10**9 + nanos
    expected = -(-total // 10**6)
    assert checks.duration_ms(Duration(seconds=seconds, nanos=nanos), "d") == expected


@given(
    st.integers(-6, 6) | st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 10**9) | st.integers(-(2**31), 2**31 - 1),
)
def test_any_duration_is_in_range_or_refused(seconds: int, nanos: int) -> None:
    value = Duration(seconds=seconds, nanos=nanos)
    if seconds >= 0 and 0 <= nanos < 10**9 and seconds * 10**9 + nanos <= 5 * 10**9:
        assert 0 <= checks.duration_ms(value, "d", most_ms=5_000) <= 5_000
    else:
        with pytest.raises(InvalidRequest) as caught:
            checks.duration_ms(value, "d", most_ms=5_000)
        assert caught.value.faults[0].field == "d"


def test_choices() -> None:
    assert checks.choice(1, EffectClass, "e") is EffectClass.READ_ONLY
    assert checks.choice(0, EffectClass, "e", unset=EffectClass.IRREVERSIBLE).value == 4
    for value in (0, -1, 99):
        with pytest.raises(InvalidRequest):
            checks.choice(value, EffectClass, "e")


def test_numbers() -> None:
    assert checks.number(3, "n", least=3, most=3) == 3
    for value in (2, 4):
        with pytest.raises(InvalidRequest):
            checks.number(value, "n", least=3, most=3)


def test_texts() -> None:
    assert checks.text("éé", "t", at_most=2) == "éé"
    assert checks.long_text("éé", "t", at_most_bytes=4) == "éé"
    assert checks.json_text('{"a":[1]}', "t") == '{"a":[1]}'
    for bad in ("", "{", "[" * 100_000, '"' + "x" * checks.MAX_TEXT_BYTES + '"'):
        with pytest.raises(InvalidRequest):
            checks.json_text(bad, "t")
    with pytest.raises(InvalidRequest):
        checks.long_text("ééé", "t", at_most_bytes=4)
