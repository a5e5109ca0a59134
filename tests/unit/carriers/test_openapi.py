"""The OpenAPI document says all there is, and each thing that it names exists."""

import json
from collections.abc import Iterator
from math import isfinite
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from agentd.carriers.http_routes import Route, Routes
from agentd.carriers.openapi import document
from agentd.services.registry import method_table
from tests.unit.carriers.requesting import messages

ROUTES = Routes(method_table({}))
EVERY = sorted(ROUTES, key=lambda route: route.method.path)
DOCUMENT = json.loads(json.dumps(document(ROUTES)))
PLACES = ("schema", "items", "additionalProperties")


def operations() -> Iterator[tuple[str, str, Any]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def every(value: Any) -> Iterator[Any]:
    """Yield every object within a document."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from every(each)


def test_every_method_is_an_operation() -> None:
    names = {operation["operationId"] for _, _, operation in operations()}
    assert names == {path.rpartition(".")[2].replace("/", "_") for path in method_table({})}


def test_every_reference_leads_somewhere() -> None:
    targets = {each["$ref"] for each in every(DOCUMENT) if "$ref" in each}
    for target in targets:
        _, *parts = target.split("/")
        at = DOCUMENT
        for part in parts:
            at = at[part]
    assert len(targets) > 50


def test_everything_is_described() -> None:
    described = [
        *DOCUMENT["components"]["schemas"].values(),
        *(field for each in every(DOCUMENT) for field in each.get("properties", {}).values()
          if isinstance(field, dict)),
        *(parameter for _, _, each in operations() for parameter in each["parameters"]
          if "$ref" not in parameter),
        *(each for _, _, each in operations()),
        *DOCUMENT["tags"],
    ]  # fmt: skip
    assert [each for each in described if not each.get("description")] == []


def test_paths_have_the_parameters_that_they_name() -> None:
    for _, path, operation in operations():
        named = {part.partition("}")[0] for part in path.split("{")[1:]}
        given = {each["name"] for each in operation["parameters"] if each.get("in") == "path"}
        assert named == given
    cancel = DOCUMENT["paths"]["/v1/runs/{run}:cancel"]["post"]
    assert (
        "name" not in cancel["requestBody"]["content"]["application/json"]["schema"]["properties"]
    )


def test_a_query_has_its_fields_with_dots() -> None:
    watch = DOCUMENT["paths"]["/v1/events:watch"]["get"]
    names = [each["name"] for each in watch["parameters"] if "name" in each]
    assert {"filter.runs", "afterRevision", "untilEnded", "Last-Event-ID"} <= set(names)
    assert set(watch["responses"]["200"]["content"]) == {
        "text/event-stream",
        "application/x-ndjson",
    }


def validator(name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return Draft202012Validator(schema)


@pytest.mark.parametrize("route", EVERY, ids=lambda route: route.method.path)
@settings(max_examples=15)
@given(data=st.data())
def test_every_response_is_as_described(route: Route, data: st.DataObject) -> None:
    response = data.draw(messages(route.method.response_class))
    validator(response.DESCRIPTOR.name).validate(MessageToDict(_finite(response)))


def test_what_is_not_described_is_no_run() -> None:
    assert validator("Run").is_valid({"goal": "x", "budget": {"maxTurns": "3"}})
    for wrong in ({"goal": 3}, {"budget": {"maxTurns": 3.5}}, {"state": "RUNNING"}, {"gaol": "x"}):
        assert not validator("Run").is_valid(wrong)


def _finite(message: Message) -> Message:
    """Replace the numbers that JSON has not, which no daemon says."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_DOUBLE and not isfinite(value):
            setattr(message, field.name, 0.0)
        elif field.message_type and not field.message_type.GetOptions().map_entry:
            for inner in value if hasattr(value, "extend") else (value,):
                _finite(inner)
    return message
