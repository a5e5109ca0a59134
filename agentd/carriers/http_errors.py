"""How errors look over HTTP: a `google.rpc.Status` as JSON, under a status code of HTTP."""

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2, status_pb2

from agentd.errors import AgentdError
from agentd.services.status import Code, to_status

HTTP_CODES: Mapping[Code, HTTPStatus] = {
    Code.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    Code.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    Code.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    Code.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    Code.ABORTED: HTTPStatus.CONFLICT,
    Code.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    Code.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    Code.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.DATA_LOSS: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
}
"""The canonical mapping (google/rpc/code.proto)."""


class Refused(Exception):
    """An error that HTTP has a status code of its own for, such as 405; its reason stays."""

    def __init__(
        self, error: AgentdError, code: HTTPStatus, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error.message)
        self.status = to_status(error)
        self.code = code
        self.headers = dict(headers or {})


def http_code(status: status_pb2.Status) -> HTTPStatus:
    """Return the status code of HTTP for a status."""
    return HTTP_CODES[Code(status.code)]


def error_document(status: status_pb2.Status, code: HTTPStatus) -> bytes:
    """Return `{"error": {"code", "message", "status", "details"}}`, as AIP-193 has it: `code` is
    that of HTTP, `status` the name of the canonical one."""
    error = {
        "code": int(code),
        "message": status.message,
        "status": Code(status.code).name,
        "details": [MessageToDict(detail) for detail in status.details],
    }
    return json.dumps({"error": error}, ensure_ascii=False, separators=(",", ":")).encode()


def error_headers(status: status_pb2.Status, code: HTTPStatus) -> dict[str, str]:
    """Return the headers that go with an error."""
    headers = {}
    delay_ms = retry_delay_ms(status)
    if delay_ms is not None:
        headers["retry-after"] = str(max(1, math.ceil(delay_ms / 1000)))
    if code is HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return headers


def retry_delay_ms(status: status_pb2.Status) -> int | None:
    """Return how long to wait before a repeat; None when waiting does not help."""
    info: Any = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            delay: float = info.retry_delay.ToNanoseconds() / 1e6
            return math.ceil(delay)
    return None
