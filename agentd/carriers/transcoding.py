"""Read requests from paths, queries and JSON, and write responses as JSON, by the descriptors.

The rules are those of google/api/http.proto and of protobuf's JSON mapping
(https://protobuf.dev/programming-guides/json/): names in either spelling, enums by name, 64-bit
numbers as texts. Stricter in one point: what does not fit is refused with the path of the field.
"""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Never
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from agentd.carriers.http_routes import WHOLE, Route
from agentd.errors import InvalidRequest, Reason, invalid_field
from agentd.services.registry import Response

MAX_QUERY_PAIRS = 2000
MESSAGE = FieldDescriptor.CPPTYPE_MESSAGE
_MISFITS = (ParseError, ValueError, TypeError, AttributeError)
"""What the library raises for a value that does not fit; which of them, depends on its version."""


def read_request(route: Route, values: Mapping[str, str], query: str, body: bytes) -> Message:
    """Return the request that a path's variables, a query and a body make.

    Raises InvalidRequest: MALFORMED_REQUEST for what is no JSON object, INVALID_FIELD for a field
    that does not exist, does not fit, or is said twice and differently.
    """
    request = route.method.request_class()
    if route.body and body:
        document = _parse_json(body)
        fill(request, document if route.body == WHOLE else {route.body: document})
    elif body:
        raise _malformed("this method takes no body; its fields go into the query")
    if query:
        fill(request, _query_document(route, query))
    if values:
        _bind(request, values)
    return request


def write_response(response: Response, response_class: type[Message]) -> tuple[bytes, Message]:
    """Return a response as JSON on one line, and as a message."""
    message = response_class.FromString(response) if isinstance(response, bytes) else response
    text = json.dumps(MessageToDict(message), ensure_ascii=False, separators=(",", ":"))
    return text.encode(), message


def message_of(field: FieldDescriptor) -> Descriptor:
    """Return the type of a field that holds messages."""
    assert field.message_type is not None
    return field.message_type


def is_plain(field: FieldDescriptor) -> bool:
    """Whether a field holds messages that JSON writes as objects of their fields."""
    return (
        field.cpp_type == MESSAGE
        and message_of(field).file.package != "google.protobuf"
        and not is_map(field)
    )


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    return field.cpp_type == MESSAGE and message_of(field).GetOptions().map_entry


@lru_cache(maxsize=1024)
def fields_by_name(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    """Return the fields of a message by both of their spellings."""
    camel = {field.json_name: field for field in descriptor.fields}
    return camel | {field.name: field for field in descriptor.fields}


def is_list(field: FieldDescriptor) -> bool:
    """Whether a field is a list of values."""
    try:
        repeated = field.is_repeated
    except AttributeError:  # protobuf 5 has not this name yet, and 6 warns of the other
        repeated = field.label == FieldDescriptor.LABEL_REPEATED  # type: ignore[attr-defined]
    return repeated and not is_map(field)


def fill(message: Any, document: object, path: str = "") -> None:
    """Set the fields of a message from a JSON object.

    Raises InvalidRequest (INVALID_FIELD), or MALFORMED_REQUEST when the whole is no object.
    """
    if not isinstance(document, dict):
        if not path:
            raise _malformed("the body must be a JSON object")
        raise invalid_field(path, "must be an object")
    known = fields_by_name(message.DESCRIPTOR)
    prefix = f"{path}." if path else ""
    taken: set[str] = set()
    leaves = {}
    for key, value in document.items():
        field = known.get(key)
        if field is None:
            raise _no_such_field(f"{prefix}{key[:80]}", message.DESCRIPTOR)
        at = prefix + field.name
        if value is None:
            continue  # null is the same as absent
        _take(field, at, taken)
        if not is_plain(field):
            leaves[field.name] = value
        elif is_list(field):
            for index, item in enumerate(_list(value, at)):
                fill(getattr(message, field.name).add(), item, f"{at}[{index}]")
        else:
            child = getattr(message, field.name)
            child.SetInParent()
            fill(child, value, at)
    try:
        ParseDict(leaves, message)
    except _MISFITS:
        _blame(message, leaves, prefix)


def _take(field: FieldDescriptor, at: str, taken: set[str]) -> None:
    """Refuse a field that is given by both of its names, or beside another of its oneof."""
    if field.name in taken:
        raise invalid_field(at, "is given twice")
    taken.add(field.name)
    group = field.containing_oneof
    if group is None:
        return
    names = [each.name for each in group.fields]
    if len(taken.intersection(names)) > 1:
        raise invalid_field(at, f"only one of {', '.join(names)} may be given")


def _blame(message: Any, leaves: Mapping[str, Any], prefix: str) -> Never:
    """Raise the error of the first value that does not fit."""
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in leaves.items():
        field, at = fields[name], prefix + name
        items = [(at, value, value)]
        if is_list(field):
            each = enumerate(_list(value, at))
            items = [(f"{at}[{index}]", item, [item]) for index, item in each]
        for place, item, leaf in items:
            if not _fits(message, {name: leaf}):
                raise invalid_field(place, _misfit(field, item))
    raise AssertionError(f"{message.DESCRIPTOR.full_name}: each value fits, but not all")


def _fits(message: Message, leaf: dict[str, Any]) -> bool:
    try:
        ParseDict(leaf, type(message)())
    except _MISFITS:
        return False
    return True


def _misfit(field: FieldDescriptor, value: object) -> str:
    """Say what a value is not."""
    shown = json.dumps(value, ensure_ascii=False, default=str)[:80]
    if field.enum_type is not None:
        return f"{shown} is none of {', '.join(field.enum_type.values_by_name)}"
    if is_map(field):
        return f"{shown} is no map from texts to texts"
    kind = field.message_type.name if field.message_type else _KINDS[field.cpp_type]
    return f"{shown} is no {kind}"


_KINDS = {
    FieldDescriptor.CPPTYPE_INT32: "whole number of 32 bits",
    FieldDescriptor.CPPTYPE_INT64: "whole number of 64 bits",
    FieldDescriptor.CPPTYPE_UINT32: "whole number of 32 bits without sign",
    FieldDescriptor.CPPTYPE_UINT64: "whole number of 64 bits without sign",
    FieldDescriptor.CPPTYPE_DOUBLE: "number",
    FieldDescriptor.CPPTYPE_FLOAT: "number",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_STRING: "text",
}


def _list(value: object, at: str) -> list[Any]:
    if not isinstance(value, list):
        raise invalid_field(at, "must be a list")
    return value


def _malformed(message: str) -> InvalidRequest:
    return InvalidRequest(Reason.MALFORMED_REQUEST, message)


def _parse_json(data: bytes) -> object:
    """Return what UTF-8 JSON says, which names no key twice."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError:
        raise _malformed("the body is nested too deeply") from None
    except ValueError as error:  # also what is not UTF-8, and numbers of thousands of digits
        raise _malformed(f"the body is not valid JSON: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON; write it as a text")


def _query_document(route: Route, query: str) -> dict[str, Any]:
    """Return the parameters of a query as the document that they stand for."""
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_PAIRS
        )
    except ValueError as error:
        raise _malformed(f"the query cannot be read: {error}") from None
    document: dict[str, Any] = {}
    for key, text in pairs:
        if route.body == WHOLE:
            raise invalid_field(key[:80], "goes into the body: this method takes no query")
        _place(document, route, key, text)
    return document


def _place(document: dict[str, Any], route: Route, key: str, text: str) -> None:
    """Put one parameter where it belongs, such as `filter.runs` into a list within an object."""
    descriptor = route.method.descriptor.input_type
    *parents, last = parts = key.split(".")
    if _field(descriptor, parts[0], key).name == route.body:
        raise invalid_field(key[:80], "is the body of this method")
    for part in parents:
        field = _field(descriptor, part, key)
        if not is_plain(field) or is_list(field):
            raise invalid_field(key[:80], f"{part[:80]} has no fields of its own")
        descriptor = message_of(field)
        document = document.setdefault(field.name, {})
    field = _field(descriptor, last, key)
    if is_plain(field) or is_map(field):
        raise invalid_field(key[:80], "does not fit into a query; name its fields with dots")
    value: object = text
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        value = {"true": True, "false": False}.get(text, text)
    if is_list(field):
        document.setdefault(field.name, []).append(value)
    elif field.name in document:
        raise invalid_field(key[:80], "is given twice")
    else:
        document[field.name] = value


def _field(descriptor: Descriptor, name: str, key: str) -> FieldDescriptor:
    field = fields_by_name(descriptor).get(name)
    if field is None:
        raise _no_such_field(key[:80], descriptor)
    return field


def _no_such_field(path: str, descriptor: Descriptor) -> InvalidRequest:
    names = ", ".join(field.name for field in descriptor.fields) or "none"
    return invalid_field(path, f"there is no such field; there are: {names}")


def _bind(request: Any, values: Mapping[str, str]) -> None:
    """Set the fields that the path holds. The body may repeat, but not contradict them."""
    for path, text in values.items():
        *parents, last = path.split(".")
        at = request
        for part in parents:
            at = getattr(at, part)
        present: Iterable[Any] = getattr(at, last)
        if present and present != text:
            raise invalid_field(path, f"is {text!r} in the path and {present!r} beside it")
        setattr(at, last, text)
