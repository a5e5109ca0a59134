"""Paths lead to their methods, by templates that are understood or refused."""

import pytest
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from agentd.carriers.http_errors import Refused
from agentd.carriers.http_routes import Route, Routes, parse_template
from agentd.carriers.transcoding import read_request
from agentd.errors import InvalidRequest
from agentd.services.registry import Method, method_table

ROUTES = Routes(method_table({}))


def made(rule: http_pb2.HttpRule) -> Method:
    """A method of a contract that has other rules than ours."""
    file = descriptor_pb2.FileDescriptorProto(
        name="made.proto", package="made", syntax="proto3", dependency=["google/api/http.proto"]
    )
    thing = file.message_type.add(name="Thing")
    thing.field.add(name="title", number=1, type=9, label=1)
    request = file.message_type.add(name="Request")
    request.field.add(name="name", number=1, type=9, label=1)
    request.field.add(name="thing", number=2, type=11, type_name=".made.Thing", label=1)
    request.field.add(name="count", number=3, type=5, label=1)
    method = file.service.add(name="Service").method.add(
        name="Do", input_type=".made.Request", output_type=".made.Thing"
    )
    method.options.Extensions[annotations_pb2.http].CopyFrom(rule)
    pool = descriptor_pool.DescriptorPool()
    for module in (descriptor_pb2, http_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    descriptor: MethodDescriptor = pool.FindServiceByName("made.Service").methods[0]
    options = descriptor_pb2.MethodOptions()
    options.Extensions[annotations_pb2.http].CopyFrom(rule)
    return Method(
        "/made.Service/Do",
        _WithOptions(descriptor, options),  # type: ignore[arg-type]
        GetMessageClass(descriptor.input_type),
        GetMessageClass(descriptor.output_type),
        None,
        None,
    )


class _WithOptions:
    """A descriptor whose options are of this process's pool, where extensions are known."""

    def __init__(self, descriptor: MethodDescriptor, options: descriptor_pb2.MethodOptions) -> None:
        self.input_type = descriptor.input_type
        self.output_type = descriptor.output_type
        self._options = options

    def GetOptions(self) -> descriptor_pb2.MethodOptions:  # noqa: N802 - protobuf's name
        return self._options


def test_every_method_of_the_contract_has_a_route() -> None:
    assert {route.method.path for route in ROUTES} == set(method_table({}))


@pytest.mark.parametrize(
    ("http_method", "path", "method", "values"),
    [
        ("GET", "/v1/runs", "ListRuns", {}),
        ("GET", "/v1/runs/a", "GetRun", {"name": "runs/a"}),
        ("POST", "/v1/runs/a:cancel", "CancelRun", {"name": "runs/a"}),
        ("GET", "/v1/runs/a/calls", "ListCalls", {"parent": "runs/a"}),
        ("GET", "/v1/runs/a/calls/c1-1", "GetCall", {"name": "runs/a/calls/c1-1"}),
        ("POST", "/v1/runs/a/calls/c1-1:resolve", "ResolveCall", {"name": "runs/a/calls/c1-1"}),
        ("PATCH", "/v1/agents/a", "UpdateAgent", {"agent.name": "agents/a"}),
        ("POST", "/v1:drain", "Drain", {}),
        (
            "GET",
            "/v1/runs/a%3Ab%20%C3%A4",
            "GetRun",
            {"name": "runs/a:b \N{LATIN SMALL LETTER A WITH DIAERESIS}"},
        ),
        ("GET", "/v1/runs/a%2Fb", "GetRun", {"name": "runs/a%2Fb"}),
    ],
)
def test_a_path_leads_to_its_method(
    http_method: str, path: str, method: str, values: dict[str, str]
) -> None:
    route, found = ROUTES.find(http_method, path)
    assert (route.method.descriptor.name, found) == (method, values)


@pytest.mark.parametrize(
    "path",
    ["", "/", "/v1", "/v1/runs/", "/v1/runs//calls", "/v1/runs/a:fly", "/v1/runs:", "//v1/runs"],
)
def test_no_method_is_there(path: str) -> None:
    with pytest.raises(Refused) as error:
        ROUTES.find("GET", path)
    assert error.value.code == 404


def test_what_a_path_takes_is_told() -> None:
    with pytest.raises(Refused) as error:
        ROUTES.find("DELETE", "/v1/runs")
    assert (error.value.code, error.value.headers) == (405, {"allow": "GET, POST"})


def test_a_path_that_is_not_utf_8_is_malformed() -> None:
    with pytest.raises(InvalidRequest, match="UTF-8"):
        ROUTES.find("GET", "/v1/runs/%ff")


@pytest.mark.parametrize("text", ["v1", "/v1/{name=**}", "/v1/{Name}", "/v1/{name", "/v1/a*"])
def test_a_template_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(TypeError):
        parse_template(text)


def test_a_body_may_be_one_field_and_a_method_have_two_ways() -> None:
    rule = http_pb2.HttpRule(
        post="/v1/{name}/things",
        body="thing",
        additional_bindings=[http_pb2.HttpRule(custom={"kind": "SEARCH", "path": "/v1/do:it"})],
    )
    routes = Routes({"do": made(rule)})
    route, values = routes.find("POST", "/v1/a/things")
    request = read_request(route, values, "count=3", b'{"title": "T"}')
    assert str(request) == 'name: "a"\nthing {\n  title: "T"\n}\ncount: 3\n'
    with pytest.raises(InvalidRequest, match="thing"):
        read_request(route, values, "thing.title=T", b"{}")
    other, nothing = routes.find("SEARCH", "/v1/do:it")
    assert isinstance(other, Route)
    assert nothing == {}


@pytest.mark.parametrize(
    "rule",
    [
        http_pb2.HttpRule(get="/v1/a", response_body="title"),
        http_pb2.HttpRule(get="/v1/{count}"),
    ],
)
def test_a_rule_that_is_not_supported_is_refused_at_the_start(rule: http_pb2.HttpRule) -> None:
    with pytest.raises(TypeError):
        Routes({"do": made(rule)})
