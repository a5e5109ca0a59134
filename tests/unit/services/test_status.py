"""Bugs, which end as statuses too."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from google.rpc.error_details_pb2 import ErrorInfo

from agentd import log
from agentd.services.status import Code, unexpected


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    monkeypatch.setattr(logging.root, "handlers", [])
    stream = io.StringIO()
    log.configure(level="info", format="json", stream=stream)
    yield stream
    structlog.reset_defaults()


def test_a_bug_is_logged_once_and_answered_with_its_incident(output: io.StringIO) -> None:
    with pytest.raises(RuntimeError) as caught:
        _fail()
    status = unexpected(caught.value, "/agentd.v1.RunService/GetRun")
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    (line,) = output.getvalue().splitlines()
    logged = json.loads(line)
    assert logged["incident"] == info.metadata["incident"]
    assert logged["incident"] in status.message
    assert "RuntimeError: a secret detail" in logged["exception"]
    assert (status.code, info.reason) == (Code.INTERNAL, "INTERNAL")
    assert "secret" not in str(status)


def _fail() -> None:
    raise RuntimeError("a secret detail")
