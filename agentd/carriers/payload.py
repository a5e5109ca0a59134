"""Requests and answers as bytes, for carriers whose programs need not speak protobuf: they choose
between its binary form and its JSON mapping, and are told of errors as a `google.rpc.Status`."""

import json
from collections.abc import Mapping
from enum import Enum

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from agentd.errors import InvalidRequest, Reason, Unsupported
from agentd.services.registry import Method, Response
from agentd.services.registry import encode as encode_binary


class Encoding(Enum):
    """How the bytes of requests and answers are to be read."""

    JSON = "json"
    """The JSON mapping of proto3. Empty bytes are an empty message."""
    PROTOBUF = "protobuf"


class StatusError(Exception):
    """The answer is an error, in the form in which carriers pass it on."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


def find(table: Mapping[str, Method], name: str, *, streams: bool) -> Method:
    """Return a method by its full name, `agentd.v1.RunService/GetRun`, as gRPC writes it or without
    the first slash.

    Raises Unsupported (NOT_IMPLEMENTED) when there is none, and InvalidRequest (MALFORMED_REQUEST)
    when it answers in the other way.
    """
    method = table.get("/" + name.removeprefix("/"))
    shown = name[:200]
    if method is None:
        message = f"there is no method {shown}"
        raise Unsupported(Reason.NOT_IMPLEMENTED, message, metadata={"method": shown})
    if (method.stream is not None) != streams:
        answers = "once: call it" if streams else "with a stream: open one"
        raise InvalidRequest(
            Reason.MALFORMED_REQUEST, f"{shown} answers {answers}", metadata={"method": shown}
        )
    return method


def decode(method: Method, data: bytes, encoding: Encoding) -> Message:
    """Return the request that the bytes hold.

    Raises InvalidRequest (MALFORMED_REQUEST) for bytes that hold none.
    """
    if encoding is Encoding.PROTOBUF:
        return method.parse(data)
    request = method.request_class()
    try:
        json_format.Parse(data or b"{}", request)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        name = request.DESCRIPTOR.full_name
        message = f"the request's {len(data)} bytes are not a valid {name} in JSON: {error}"
        raise InvalidRequest(
            Reason.MALFORMED_REQUEST, message, metadata={"message": name}
        ) from None
    return request


def encode(method: Method, response: Response, encoding: Encoding) -> bytes:
    """Return the bytes of an answer."""
    if encoding is Encoding.PROTOBUF:
        return encode_binary(response)
    if isinstance(response, bytes):
        response = method.response_class.FromString(response)
    return _json(response)


def encode_status(status: Status, encoding: Encoding) -> bytes:
    """Return the bytes of an error. In JSON a detail whose type is not known here is left out."""
    if encoding is Encoding.PROTOBUF:
        return bytes(status.SerializeToString())
    try:
        return _json(status)
    except TypeError:
        return _json(Status(code=status.code, message=status.message))


def _json(message: Message) -> bytes:
    mapped = json_format.MessageToDict(message)
    return json.dumps(mapped, ensure_ascii=False, separators=(",", ":")).encode()
