"""What becomes of the input schema of a foreign tool."""

from typing import Any

import msgspec
import pytest

from agentd.agent.tool import Tool
from agentd.tools.mcp.schemas import Unusable, schema_json
from agentd.tools.schema import check_schema, compile_arguments

EVIL = "^(a+)+$"


def ours(schema: Any, *, trusted: bool = False) -> Any:
    """Return what the schema becomes, which must be valid."""
    text = schema_json(schema, trusted=trusted)
    check_schema(text, "it", of_object=True)
    return msgspec.json.decode(text)


def of(**more: Any) -> dict[str, Any]:
    return {"type": "object"} | more


def doubling(levels: int) -> dict[str, Any]:
    """Return a small schema whose parts apply 2 ** levels times."""
    definitions: dict[str, Any] = {
        f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)
    }
    return of(allOf=[{"$ref": "#/$defs/d0"}]) | {"$defs": definitions | {f"d{levels}": {}}}


def test_a_plain_schema_stays() -> None:
    schema = of(
        properties={"a": {"type": "string", "enum": ["x"]}, "b": {"$ref": "#/$defs/b"}},
        required=["a"],
        additionalProperties=False,
    ) | {"$defs": {"b": {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 1}]}}}
    assert ours(schema) == schema
    assert ours(schema, trusted=True) == schema


def test_patterns_of_a_foreign_server_are_not_run() -> None:
    schema = of(
        properties={"pattern": {"type": "string", "pattern": EVIL}},
        propertyNames={"pattern": EVIL},
        patternProperties={EVIL: {}},
        additionalProperties=False,
    )
    assert ours(schema) == of(properties={"pattern": {"type": "string"}}, propertyNames={})
    assert ours(schema, trusted=True) == schema


def test_a_schema_that_multiplies_is_refused() -> None:
    assert ours(doubling(3)) == doubling(3)
    with pytest.raises(Unusable, match="apply to one value"):
        schema_json(doubling(40), trusted=False)


def test_a_schema_that_contains_itself_ends() -> None:
    child = {"$ref": "#", "description": "the same again"}
    twice = {"properties": {"child": child}}
    tame = ours(of(allOf=[twice, twice]))
    cut = {"properties": {"child": {"description": "the same again"}}}
    assert tame == of(allOf=[cut, cut])
    deep = '{"child":' * 60 + "{}" + "}" * 60
    tool = Tool("mcp-s", "t", input_schema_json=msgspec.json.encode(tame).decode())
    assert compile_arguments(tool).check(deep) is None


def test_definitions_that_contain_each_other_end() -> None:
    definitions = {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"items": {"$ref": "#/$defs/a"}}}
    schema = of(properties={"x": {"$ref": "#/$defs/a"}}) | {"$defs": definitions}
    assert ours(schema)["$defs"] == {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"items": {}}}


def test_a_long_chain_is_refused() -> None:
    definitions = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(5_000)} | {"d5000": {}}
    with pytest.raises(Unusable, match="too deep"):
        schema_json(of(allOf=[{"$ref": "#/$defs/d0"}]) | {"$defs": definitions}, trusted=False)


@pytest.mark.parametrize(
    "part",
    [
        {"$ref": "https://example.com/x"},
        {"$ref": "#anchor"},
        {"$ref": "#/$defs/nothing"},
        {"$ref": 7},
        {"$dynamicRef": "#x"},
    ],
)
def test_a_reference_that_is_not_a_path_within_it_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(Unusable):
        schema_json(of(properties={"x": part}), trusted=False)


def test_references_are_read_as_paths_are_written() -> None:
    schema = of(properties={"a/b~c d": {"type": "string"}, "x": {}})
    schema["properties"]["x"] = {"$ref": "#/properties/a~1b~0c%20d"}
    assert ours(schema) == schema


def test_an_older_dialect_is_read_as_ours() -> None:
    for dialect in (
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
    ):
        assert ours(of() | {"$schema": dialect}) == of()


def test_prose_is_cleaned_and_cut_but_what_is_accepted_stays() -> None:
    hidden = "a\x1b[31m\u202eb\U000e0041"
    properties = {
        "description": {"type": "string", "description": hidden + "x" * 9_000},
        "x": {"enum": [hidden], "default": {"description": hidden}, "title": hidden},
    }
    seen = ours(of(properties=properties))["properties"]
    assert len(seen["description"]["description"]) < 2_100
    assert seen["description"]["description"].startswith("a[31mbx")
    assert seen["x"] == {
        "enum": [hidden],
        "default": {"description": hidden},
        "title": "a[31mb",
    }
