"""Random requests of any method, and how a client would put them into HTTP."""

import json
from typing import Any
from urllib.parse import quote, urlencode

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from agentd.carriers.http_routes import WHOLE, Route
from agentd.carriers.transcoding import is_list, is_map, is_plain, message_of

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
SEGMENT = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_STRING: TEXT,
}


@st.composite
def requests(draw: st.DrawFn, route: Route) -> Message:
    """A request that a route can carry: what its path holds has the path's form, and what goes
    into a query is not empty."""
    request: Message = draw(messages(route.method.request_class))
    for variable in route.template.variables:
        forms = route.template.segments[variable.start : variable.end]
        text = "/".join(draw(SEGMENT) if form == "*" else form for form in forms)
        *parents, last = variable.field.split(".")
        at: Any = request
        for part in parents:
            at = getattr(at, part)
        setattr(at, last, text)
    if not route.body:
        _drop_empty(request)
    return request


@st.composite
def messages(draw: st.DrawFn, cls: type[Message], depth: int = 3) -> Any:
    """A message with some of its fields set."""
    message: Any = cls()
    for field in message.DESCRIPTOR.fields:
        if (is_plain(field) and not depth) or not draw(st.booleans()):
            continue
        if is_map(field):
            getattr(message, field.name).update(draw(st.dictionaries(TEXT, TEXT, max_size=2)))
        elif is_list(field):
            getattr(message, field.name).extend(draw(st.lists(values(field, depth), max_size=2)))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(draw(values(field, depth)))
        else:
            setattr(message, field.name, draw(values(field, depth)))
    return message


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    """One value of a field."""
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.message_type is None:
        return SCALARS[field.cpp_type]
    cls: Any = GetMessageClass(message_of(field))
    match field.message_type.full_name:
        case "google.protobuf.Duration":
            return st.builds(cls, seconds=st.integers(0, 10**9), nanos=st.integers(0, 10**9 - 1))
        case "google.protobuf.Timestamp":
            return st.builds(cls, seconds=st.integers(0, 2**33), nanos=st.integers(0, 10**9 - 1))
        case "google.protobuf.FieldMask":
            names = st.from_regex(r"[a-z]{1,5}(_[a-z]{1,5})?", fullmatch=True)
            return st.builds(cls, paths=st.lists(names, max_size=2))
        case _:
            return messages(cls, depth - 1)


def put(route: Route, request: Message, *, original_names: bool = False) -> tuple[str, str, bytes]:
    """Return path, query and body of a request."""
    path = "/" + "/".join(_segments(route, request))
    if route.template.verb:
        path += f":{route.template.verb}"
    rest = type(request).FromString(request.SerializeToString())
    for variable in route.template.variables:
        *parents, last = variable.field.split(".")
        at: Any = rest
        for part in parents:
            at = getattr(at, part)
        at.ClearField(last)
    body = b""
    if route.body:
        whole = MessageToDict(rest, preserving_proto_field_name=original_names)
        field = rest.DESCRIPTOR.fields_by_name.get(route.body)
        if field is not None:
            whole = whole.get(field.name if original_names else field.json_name, {})
            rest.ClearField(field.name)
        body = json.dumps(whole).encode()
    pairs = [] if route.body == WHOLE else _pairs(rest, "", original_names=original_names)
    return path, urlencode(pairs), body


def _segments(route: Route, request: Any) -> list[str]:
    segments = list(route.template.segments)
    for variable in route.template.variables:
        value = request
        for part in variable.field.split("."):
            value = getattr(value, part)
        segments[variable.start : variable.end] = [
            quote(part, safe="") for part in value.split("/")
        ]
    return segments


def _pairs(message: Any, prefix: str, *, original_names: bool) -> list[tuple[str, str]]:
    pairs = []
    for field, value in message.ListFields():
        name = prefix + (field.name if original_names else field.json_name)
        if is_plain(field):
            pairs += _pairs(value, f"{name}.", original_names=original_names)
            continue
        shown = MessageToDict(message)[field.json_name]
        for each in shown if isinstance(shown, list) else [shown]:
            pairs.append((name, str(each).lower() if isinstance(each, bool) else str(each)))
    return pairs


def _drop_empty(message: Any) -> None:
    """Clear messages in which nothing is set: a query cannot say that they are there."""
    for field, value in message.ListFields():
        if is_plain(field):
            _drop_empty(value)
            if not value.ListFields():
                message.ClearField(field.name)
