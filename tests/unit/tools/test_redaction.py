"""No value leaves in any of five encodings, nothing else is touched, and JSON stays JSON."""

import base64
import binascii
import json
import random
import re
import string
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.redaction import Redactor

CANARIES = {
    "token": "ghp_7Qx2mVb9Kd4LsT1nWz8Y",
    "short": "k3Y!9zQp",
    "punctuated": 'p@ss/w"o\\rd+with space&=?%41~.é',
    "newlines": "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ==\n-----END KEY-----",
    "escapes": "a\\nb\\u0041%20c\\\\d",
    "emoji": "s€cret-🔑-value",
    "long": "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=180)),
}
ORDINARY = """The agent read src/main.py (100% of it), ran `git log --oneline -3` and found
c218a09 Give permissions; see https://example.com/a%20b?q=x+y&z=%C3%A9 and C:\\new\\users\\temp.
{"path": "a\\nb", "data": "aGVsbG8gd29ybGQ=", "hex": "68656c6c6f20776f726c64", "u": "\\u00e9"}
password ********, token=<none>, key: AAAAAAAAAAAAAAAAAAAAAAAAAAAA, -----BEGIN KEY-----
"""


def percent(value: str) -> str:
    return "".join(f"%{byte:02x}" for byte in value.encode())


def javascript(value: str) -> str:
    return quote(value, safe="!*'()")


def unicode_escapes(value: str) -> str:
    units = value.encode("utf-16-be").hex(" ", 2).split()
    return "".join(f"\\u{unit}" for unit in units)


def inner(value: str) -> str:
    return json.dumps(value)[1:-1]


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64 for URLs": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    "base64 second": lambda value: base64.b64encode(b"x" + value.encode() + b"yz").decode(),
    "base64 third": lambda value: base64.urlsafe_b64encode(b"\xff\xfe" + value.encode()).decode(),
    "base64 lines": lambda value: base64.encodebytes(b"y" * 20 + value.encode()).decode(),
    "base64 lines in JSON": lambda value: inner(base64.encodebytes(value.encode() * 3).decode()),
    "base64 lines, CRLF": lambda value: (
        base64.encodebytes(value.encode() * 2).decode().replace("\n", "\r\n")
    ),
    "hex": lambda value: value.encode().hex(),
    "HEX": lambda value: value.encode().hex().upper(),
    "hex lines": lambda value: "\n".join(re.findall(".{1,60}", value.encode().hex())),
    "percent": lambda value: quote(value, safe=""),
    "percent of a path": quote,
    "percent of a form": quote_plus,
    "percent of JavaScript": javascript,
    "percent of all": percent,
    "JSON": inner,
    "JSON, UTF-8": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "JSON in JSON": lambda value: inner(inner(value)),
    "JSON in JSON in JSON": lambda value: inner(inner(inner(value))),
    "JSON of JavaScript": lambda value: inner(value).replace("/", "\\/"),
    "JSON of all": unicode_escapes,
}


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor({name: [value] for name, value in CANARIES.items()})


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", CANARIES)
def test_no_canary_stays_in_any_encoding(name: str, encoding: str, redactor: Redactor) -> None:
    form = ENCODINGS[encoding](CANARIES[name])
    for before, after in (("", ""), ("see ", " there"), ("x=", "&y"), ("\n", "\n"), ("'", "'")):
        redacted = redactor.redact(f"{before}{form}{after}")
        rest = redacted.replace(f"[secret {name}]", "")
        if "base64" in encoding:
            # What is encoded beside the canary may stay, and a character that belongs to both.
            assert f"[secret {name}]" in redacted
            assert len(rest.replace("\n", "")) <= 30 + len(before) + len(after)
            assert not any(CANARIES[name][start : start + 3] in decodings(rest) for start in (0, 2))
        else:
            assert rest == before + after


def decodings(text: str) -> str:
    """Return what can be read from the base64 in a text."""
    found = ""
    for run in text.replace("-", "+").replace("_", "/").split():
        for start in range(4):
            whole = run[start:].rstrip("=")
            try:
                found += base64.b64decode(whole[: len(whole) // 4 * 4]).decode("latin-1")
            except binascii.Error:
                continue
    return found


def test_ordinary_text_stays_the_same_object(redactor: Redactor) -> None:
    assert redactor.redact(ORDINARY) is ORDINARY
    data = ORDINARY.encode() + b"\xff\xfe"
    assert redactor.redact_bytes(data) is data
    assert redactor.redact("") == ""
    assert Redactor({}).redact(ORDINARY) is ORDINARY


def test_escapes_of_nothing_are_left_alone(redactor: Redactor) -> None:
    text = r"%C0%80 %e0%80%80 %F7%BF%BF%BF %c3 %zz \ud800 \ud83d\ud83d \udd11 \u12 \x41 %"
    assert redactor.redact(text) is text


def test_random_text_has_no_false_positives(redactor: Redactor) -> None:
    pick = random.Random(3)
    for alphabet in (string.printable, string.hexdigits + "\n", string.ascii_letters + "+/=%\\u0"):
        text = "".join(pick.choices(alphabet, k=50_000))
        assert redactor.redact(text) is text


@given(
    st.recursive(
        st.text(max_size=8) | st.sampled_from(list(CANARIES.values())) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=4), inner, max_size=3)
            | inner.map(json.dumps)
            | inner.map(lambda value: f"\\{value}\\")
        ),
        max_leaves=8,
    ),
    st.booleans(),
)
def test_json_stays_json_without_a_canary(value: object, ascii_only: bool) -> None:
    redactor = Redactor({name: [canary] for name, canary in CANARIES.items()})
    redacted = redactor.redact(json.dumps(value, ensure_ascii=ascii_only))
    again = json.dumps(json.loads(redacted), ensure_ascii=False)
    assert not any(canary in again or inner(canary) in again for canary in CANARIES.values())


def test_values_that_overlap_leave_no_part_of_either() -> None:
    redactor = Redactor({"left": ["abcdefgh1234"], "right": ["1234ijklmnop"], "part": ["cdefgh12"]})
    assert redactor.redact("<abcdefgh1234ijklmnop>") == "<[secret left]>"
    assert redactor.redact("abcdefgh12341234ijklmnop") == "[secret left][secret right]"
    assert redactor.redact("<cdefgh12>") == "<[secret part]>"
    assert Redactor({"a": ["abababab"]}).redact("xababababababx") == "x[secret a]x"


def test_an_escape_is_not_cut_in_two() -> None:
    redacted = Redactor({"token": ["nabcdefgh"]}).redact(json.dumps("x\nabcdefgh"))
    assert json.loads(redacted) == "x[secret token]"


def test_former_values_are_redacted_too() -> None:
    redactor = Redactor({"token": ["value-number-2", "value-number-1"]})
    assert redactor.redact("value-number-1 value-number-2") == "[secret token] [secret token]"


def test_bytes_that_are_no_text_keep_what_is_no_secret() -> None:
    redactor = Redactor({"token": ["ghp_7Qx2mVb9"]})
    assert redactor.redact_bytes(b"\xff\x00ghp_7Qx2mVb9\xfe") == b"\xff\x00[secret token]\xfe"


def test_a_query_and_a_header_are_redacted(redactor: Redactor) -> None:
    canary = CANARIES["punctuated"]
    url = f"https://a.example/?{urlencode({'q': canary, 'n': 1})}"
    assert redactor.redact(url) == "https://a.example/?q=[secret punctuated]&n=1"
    basic = base64.b64encode(f"user:{canary}".encode()).decode()
    redacted = redactor.redact(f"Authorization: Basic {basic}")
    assert redacted.startswith("Authorization: Basic dXNlcjp[secret punctuated]")


def test_a_text_of_escapes_is_read_once() -> None:
    # A search that begins anew at each of them would take until the end of time.
    redactor = Redactor({"token": ['ab\\\\\\"cd"ef'], "letters": ["abcdefgh"]})
    for piece in ("\\", '\\"', "%61", "\\u0061", "ab\\", "+"):
        text = piece * (400_000 // len(piece))
        assert redactor.redact(text) is text


def in_pieces(redactor: Redactor, text: str, cuts: list[int]) -> str:
    """Redact a text that comes in pieces, as what is shown of it before it is complete."""
    shown, held = "", ""
    places = sorted({cut % len(text) for cut in cuts} | {0, len(text)})
    for start, end in pairwise(places):
        held += text[start:end]
        settled = len(held) - (redactor.unsettled(held) if end < len(text) else 0)
        shown += redactor.redact(held[:settled])
        held = held[settled:]
    return shown


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=40), name=st.sampled_from([*CANARIES]))
def test_a_value_that_comes_in_pieces_is_redacted(
    encoding: str, cuts: list[int], name: str
) -> None:
    value = CANARIES[name]
    text = f"It is {ENCODINGS[encoding](value)} now."
    redactor = Redactor({name: [value]})
    assert in_pieces(redactor, text, cuts) == redactor.redact(text)


@given(cuts=st.lists(st.integers(0, 10_000), max_size=60))
def test_ordinary_text_in_pieces_is_not_touched_nor_held_for_long(cuts: list[int]) -> None:
    redactor = Redactor({name: [value] for name, value in CANARIES.items()})
    assert in_pieces(redactor, ORDINARY, cuts) == ORDINARY
    for end in range(len(ORDINARY)):
        assert redactor.unsettled(ORDINARY[:end]) <= len("-----BEGIN KEY-----\n")
