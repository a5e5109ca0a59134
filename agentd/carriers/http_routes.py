"""Find the method that an HTTP request is for, by the `google.api.http` annotations.

The templates are those of google/api/http.proto without `**`, which the contract does not use:

    /v1/{name=runs/*/calls/*}:resolve

A `*` is one segment of the path; what follows the last colon is the verb.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from google.api import annotations_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from agentd.carriers.http_errors import Refused
from agentd.errors import InvalidRequest, Reason, Unsupported
from agentd.services.registry import Method

WHOLE = "*"
"""The `body` of a rule whose request body is the whole request."""

_PART = re.compile(r"\{([a-z0-9_.]+)(?:=([^{}]*))?\}|([^/{}*]+|\*)")


@dataclass(frozen=True, slots=True)
class Variable:
    """A field of the request that some segments of the path hold."""

    field: str
    """Its path, such as `agent.name`."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Template:
    """The form of a path."""

    segments: tuple[str, ...]
    """Each a literal, or `*` for any."""
    verb: str
    variables: tuple[Variable, ...]

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """Return the value of each variable, or None for a path of another form. The number of
        segments is right; they are still encoded."""
        for mine, given in zip(self.segments, segments, strict=True):
            if mine != given and (mine != "*" or not given):
                return None
        return {
            variable.field: "/".join(map(_decoded, segments[variable.start : variable.end]))
            for variable in self.variables
        }


@dataclass(frozen=True, slots=True)
class Route:
    """One way to a method."""

    http_method: str
    template: Template
    body: str
    """`*`, or the field that the request body is, or empty when there is none."""
    method: Method


class Routes:
    """Every way to every method of a table."""

    def __init__(self, table: Mapping[str, Method]) -> None:
        self._routes = tuple(route for method in table.values() for route in _routes_of(method))
        self._by_form: dict[tuple[str, int], list[Route]] = {}
        for route in self._routes:
            form = (route.template.verb, len(route.template.segments))
            self._by_form.setdefault(form, []).append(route)

    def __iter__(self) -> Iterator[Route]:
        """Yield the routes in the order of the contract."""
        return iter(self._routes)

    def find(self, http_method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Return the route of a path as it was sent, and what its variables hold.

        Raises Refused with 404 for a path that is none of these, and with 405 for one that takes
        other methods of HTTP.
        """
        segments, verb = _split(path)
        allowed = []
        for route in self._by_form.get((verb, len(segments)), ()):
            values = route.template.match(segments)
            if values is None:
                continue
            if route.http_method == http_method:
                return route, values
            allowed.append(route.http_method)
        if allowed:
            raise not_allowed(http_method, path, allowed)
        raise _not_found(path)


def not_allowed(http_method: str, path: str, allowed: list[str]) -> Refused:
    """Return the error of a path that takes other methods of HTTP."""
    names = ", ".join(sorted(allowed))
    return Refused(
        Unsupported(
            Reason.NOT_IMPLEMENTED,
            f"{path[:200]} takes {names}, not {http_method[:20]}",
            metadata={"method": f"{http_method[:20]} {path[:200]}"},
        ),
        HTTPStatus.METHOD_NOT_ALLOWED,
        {"allow": names},
    )


def _not_found(path: str) -> Refused:
    error = Unsupported(
        Reason.NOT_IMPLEMENTED,
        f"there is no method at {path[:200]}; /openapi.json lists them",
        metadata={"method": path[:200]},
    )
    return Refused(error, HTTPStatus.NOT_FOUND)


def parse_template(text: str) -> Template:
    """Return the template that a text describes. Raises TypeError for one of another kind."""
    path, colon, verb = text.rpartition(":")
    if not colon or "/" in verb or "}" in verb:
        path, verb = text, ""
    segments: list[str] = []
    variables = []
    at = 0
    while at < len(path):
        part = _PART.match(path, at + 1) if path[at] == "/" else None
        if part is None:
            raise TypeError(f"{text!r} is a template of a kind that is not supported")
        field, inner, plain = part.groups()
        start = len(segments)
        segments += (plain or inner or "*").split("/")
        if field:
            variables.append(Variable(field, start, len(segments)))
        at = part.end()
    if "**" in segments:
        raise TypeError(f"{text!r}: '**' is not supported")
    return Template(tuple(segments), verb, tuple(variables))


def _routes_of(method: Method) -> Iterator[Route]:
    rule = http_rule(method.descriptor)
    if rule is None:
        return
    for each in (rule, *rule.additional_bindings):
        kind = each.WhichOneof("pattern")
        custom = kind == "custom"
        http_method = each.custom.kind if custom else str(kind).upper()
        path = each.custom.path if custom else getattr(each, kind)
        if each.response_body:
            raise TypeError(f"{method.path}: response_body is not supported")
        template = parse_template(path)
        for variable in template.variables:
            _check_text(method.descriptor.input_type, variable.field)
        yield Route(http_method, template, each.body, method)


def _check_text(message: Any, path: str) -> None:
    """Raise TypeError unless a path leads to a text. The contract puts nothing else into paths."""
    *parents, last = path.split(".")
    for part in parents:
        message = message.fields_by_name[part].message_type
    if message.fields_by_name[last].type != FieldDescriptor.TYPE_STRING:
        raise TypeError(f"{message.full_name}.{last} is no text")


def http_rule(descriptor: MethodDescriptor) -> "annotations_pb2.HttpRule | None":
    """Return the `google.api.http` of a method, if it has one."""
    options = descriptor.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return None
    return options.Extensions[annotations_pb2.http]


def _split(path: str) -> tuple[tuple[str, ...], str]:
    """Return the segments of a path, and its verb."""
    segments = path.removeprefix("/").split("/")
    last, _, verb = segments[-1].rpartition(":")
    if last and verb:
        segments[-1] = last
        return tuple(segments), verb
    return tuple(segments), ""


def _decoded(segment: str) -> str:
    """Return a segment's text. An encoded slash stays encoded: it separates nothing."""
    try:
        text = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest(
            Reason.MALFORMED_REQUEST, "the path is not UTF-8 once decoded"
        ) from None
    return text.replace("/", "%2F")
