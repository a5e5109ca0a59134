"""Every error has a status, and it is the one that the contract states."""

import re
from pathlib import Path

import pytest
from google.rpc.code_pb2 import Code as GoogleCode
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from agentd.errors import AgentdError, Exhausted, FieldFault, InvalidRequest, Reason
from agentd.services.status import CODES, Code, to_status
from agentd.v1.error_reason_pb2 import ErrorReason

PROTO = Path(__file__).resolve().parents[2] / "proto/agentd/v1/error_reason.proto"


def stated_codes() -> dict[str, str]:
    """The code that the comment of each reason begins with."""
    pattern = re.compile(r"// ([A-Z_]+): [^\n]*\n(?:  // [^\n]*\n)*  ERROR_REASON_([A-Z_]+) = \d+;")
    return {reason: code for code, reason in pattern.findall(PROTO.read_text())}


def test_reasons_are_those_of_the_contract() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118
    assert {reason.value for reason in Reason} == names - {"UNSPECIFIED"}
    assert all(reason.name == reason.value for reason in Reason)


def test_every_reason_has_the_code_that_its_comment_states() -> None:
    assert {reason.value: code.name for reason, code in CODES.items()} == stated_codes()
    assert set(CODES) == set(Reason)


def test_codes_are_numbered_as_google_numbers_them() -> None:
    assert all(GoogleCode.Value(code.name) == code.value for code in Code)


@pytest.mark.parametrize("reason", Reason)
def test_every_error_has_one_info(reason: Reason) -> None:
    status = to_status(AgentdError(reason, "words", metadata={"run": "runs/a"}))
    (detail,) = status.details
    info = ErrorInfo()
    assert detail.Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        reason.value,
        "agentd.dev",
        {"run": "runs/a"},
    )
    assert (status.code, status.message) == (CODES[reason], "words")


def test_faults_and_delay_are_details() -> None:
    error = InvalidRequest(
        Reason.INVALID_FIELD,
        "two",
        faults=(FieldFault("a", "is bad"), FieldFault("b", "is worse")),
    )
    bad = BadRequest()
    assert to_status(error).details[1].Unpack(bad)
    found = [(violation.field, violation.description) for violation in bad.field_violations]
    assert found == [("a", "is bad"), ("b", "is worse")]
    retry = RetryInfo()
    waiting = to_status(Exhausted(Reason.LIMIT_REACHED, "later", retry_after_s=1.5))
    assert waiting.details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 1500


def test_a_status_fits_the_trailers_whatever_it_says() -> None:
    error = InvalidRequest(
        Reason.INVALID_FIELD,
        "ä\n" * 100_000,
        metadata={f"key-{number}": "ü" * 5_000 for number in range(100)},
        faults=tuple(FieldFault(f"field-{number}", "ö" * 5_000) for number in range(100)),
        retry_after_s=1.0,
    )
    status = to_status(error)
    # Percent-encoded, a byte of the message is three; in base64, three bytes of details are four.
    sent = 3 * len(status.message.encode()) + 4 * (status.ByteSize() + 2) // 3
    assert sent < 8000
    info, bad = ErrorInfo(), BadRequest()
    assert status.details[0].Unpack(info)
    assert info.metadata["key-0"].startswith("ü")
    assert any(detail.Unpack(bad) for detail in status.details)
    assert bad.field_violations[0].field == "field-0"


def test_text_that_is_not_unicode_is_still_a_status() -> None:
    status = to_status(InvalidRequest(Reason.INVALID_FIELD, "half \udc80 of a pair"))
    assert status.message == "half ? of a pair"
