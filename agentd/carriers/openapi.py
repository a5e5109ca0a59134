"""Describe the methods of a table as an OpenAPI 3.1 document
(https://spec.openapis.org/oas/v3.1.1.html), from their descriptors and comments."""

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from agentd import __version__
from agentd.carriers.credentials import NAMESPACE_KEY
from agentd.carriers.http_routes import WHOLE, Route
from agentd.carriers.http_stream import EVENTS, LINES, resumes
from agentd.carriers.openapi_schemas import (
    ERROR,
    Schema,
    comment,
    enum_schema,
    field_schema,
    message_schema,
    reachable,
    reference,
)
from agentd.carriers.transcoding import is_list, is_map, is_plain, message_of
from agentd.v1.error_reason_pb2 import ErrorReason

_ID = r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
_NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
"""What an id of any kind fits: those of tools may have capitals and underscores."""
_ERROR_REFERENCE = {"$ref": "#/components/schemas/Error"}
_NAMESPACE_REFERENCE = {"$ref": "#/components/parameters/Namespace"}
_ABOUT = """\
agentd runs AI agents for programs in any language. These are the methods of its contract \
`agentd.v1` over HTTP; the same methods are served over gRPC.

JSON is that of protobuf: names in camelCase (the contract's own spelling is read too), numbers \
of 64 bits as texts, times in RFC 3339, durations as `1.5s`, and a field that has its default \
value is absent. A field that does not exist is refused. A failed run is not an error."""


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of some routes."""
    every = list(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in every:
        path, parameters = _path(route)
        paths.setdefault(path, {})[route.http_method.lower()] = _operation(route, parameters)
    services = {
        route.method.descriptor.containing_service.name: comment(
            route.method.descriptor.containing_service
        )
        for route in every
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "agentd", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/", "description": "The daemon that serves this document."}],
        "security": [{"token": []}],
        "tags": [{"name": name, "description": text} for name, text in services.items()],
        "paths": paths,
        "components": {
            "schemas": dict(_schemas(every)),
            "parameters": {"Namespace": _namespace()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The text of the file `server.token_file`.",
                }
            },
        },
    }


def _operation(route: Route, parameters: list[Schema]) -> Schema:
    descriptor = route.method.descriptor
    text = comment(descriptor)
    query = [] if route.body == WHOLE else list(_query(descriptor.input_type, "", _bound(route)))
    headers: list[Schema] = [_NAMESPACE_REFERENCE]
    if resumes(descriptor):
        headers.append(
            _header("Last-Event-ID", "The `id` of the last event that was read: go on after it.")
        )
    operation: Schema = {
        "operationId": f"{descriptor.containing_service.name}_{descriptor.name}",
        "tags": [descriptor.containing_service.name],
        "summary": text.split(". ")[0].rstrip("."),
        "description": text,
        "parameters": [*parameters, *query, *headers],
        "responses": {
            "200": _answer(route),
            "default": {
                "description": "The request failed.",
                "content": {"application/json": {"schema": _ERROR_REFERENCE}},
            },
        },
    }
    if route.body:
        operation["requestBody"] = {"content": {"application/json": {"schema": _body(route)}}}
    return operation


def _answer(route: Route) -> Schema:
    descriptor = route.method.descriptor
    schema = reference(descriptor.output_type)
    if not descriptor.server_streaming:
        return {
            "description": comment(descriptor.output_type),
            "content": {"application/json": {"schema": schema}},
        }
    events = {
        "type": "string",
        "description": f"Server-sent events: each `data` is a `{descriptor.output_type.name}`, but "
        "for the last event, `end`, or `error` with an `Error`.",
    }
    return {
        "description": f"A stream. {comment(descriptor.output_type)}",
        "content": {EVENTS: {"schema": events}, LINES: {"schema": schema}},
    }


def _body(route: Route) -> Schema:
    message = route.method.descriptor.input_type
    if route.body == WHOLE:
        return {**message_schema(message, _bound(route)), "additionalProperties": False}
    return field_schema(message.fields_by_name[route.body])


def _bound(route: Route) -> frozenset[str]:
    """Return the fields that are not among the parameters of a query, nor in a whole body."""
    paths = {variable.field for variable in route.template.variables}
    return frozenset(paths | {route.body})


def _path(route: Route) -> tuple[str, list[Schema]]:
    """Return a path as OpenAPI writes it, which knows no `{name=runs/*}`, and its parameters."""
    template = route.template
    segments, parameters = [], []
    names: dict[int, str] = {}
    for variable in template.variables:
        names |= dict.fromkeys(range(variable.start, variable.end), variable.field)
    for index, segment in enumerate(template.segments):
        if segment != "*":
            segments.append(segment)
            continue
        name = _singular(template.segments[index - 1])
        segments.append(f"{{{name}}}")
        parameters.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": f"The last part of `{names[index]}`, or one within it: "
                f"`{template.segments[index - 1]}/{{{name}}}`.",
                "schema": {"type": "string", "pattern": _NAME},
            }
        )
    verb = f":{template.verb}" if template.verb else ""
    return "/" + "/".join(segments) + verb, parameters


def _singular(collection: str) -> str:
    return collection[:-3] + "y" if collection.endswith("ies") else collection.removesuffix("s")


def _query(message: Descriptor, prefix: str, without: frozenset[str]) -> Iterator[Schema]:
    """Yield a parameter for each field, those of messages with dots."""
    for field in message.fields:
        if prefix + field.name in without or is_map(field):
            continue
        if is_plain(field):
            if not is_list(field):
                yield from _query(message_of(field), f"{prefix}{field.json_name}.", without)
            continue
        yield _query_parameter(field, prefix)


def _query_parameter(field: FieldDescriptor, prefix: str) -> Schema:
    schema = field_schema(field)
    return {
        "name": prefix + field.json_name,
        "in": "query",
        "description": schema.pop("description"),
        "schema": schema,
    }


def _header(name: str, text: str) -> Schema:
    return {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}


def _namespace() -> Schema:
    parameter = _header(NAMESPACE_KEY, "The namespace to work in. Absent means `default`.")
    return {**parameter, "schema": {"type": "string", "pattern": _ID}}


def _schemas(routes: Iterable[Route]) -> Iterator[tuple[str, Schema]]:
    """Yield every schema by name. What requests are made of refuses fields that it does not have;
    what only answers are made of may grow."""
    wanted: dict[str, Descriptor | EnumDescriptor] = {}
    sent: set[str] = set()
    for route in routes:
        descriptor = route.method.descriptor
        wanted |= {each.name: each for each in reachable(descriptor.output_type)}
        _, *parts = reachable(descriptor.input_type)
        wanted |= {each.name: each for each in parts}
        if route.body:
            sent |= {each.name for each in parts}
    wanted[ErrorReason.DESCRIPTOR.name] = ErrorReason.DESCRIPTOR
    yield "Error", ERROR
    for name in sorted(wanted):
        what = wanted[name]
        if isinstance(what, EnumDescriptor):
            yield name, enum_schema(what)
        else:
            closed = {"additionalProperties": False} if name in sent else {}
            yield name, {**message_schema(what), **closed}
